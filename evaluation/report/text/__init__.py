"""The words of a report: numbers, verdicts, and the sentences that follow from a record.

Begin with `formatting.py`.
"""
