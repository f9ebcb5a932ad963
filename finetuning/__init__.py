"""Fine-tuning of a checkpoint on a task: tasks as data, one file a head, and the metrics of its predictions.

Begin with `core/task.py`, then `core/base.py`.
"""

ROOMS = ("metrics", "data", "body", "core", "tasks", ".")  # lowest first
