"""The same model as a class of transformers, in both directions.

`settings.py` translates the configuration, `weights.py` the names and shapes of the weights.
"""
