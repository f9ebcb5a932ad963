"""How runs are compared: studies, evaluations, statistics, reports.

Begin with `study/study.py` (what is declared), then `outcome.py` (how a study ends).
"""

ROOMS = ("record", "study", "execution", "scoring", "statistics", "report", ".")  # lowest first
