"""Sentences with tags: lists or a word a row, names or numbers of tags, entities in BIO."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.text.sources import RowSource
from finetuning.data.labels import LabelNames
from finetuning.data.rows import DataWarnings
from finetuning.data.tagged import read_tokens, sentences_of
from tests.finetuning.files import conll, jsonl

BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.fixture
def warnings() -> DataWarnings:
    return DataWarnings()


def table(folder: Path, text: str, name: str = "a.csv") -> RowSource:
    """A source of these lines."""
    (folder / name).write_text(text, encoding="utf-8")
    return RowSource(name=(str(folder / name),))


def test_tags_that_do_not_follow_are_repaired_and_counted(tmp_path: Path, warnings: DataWarnings) -> None:
    source = conll(tmp_path, "a B-x\nb I-x\n\nc O\nd I-x\ne I-y\n\nf I-x\n")
    rows = read_tokens(source, warnings=warnings)
    assert [row.tags for row in rows] == [("B-x", "I-x"), ("O", "B-x", "B-y"), ("B-x",)]
    assert warnings.lines() == [
        "sentences with tags that do not follow from one another, repaired: 2 (the first: a.conll, line 4)"
    ]


def test_iob1_is_no_error(tmp_path: Path, warnings: DataWarnings) -> None:
    rows = read_tokens(conll(tmp_path, "a I-x\nb I-x\nc B-x\n\nd O\ne I-y\n"), warnings=warnings)
    assert [row.tags for row in rows] == [("B-x", "I-x", "B-x"), ("O", "B-y")]
    assert not warnings.lines()


def test_numbers_of_tags_are_refused_with_where_their_names_are(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, {"tokens": ["영", "희"], "tags": [0, 1]})
    with pytest.raises(
        ValueError,
        match=r"tag '0' encodes no entity.*where tags are numbers of names, give task.tag_names in their order",
    ):
        read_tokens(source, warnings=warnings)


def test_tags_that_tell_no_entities_stay_as_they_are(tmp_path: Path, warnings: DataWarnings) -> None:
    source = conll(tmp_path, "a DET\ncat NOUN\n")
    assert read_tokens(source, entities=False, warnings=warnings)[0].tags == ("DET", "NOUN")
    with pytest.raises(ValueError, match=r"a\.conll, line 1: tag 'DET' encodes no entity"):
        read_tokens(source, warnings=warnings)


def test_words_without_tags_are_read_where_none_are_needed(tmp_path: Path, warnings: DataWarnings) -> None:
    assert read_tokens(conll(tmp_path, "one\ntwo\n"), tags=None, warnings=warnings)[0].words == ("one", "two")


def test_sentences_are_lists_of_one_length(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, {"tokens": ["a", " "], "tags": ["O", "O"]}, {"tokens": [], "tags": []})
    assert [row.words for row in read_tokens(source, warnings=warnings)] == [("a", " ")]
    assert list(warnings.counts) == ["sentences with an empty word", "sentences without a word, left out"]
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 1 has 2 words and 1 tags"):
        read_tokens(jsonl(tmp_path, {"tokens": ["a", "b"], "tags": ["O"]}), warnings=warnings)
    with pytest.raises(ValueError, match="column 'tokens' must hold a list: 'a b'"):  # white space is among words
        read_tokens(jsonl(tmp_path, {"tokens": "a b", "tags": "O O O"}), has_blanks=True, warnings=warnings)


def test_texts_of_words_and_of_tags_are_parted_by_white_space(tmp_path: Path, warnings: DataWarnings) -> None:
    text = "sentence,tags\nThanks,O\n EU  rejects lamb ,B-ORG O O\n"
    rows = read_tokens(table(tmp_path, text), words="sentence", warnings=warnings)
    assert [(row.words, row.tags) for row in rows] == [
        (("Thanks",), ("O",)),
        (("EU", "rejects", "lamb"), ("B-ORG", "O", "O")),
    ]
    with pytest.raises(ValueError, match=r"row 1 has 2 words and 1 tags|line 2 has 2 words and 1 tags"):
        read_tokens(table(tmp_path, "tokens,tags\nEU rejects,O\n"), warnings=warnings)
    within = jsonl(tmp_path, {"data": {"words": "a b", "tags": "O B-x"}})
    assert read_tokens(within, words="data.words", tags="data.tags", warnings=warnings)[0].words == ("a", "b")
    numbers = jsonl(tmp_path, {"tokens": "영희가 부산에", "tags": "1 3"})
    names = LabelNames(names=BIO, first_label=0)
    assert read_tokens(numbers, names=names, warnings=warnings)[0].tags == ("B-PER", "B-LOC")


def test_tags_that_a_table_wrote_as_lists_are_lists(tmp_path: Path, warnings: DataWarnings) -> None:
    source = table(tmp_path, "tokens,tags\n\"['I', 'am']\",\"['O ', 'B-x ']\"\n\"['I' 'am']\",\"['O' 'B-x']\"\n")
    tagged = read_tokens(source, warnings=warnings)
    assert [(row.words, row.tags) for row in tagged] == [(("I", "am"), ("O", "B-x"))] * 2


def test_parts_of_speech_of_conllu_are_tags_and_a_sentence_that_lacks_one_is_left_out(
    tmp_path: Path, warnings: DataWarnings
) -> None:
    source = table(tmp_path, "1\ta\t_\tDET\t_\t_\t0\troot\t_\t_\n\n1\tb\t_\t_\t_\t_\t0\troot\t_\t_\n", "a.conllu")
    rows = read_tokens(source, tags="upos", entities=False, warnings=warnings)
    assert [(row.words, row.tags) for row in rows] == [(("a",), ("DET",))]
    assert warnings.lines() == ["sentences with a word without a tag, left out: 1 (the first: a.conllu, line 3)"]


# --- numbers of tags ---


def names(first: int = 0) -> LabelNames:
    return LabelNames(names=BIO, first_label=first)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("spelled", [int, float, str, lambda number: f"{number}.0"])
def test_numbers_of_tags_are_the_names_of_the_setting(
    first: int, spelled: Any, tmp_path: Path, warnings: DataWarnings
) -> None:
    tags = [spelled(number + first) for number in (3, 4, 0)]
    source = jsonl(tmp_path, {"tokens": ["New", "York", "!"], "ner_tags": tags})
    (row,) = read_tokens(source, tags="ner_tags", names=names(first), warnings=warnings)
    assert row.tags == ("B-LOC", "I-LOC", "O")
    assert not warnings.counts


def test_numbers_of_tags_that_numpy_wrote_into_a_table_are_named(tmp_path: Path, warnings: DataWarnings) -> None:
    source = table(tmp_path, "tokens,tags\n\"['New' 'York']\",[3 4]\n\"['New', 'York']\",\"[3, 4]\"\n")
    assert [row.tags for row in read_tokens(source, names=names(), warnings=warnings)] == [("B-LOC", "I-LOC")] * 2


def test_a_number_without_a_name_is_refused_where_it_stands(tmp_path: Path, warnings: DataWarnings) -> None:
    rows = [{"tokens": ["a"], "tags": [0]}, {"tokens": ["b"], "tags": [5]}]
    expected = r"task\.train: rows\.jsonl, line 2 has the tag '5', .*O, B-PER, .* 0 to 4 by task\.first_tag = 0"
    with pytest.raises(ValueError, match=expected):
        read_tokens(jsonl(tmp_path, *rows), names=names(), warnings=warnings)
    with pytest.raises(ValueError, match=r"line 1 has the tag '0', .*, 1 to 5 by task\.first_tag = 1"):
        read_tokens(jsonl(tmp_path, *rows), names=names(1), warnings=warnings)
    with pytest.raises(ValueError, match=r"the tag 'B-ORG', which is none of task\.tag_names"):
        read_tokens(jsonl(tmp_path, {"tokens": ["a"], "tags": ["B-ORG"]}), names=names(), warnings=warnings)


def test_a_hidden_tag_leaves_its_sentence_out(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, {"tokens": ["a"], "tags": [-1]}, {"tokens": ["b"], "tags": [1]})
    assert [row.tags for row in read_tokens(source, names=names(), warnings=warnings)] == [("B-PER",)]
    assert warnings.lines() == ["sentences with a word without a tag, left out: 1 (the first: rows.jsonl, line 1)"]


def test_numbers_of_parts_of_speech_are_learned_with_a_warning_that_names_the_setting(
    tmp_path: Path, warnings: DataWarnings
) -> None:
    source = jsonl(tmp_path, {"tokens": ["a", "cat"], "tags": [0, 2]})
    assert read_tokens(source, entities=False, warnings=warnings)[0].tags == ("0", "2")
    (line,) = warnings.lines()
    assert line.startswith("sentences whose tags are numbers, learned as such: task.tag_names names them: 1 ")
    named = LabelNames(names=("DET", "VERB", "NOUN"), first_label=0)
    assert read_tokens(source, entities=False, names=named, warnings=warnings)[0].tags == ("DET", "NOUN")
    assert len(warnings.lines()) == 1


# --- a word a row ---

KAGGLE = "Sentence #,Word,POS,Tag\nSentence: 1,New,NNP,B-geo\n{0},York,NNP,I-geo\n{0},sings,VBZ,O\n{1},Rain,NN,O\n"
SETTINGS: dict[str, Any] = {"words": "Word", "tags": "Tag", "sentence_id": "Sentence #"}


@pytest.mark.parametrize("form", ["repeated", "first row only", "blank lines", "tsv", "jsonl", "a blank at its end"])
def test_rows_of_a_word_each_are_sentences(form: str, tmp_path: Path, warnings: DataWarnings) -> None:
    text = KAGGLE.format({"repeated": "Sentence: 1", "a blank at its end": "Sentence: 1 "}.get(form, ""), "Sentence: 2")
    if form == "blank lines":
        text = text.replace("Sentence: 2", "\n,,,\nSentence: 2")
    source = table(tmp_path, text.replace(",", "\t") if form == "tsv" else text, "a.tsv" if form == "tsv" else "a.csv")
    if form == "jsonl":
        rows = [line.split(",") for line in text.splitlines()]
        source = jsonl(tmp_path, *({n: v or None for n, v in zip(rows[0], row, strict=True)} for row in rows[1:]))
    one, two = read_tokens(source, **SETTINGS, warnings=warnings)
    assert (one.words, one.tags) == (("New", "York", "sings"), ("B-geo", "I-geo", "O"))
    assert (two.words, two.tags) == (("Rain",), ("O",))
    assert one.origin.endswith("line 1" if form == "jsonl" else "line 2")
    assert not warnings.counts


def test_words_that_look_like_lists_and_signs_stay_words(tmp_path: Path, warnings: DataWarnings) -> None:
    source = table(tmp_path, 'Sentence #,Word,Tag\n1,"[\'a\']",O\n1,"""",O\n1,"1,000",B-x\n1,NaN,O\n1,,O\n')
    (row,) = read_tokens(source, **SETTINGS, warnings=warnings)
    assert row.words == ("['a']", '"', "1,000", "NaN", "")
    assert list(warnings.counts) == ["sentences with an empty word"]


