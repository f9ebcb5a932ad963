"""What is compared: one file per objective, the idea and nothing else.

Begin with `masked_lm.py`, `causal_lm.py`, `denoising.py` or `span_corruption.py`; the abstract class they share is
`core/base.py`.
"""

ROOMS = ("start", "core", "inference", ".", "weights", "mixtures", "inspection")  # lowest first
