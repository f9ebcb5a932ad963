"""What a checkpoint is worth for a task: tasks as data, one file a head, and the metrics that judge it.

Begin with `tasks/task.py`, then `tasks/base.py`.
"""

ROOMS = ("metrics", "data", "body", "tasks", ".")  # lowest first
