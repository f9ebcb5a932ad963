"""A study before anything is trained: declared, parsed, checked and planned.

Begin with `study.py`, then `plan.py`.
"""
