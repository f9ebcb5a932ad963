"""What a text holds reaches the terminal as signs, and commands it nothing."""

import json

import pytest

from common.terminal import visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\u001b[2J\u001b]0;title\u0007"),
        ("\x9b31m", r"\u009b31m"),
        ("over\rwritten\x08", r"over\u000dwritten\u0008"),
        ("\u202eevil", r"\u202eevil"),
        ("two\nlines\tand 한국어, 👨‍👩‍👧, é", "two\nlines\tand 한국어, 👨‍👩‍👧, é"),
    ],
)
def test_commands_are_written_out_and_everything_else_stays(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_json_is_read_back_as_it_was() -> None:
    fields = {"text": "".join(map(chr, range(0x20, 0x300))) + "\u202e\u2066"}
    assert json.loads(visible(json.dumps(fields, ensure_ascii=False))) == fields
