"""The rows of a task: found, checked, typed, and put into batches.

Begin with `rows.py`.
"""
