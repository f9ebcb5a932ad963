"""Figures of a report, made of a record alone, and how they look.

Begin with `theme.py`.
"""
