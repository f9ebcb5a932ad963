"""One file a task head, over what all heads share (`finetuning/core`).

Begin with `classification.py`.
"""
