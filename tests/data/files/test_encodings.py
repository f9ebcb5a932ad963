"""Encodings: a byte-order mark is followed, a setting is taken, what looks like another encoding is refused by name."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from data.datamodule import DataModule
from data.files.encodings import checked_encoding
from data.text.corpora import Corpus
from data.text.sources import RowSource

KOREAN = "영희가 부산에 갔다. 철수는 학교에서 책을 읽었다.\n오늘은 날씨가 매우 좋다.\n"
JAPANESE = "今日は天気がいいです。東京へ行きました。\n"
FRENCH = "Déjà vu à l'école, où les élèves étudient. Ça va très bien.\n"
ENGLISH = "She went home. It was late.\n"


def read(path: Path, **settings: Any) -> str:
    return "".join(Corpus(source=(str(path),), documents="line", **settings).texts())


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("text", [KOREAN, ENGLISH, JAPANESE])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["txt", "gz"])
def test_a_byte_order_mark_is_followed(
    text: str, encoding: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    name = "a.txt.gz" if pack is gzip.compress else "a.txt"
    path = written(tmp_path / name, pack((text * 3).encode(encoding)))
    assert read(path).removeprefix("\ufeff") == text * 3
    big_endian = written(tmp_path / name, pack(b"\xfe\xff" + text.encode("utf-16-be")))
    assert read(big_endian) == text


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        (KOREAN, "cp949", "cp949"),
        (KOREAN, "euc_kr", "euc_kr"),
        (KOREAN * 3000, "cp949", "cp949"),
        (JAPANESE * 5, "shift_jis", "shift_jis"),
        (FRENCH * 5, "cp1252", "cp1252"),
        (KOREAN * 3, "utf-16-le", "utf-16-le"),
        (KOREAN * 3, "utf-16-be", "utf-16-be"),
        (ENGLISH, "utf-16-le", "utf-16-le"),
        (ENGLISH, "utf-16-be", "utf-16-be"),
        (JAPANESE * 5, "utf-16-le", "utf-16-le"),
    ],
)
def test_another_encoding_is_refused_by_its_name_and_taken_by_it(
    text: str, encoding: str, named: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.txt", text.encode(encoding))
    with pytest.raises(UserError, match=r"a\.txt, line 1: is not UTF-8 and looks like .*data\.encoding = ") as refused:
        read(path)
    assert named in str(refused.value)
    assert read(path, encoding=checked_encoding(encoding)) == text
    table = written(tmp_path / "a.csv", f'text,number\n"{text.splitlines()[0]}",1\n'.encode(encoding))
    assert list(Corpus(source=(str(table),), encoding=encoding).texts()) == [text.splitlines()[0]]
    with pytest.raises(UserError, match=r"task\.train: .*a\.csv, line \d: is not UTF-8 and looks like"):
        list(RowSource(name=(str(table),)).rows())


@pytest.mark.parametrize(
    "content",
    [
        b"caf\xe9 " + (KOREAN * 2).encode(),
        b"caf\xe9",
        (ENGLISH * 99).encode() + b"\xe9\xe8\xe7",
        (KOREAN.encode())[:-8],
    ],
)
def test_utf8_with_damaged_bytes_is_utf8(content: bytes, tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.txt", content)) == content.decode("utf-8", errors="replace")


def test_a_character_across_the_border_of_what_is_read_at_once_is_whole(tmp_path: Path) -> None:
    for shift in range(3):
        text = "a" * shift + KOREAN * 9000
        assert read(written(tmp_path / "a.txt", text.encode())) == text
        assert read(written(tmp_path / "b.txt", text.encode("utf-16"))) == text


def test_an_encoding_that_is_none_is_refused() -> None:
    for name in ("utf-9", "base64", ""):
        with pytest.raises(UserError, match=r"data\.encoding = '.*' is no encoding that Python knows"):
            DataModule(encoding=name)


def test_the_fingerprint_tells_encodings_apart_and_is_what_it_was_for_utf8(tmp_path: Path) -> None:
    utf8 = written(tmp_path / "a.txt", KOREAN.encode())
    before = Corpus(source=(str(utf8),)).fingerprint()
    assert before == Corpus(source=(str(utf8),), encoding="utf-8").fingerprint()
    assert set(before) == {"source", "configuration", "split", "text_column", "documents"}
    assert [set(source) for source in before["source"]] == [{"name", "sha256"}]
    legacy = written(tmp_path / "b.txt", KOREAN.encode("cp949"))
    [named] = Corpus(source=(str(legacy),), encoding="cp949").fingerprint()["source"]
    assert named["encoding"] == "cp949"
    [other] = Corpus(source=(str(legacy),), encoding="utf-8").fingerprint()["source"]
    assert "encoding" not in other


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_lines_may_end_with_carriage_returns_alone(suffix: str, tmp_path: Path) -> None:
    mark = "," if suffix == "csv" else "\t"
    path = written(tmp_path / f"a.{suffix}", f"text{mark}label\rone two{mark}1\r둘째{mark}0\r".encode())
    rows = [{"text": "one two", "label": "1"}, {"text": "둘째", "label": "0"}]
    assert [row for _, row in RowSource(name=(str(path),)).rows()] == rows
    assert list(Corpus(source=(str(path),)).texts()) == ["one two", "둘째"]


def test_documents_of_a_text_whose_lines_end_with_carriage_returns_are_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", b"one\rtwo\r\rthree\r")
    assert list(Corpus(source=(str(path),)).texts()) == ["one\rtwo\r", "three\r"]
    assert Corpus(source=(str(path),)).fingerprint()["source"][0]["line_end"] == "\r"
