"""What is shared: one small Transformer, its generation, and its twins in transformers.

Torch alone: no text, no Lightning. Begin with `presets.py` (which parts there are), then `transformer/transformer.py`
(what they make together).
"""

ROOMS = (".", "attention", "transformer", "recurrent", "bodies", "generation", "huggingface")  # lowest first
