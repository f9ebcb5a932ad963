"""Texts under every objective and under trained runs as a page that one can play with: one file, no server, no network.

Begin with `html.py`, which writes it: `draws.py` and `runs.py` make its data, `size.py` keeps it below 2 MB, `page/`
shows it; `examples.py` writes it in the course of a run.
"""
