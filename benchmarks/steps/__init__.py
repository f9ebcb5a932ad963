"""One training step: of each arm of this project, of other libraries' models, of its matrix products alone.

Begin with `arms.py`, then `timing.py`.
"""
