"""What a study found, as data: results.json, of which the report is a pure function.

Begin with `record.py`.
"""
