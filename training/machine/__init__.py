"""What the machine is and gives: its devices' peaks, threads and waiting, and agreement among processes.

Begin with `hardware.py`.
"""
