"""Noise by kind, pure numpy: tokens masked, spans replaced, texts rewritten.

Begin with `masking.py`.
"""
