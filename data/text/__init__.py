"""Text and rows as people have them: files, hub data sets and the embedded corpus, cleaned and cut into sentences.

Begin with `corpora.py` for pretraining text, with `sources.py` for the rows of tasks; both read files by `formats.py`.
"""
