"""The Transformer: embeddings, blocks, stacks and head; initial weights; parameters and FLOPs counted.

Begin with `transformer.py`.
"""
