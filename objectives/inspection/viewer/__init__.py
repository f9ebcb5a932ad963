"""One text under every objective as a page that one can play with: one file, no server, no network.

Begin with `html.py`, which writes it; `draws.py` makes its data, `viewer.js` shows them.
"""
