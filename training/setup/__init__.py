"""From a command line to a Trainer: settings, messages for what is wrong with them, and what `auto` decides.

Begin with `cli.py`.
"""