def test_ids_that_come_again_are_counted_and_rows_before_the_first_refused(
    tmp_path: Path, warnings: DataWarnings
) -> None:
    source = table(tmp_path, "id,tokens,tags\n1,a,O\n2,b,O\n1,c,O\n")
    assert len(read_tokens(source, sentence_id="id", warnings=warnings)) == 3
    again, single = warnings.lines()
    assert again.endswith("again behind another sentence, read as several: 1 (the first: a.csv, line 4)")
    assert "every sentence has one word; is task.sentence_id = 'id' the right column?" in single
    with pytest.raises(ValueError, match=r"task\.train: a\.csv, line 2, column 'id' is empty, and no row before"):
        read_tokens(table(tmp_path, "id,tokens,tags\n,a,O\n1,b,O\n"), sentence_id="id", warnings=warnings)
    with pytest.raises(ValueError, match=r"line 2 has no column 'ids' \(it has: id, tokens, tags\); did you mean 'id'"):
        read_tokens(source, sentence_id="ids", warnings=warnings)
    with pytest.raises(ValueError, match=r"\['a'\] must hold one word or tag, as task\.sentence_id is of files"):
        read_tokens(jsonl(tmp_path, {"id": 1, "tokens": ["a"], "tags": ["O"]}), sentence_id="id", warnings=warnings)


