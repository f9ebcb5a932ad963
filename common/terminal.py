"""Text that was read or generated, as a terminal may be sent it."""

import re

# ESC begins commands of terminals, and so do the second range's; the last two turn the direction of what follows.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with what commands a terminal written out, such as \\u001b; lines and tabs stay.

    Within JSON the same characters are written so, and are read back as they were.
    """
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
