"""What every task and every head shares, as `objectives/core` does for objectives.

Begin with `task.py` (a task as data) and `base.py` (the module that trains a head).
"""
