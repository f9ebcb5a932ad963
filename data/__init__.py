"""What is read: text -> tokens -> windows -> batches. Nothing here knows which objective reads them.

Begin with `datamodule.py`, which puts the three rooms together: `text/`, then `store/`, then `stream/`.
"""

ROOMS = ("text", "store", "stream", ".")  # lowest first
