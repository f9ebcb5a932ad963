"""Text and rows as people have them: of files, of hub data sets, of the embedded corpus; cleaned, cut into sentences.

Begin with `corpora.py` for pretraining text, with `sources.py` for the rows of tasks; both read files by `data/files`.
"""
