"""What all objectives are made of: the abstract Objective, its network, the module that trains it, noise, prompts.

Begin with `base.py`, then `network.py` and `pretraining.py`.
"""

ROOMS = ("noise", ".")  # lowest first
