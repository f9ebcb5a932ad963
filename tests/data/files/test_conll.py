"""CoNLL and CoNLL-U: words are words, and what the formats put between them is none."""

from pathlib import Path
from typing import Any

import pytest

from data.text.sources import RowSource


def read(path: Path, text: str, **settings: Any) -> list[dict[str, Any]]:
    path.write_text(text, encoding="utf-8")
    return [row for _, row in RowSource(name=(str(path),), **settings).rows()]


def test_ranges_and_empty_nodes_of_numbered_words_are_none(tmp_path: Path) -> None:
    text = "1-2 we'll _\n1 we PRON\n2 'll AUX\n3 go VERB\n3.1 gone _\n\n1 yes INTJ\n"
    for more in ({}, {"header": ("id", "tokens", "tags")}):
        assert read(tmp_path / "a.conll", text, **more) == [
            {"id": ["1", "2", "3"], "tokens": ["we", "'ll", "go"], "tags": ["PRON", "AUX", "VERB"]},
            {"id": ["1"], "tokens": ["yes"], "tags": ["INTJ"]},
        ]


def test_numbers_that_count_no_words_are_words(tmp_path: Path) -> None:
    assert read(tmp_path / "a.conll", "3.1 CD\n1-2 CD\nwon VBD\n")[0]["tokens"] == ["3.1", "1-2", "won"]
    assert read(tmp_path / "a.conll", "1 CD\n\n1 CD\n")[0]["tokens"] == ["1"]


@pytest.mark.parametrize(
    "comment", ["# c\td", "## s1\t가 나", "## klue-ner-v1_train_00000\t<영화:AF>를", "# one", "#\x20"]
)
def test_comments_before_a_sentence_are_none_of_its_words(comment: str, tmp_path: Path) -> None:
    rows = read(tmp_path / "a.conll", f"{comment}\n가\tB-PS\n \tO\n\n{comment}\n나\tO\n")
    assert [row["tokens"] for row in rows] == [["가", " "], ["나"]]


def test_a_sign_of_number_is_a_word_where_it_has_a_words_columns(tmp_path: Path) -> None:
    assert read(tmp_path / "a.conll", "#\tO\n#tag\tB-x\n# \tO\n")[0]["tokens"] == ["#", "#tag", "# "]
    rows = read(tmp_path / "a.conll", "# CD B-NP O\n9 CD I-NP O\n\n# id number 7\nEU NNP B-NP B-ORG\n")
    assert [row["tokens"] for row in rows] == [["#", "9"], ["EU"]]


U = """# sent_id = s1
# text = We'll go.
# newpar
1-2	We'll	_	_	_	_	_	_	_	_
1	We	we	PRON	PRP	Case=Nom	3	nsubj	_	_
2	'll	will	AUX	MD	_	3	aux	_	_
3	go	go	VERB	VB	_	0	root	_	SpaceAfter=No
3.1	gone	go	VERB	_	_	_	_	_	_
4	.	.	PUNCT	_	_	3	punct	_	_

1	_	_	SYM	_	_	0	root	_	_
"""


def test_a_conllu_file_has_the_columns_of_the_hub(tmp_path: Path) -> None:
    first, second = read(tmp_path / "a.conllu", U)
    assert first["tokens"] == ["We", "'ll", "go", "."]
    assert first["upos"] == ["PRON", "AUX", "VERB", "PUNCT"]
    assert first["xpos"] == ["PRP", "MD", "VB", None]
    assert first["feats"] == ["Case=Nom", "_", "_", "_"]
    assert (first["sent_id"], first["text"]) == ("s1", "We'll go.")
    assert second["tokens"] == ["_"]
    assert "text" not in second
    assert read(tmp_path / "a.conllu", U, header=tuple("abcdefghij"))[0]["b"] == ["We", "'ll", "go", "."]


def test_a_conllu_file_has_ten_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.conllu, line 2: 2 columns parted by tabs"):
        read(tmp_path / "a.conllu", "# text = a\n1\ta\n")
    with pytest.raises(ValueError, match="CoNLL-U has 10"):
        read(tmp_path / "a.conllu", U, header=("tokens", "tags"))
