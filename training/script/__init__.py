"""How every script starts and ends, and the words for what is wrong with what it was given.

Begin with `script.py`.
"""
