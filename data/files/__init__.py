"""Local files in every format and encoding: found, unpacked, decoded, and read as rows.

Begin with `local.py`, then `formats.py`.
"""
