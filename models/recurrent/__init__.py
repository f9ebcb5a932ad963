"""Recurrent encoders and decoders, the Transformer's ancestors: LSTM or GRU, with attention of four kinds or none.

Begin with `recurrent.py`.
"""
