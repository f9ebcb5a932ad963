"""How good one run is: the likelihood it gives to texts, and the evaluations made of it, one file each in `tasks/`.

Begin with `evaluate.py`.
"""

ROOMS = (".", "tasks")  # lowest first
