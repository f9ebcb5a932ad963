"""One file a task head, over what all heads share.

Begin with `task.py` and `base.py`.
"""
