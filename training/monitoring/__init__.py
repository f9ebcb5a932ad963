"""What is watched while a run goes on: callbacks, metrics.csv and W&B, speed, and the terminal.

Begin with `telemetry.py`.
"""
