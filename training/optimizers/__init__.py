"""How weights are updated: optimizers and learning rates, the scale of a float16 loss, the average of weights.

Begin with `optim.py`.
"""
