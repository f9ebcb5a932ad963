"""Text is prepared in turns by prepare.py and by datasets, whose windows are those that the text fills."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from benchmarks import preparing, tables
from benchmarks.shared import by_datasets
from common.repository import REPOSITORY


def test_text_grows_to_a_size_without_a_document_that_stands_twice() -> None:
    paragraphs = [str(number) for number in range(11)]
    first, second, third, *more = preparing.grown(paragraphs, 40, together=10)
    assert first.split("\n\n") == paragraphs[:-1]
    assert [second, third.split("\n\n")[0], more] == ["10", "1 0", []]
    assert len(first + second) < 40 <= len(first + second + third)


def test_preparing_is_measured_beside_datasets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, few = tmp_path / "machine.json", ["--megabytes", "0.3", "--turns", "1", "--paragraphs", "1"]
    assert preparing.main(["--corpus", str(REPOSITORY / "docs/*.md"), *few, "--out", str(out)]) == 0
    ((key, found),) = json.loads(out.read_text())["preparing"].items()
    assert key.startswith("0.3 MB of text in documents of a paragraph on ")
    assert [name.split(",")[0] for name in found["seconds"]] == ["prepare.py", "prepare.py", "datasets", "datasets"]
    assert min(found["seconds"].values()) > 0
    assert "MB a second" in capsys.readouterr().out
    assert len(tables.preparing_of(found).splitlines()) == 2 + 4
    for wrong, named in (("--corpus=none.txt", "there is no such file"), ("--paragraphs=0", "is less than 1")):
        with pytest.raises(SystemExit):
            preparing.main(["--corpus", str(REPOSITORY / "docs/*.md"), wrong])
        assert named in capsys.readouterr().err


@pytest.mark.parametrize("way", by_datasets.WAYS.values())
def test_datasets_makes_the_windows_that_the_text_fills(way: Any, tmp_path: Path) -> None:
    text, tokenizer = tmp_path / "text.jsonl", tmp_path / "tokenizer.json"
    words = Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue] - its stub has no setter
    words.save(str(tokenizer))
    text.write_text(10 * f'{{"text": "{"a " * 50}"}}\n')
    windows = by_datasets.windows_of(str(text), way(str(tokenizer)), str(tmp_path / "cache"), processes=1)
    assert windows == 500 // by_datasets.WINDOW
