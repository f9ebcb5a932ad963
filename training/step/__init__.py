"""One optimizer step: loss terms, optimizer, learning rate, budget, and the gradient that no split changes.

Begin with `module.py`.
"""
