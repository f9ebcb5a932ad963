"""The pretrained body as tasks use it, and which of its parts are tuned.

Begin with `body.py`.
"""
