"""What every floor needs: the two kinds of error that end in one line, and files that are written whole.

The standard library alone. Begin with `errors.py`.
"""
