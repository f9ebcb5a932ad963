"""What an objective does to text, made visible: pictures, measured rates, attention maps, and the viewer's page.

Begin with `picture.py`.
"""

ROOMS = (".", "viewer")  # lowest first
