"""What differences between arms are worth: intervals, tests, and verdicts on declared hypotheses.

Begin with `intervals.py`.
"""
