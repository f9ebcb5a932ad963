"""A study's report: HTML and figures, a pure function of its record.

Begin with `report.py`, then `sections.py`.
"""

ROOMS = ("text", "figures", ".")  # lowest first
