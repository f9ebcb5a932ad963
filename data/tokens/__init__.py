"""Text as tokens: the tokenizer and its vocabulary, the pieces of a text, and how well a vocabulary fits it.

Begin with `tokenizer.py`.
"""
