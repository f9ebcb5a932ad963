"""Local files in every format and encoding: found, unpacked, decoded, and read as rows.

Begin with `local.py` (which files), `unpacking.py` (their text), `formats.py` (their rows).
"""
