"""What is read: text -> tokens -> windows -> batches. Nothing here knows which objective reads them.

Begin with `datamodule.py`, which puts the rooms together: `files/`, `text/`, `tokens/`, `store/`, `stream/`.
"""

ROOMS = ("files", "text", "tokens", "store", "stream", ".")  # lowest first
