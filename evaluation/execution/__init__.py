"""The runs of a study: which there are, what became of them, and the processes that train them.

Begin with `jobs.py`, then `scheduler.py` and `runner.py`.
"""
