"""What every run does alike: the exact step, its folder on disk, its settings, and what is logged.

Begin with `session.py`, which runs it all; `step/module.py` is the heart.
"""

ROOMS = ("machine", "optimizers", "step", "script", "storage", "setup", "monitoring", ".")  # lowest first
