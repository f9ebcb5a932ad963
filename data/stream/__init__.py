"""From the store to batches: windows, their order, their examples side by side, a whole optimizer step at a time.

Begin with `windows.py`, then `batch.py`.
"""
