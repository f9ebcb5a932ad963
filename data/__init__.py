"""What is read: text -> tokens -> windows -> batches. Nothing here knows which objective reads them.

Begin with `datamodule.py`, which puts the four rooms together: `text/`, `tokens/`, `store/`, `stream/`.
"""

ROOMS = ("text", "tokens", "store", "stream", ".")  # lowest first
