"""What every floor needs: the two kinds of error that end in one line, files written whole, ranges of settings.

The standard library alone. Begin with `errors.py`.
"""

import sys

if sys.platform == "win32":  # before anything is imported that Windows lacks
    sys.stderr.write("error: Objective Lab runs on Linux and macOS: on Windows, use WSL (wsl --install)\n")
    sys.exit(2)
