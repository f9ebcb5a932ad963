"""From a command line to a Trainer: settings, messages for what is wrong with them, and the machine.

Begin with `cli.py`.
"""
