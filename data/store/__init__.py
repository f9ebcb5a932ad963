"""Tokens on disk: what decides a store's content, how it is built, and the store itself.

Begin with `store.py`.
"""