def test_a_word_a_row_that_is_read_as_a_sentence_a_row_is_named_with_its_settings(
    tmp_path: Path, warnings: DataWarnings
) -> None:
    source = table(tmp_path, KAGGLE.format("", "Sentence: 2"))
    flags = r'read with --task\.sentence_id "Sentence #" --task\.words "Word" --task\.tags "Tag"'
    with pytest.raises(ValueError, match=rf"no column 'tokens' \(it has: Sentence #, Word, POS, Tag\).*{flags}"):
        read_tokens(source, warnings=warnings)
    with pytest.raises(ValueError, match=rf"column 'Word' must hold a list: 'New'.*{flags}"):
        read_tokens(source, words="Word", tags="Tag", warnings=warnings)
    with pytest.raises(ValueError, match=r"must hold a list: 'a'; a file with a word a row needs task\.sentence_id"):
        read_tokens(table(tmp_path, "tokens,tags\na,O\n"), warnings=warnings)


def test_rows_of_words_are_sentences_for_predictions_too() -> None:
    rows = [{"s": 1, "Word": "a"}, {"s": "", "Word": "b"}, {"s": 2, "Word": "c"}]
    assert sentences_of(rows, words="Word", sentence_id="s") == [
        {"s": "1", "Word": ["a", "b"]},
        {"s": "2", "Word": ["c"]},
    ]
    for other in (["a text"], [{"s": 1, "Word": ["a", "b"]}], [{"Word": "a"}], []):
        assert sentences_of(other, words="Word", sentence_id="s") == other
    assert json.dumps(sentences_of(rows, words="Word", sentence_id="s"))
