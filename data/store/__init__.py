"""Text as tokens on disk: the tokenizer, what decides a store's content, and the store itself.

Begin with `store.py`.
"""
