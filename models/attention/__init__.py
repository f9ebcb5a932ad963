"""Attention of any kind: who sees whom, queries against keys, and keys and values kept from earlier positions.

Begin with `masks.py` (who sees whom), then `attention.py`.
"""
