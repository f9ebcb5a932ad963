"""Which bodies there are: the union of their settings, and the one place that makes a body of them.

Begin with `make.py`.
"""
