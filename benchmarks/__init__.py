"""What is measured by hand, a command a file; what was measured lies in `results/`, one file a machine.

Begin with `speed.py`: python -m benchmarks.speed.
"""

ROOMS = ("shared", "steps", ".")  # lowest first
