"""What an objective does to text, made visible: pictures, measured rates, and the callback that logs them.

Begin with `picture.py`.
"""

ROOMS = (".", "viewer")  # lowest first
