"""Text from a trained decoder, token by token: greedy, sampled or by beam search, with cached keys and values.

Begin with `generation.py`; `decoding.py` holds the choice of one next token.
"""
