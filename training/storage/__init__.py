"""What a run leaves on disk: its folder, its checkpoints, and how another run branches from one of them.

Begin with `run_dir.py`.
"""
