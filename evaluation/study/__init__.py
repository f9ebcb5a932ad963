"""A study: declared, parsed, checked, planned and run.

Begin with `study.py`, then `runner.py`.
"""
