"""What commands have in common: processes with a time limit, and the file that a machine's results are kept in.

Begin with `record.py`.
"""
