"""How a checkpoint is used: text filled in or continued, and how likely a text is.

Begin with `continue_text.py`.
"""
