"""Initial weights that are not random: from a run, from transformers' folders and hub names.

Begin with `pretrained.py`; `warm_start.py` copies what fits and reports the rest.
"""
