"""One optimizer step: its loss terms, its micro-batches, the budget, and the gradient that no split changes.

Begin with `module.py`.
"""
