"""Fine-tuning of a checkpoint on a task: tasks as data, one file a head, and the metrics of its predictions.

Begin with `tasks/task.py`, then `tasks/base.py`.
"""

ROOMS = ("metrics", "data", "body", "tasks", ".")  # lowest first
