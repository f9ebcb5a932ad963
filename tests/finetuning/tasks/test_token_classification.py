"""Tags of words and of characters: what is tagged in training is tagged in predictions, and the ceiling is 1."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from data.tokens.tokenizer import train_tokenizer
from finetuning.data.rows import DataWarnings, TokenRow
from finetuning.data.tagged import read_tokens
from finetuning.load import predictions_of
from finetuning.metrics.metrics import span_f1
from finetuning.tasks.token_classification import TokenClassification, TokenTask
from tests.finetuning.files import jsonl
from tests.finetuning.made_tasks import korean_entities
from tests.finetuning.opened import learn_by_heart, opened

Command = Callable[..., list[str]]


def joining_tokenizer() -> object:
    """A byte-level tokenizer that knows the made sentences' words, particles and all, as one token each."""
    texts = ["".join(row["tokens"]) for row in korean_entities(200, 7)]
    return train_tokenizer(iter(texts), kind="byte_bpe", vocab_size=600)


@pytest.mark.parametrize("task", ["characters", "morphemes"])
def test_gold_tags_of_characters_reach_every_entity(tiny_task: Command, task: str) -> None:
    module, data = opened(tiny_task(task, "masked_lm"))
    module = cast(TokenClassification, module)
    rows = data.rows["test"]
    assert all(len(word) == 1 for row in rows for word in row.words)
    object.__setattr__(module.start, "tokenizer", joining_tokenizer())
    assert span_f1(module.ceiling(rows), [row.tags for row in rows]).value == 1.0
    module.by_unit = False  # as the first edition encoded them: whole words are one token
    assert span_f1(module.ceiling(rows), [row.tags for row in rows]).value < 0.6


def test_a_token_that_begins_with_a_blank_takes_the_tag_of_its_word(tiny_task: Command) -> None:
    """The example of character tags, from tags to tokens and back."""
    module, _ = opened(tiny_task("characters", "masked_lm"))
    module = cast(TokenClassification, module)
    row = TokenRow(words=(*"영희가 부산에서",), tags=("B-PS", "I-PS", "O", "O", "B-LC", "I-LC", "O", "O"))
    assert module.ceiling([row]) == [row.tags]
    module.by_unit = False
    assert module.ceiling([row]) == [row.tags]


def test_every_evaluation_has_the_ceiling(tiny_task: Command) -> None:
    for task, metric in (("characters", "span_f1"), ("entities", "span_f1")):
        module, data = opened(tiny_task(task, "masked_lm"))
        rows = data.rows["test"]
        found = module.measure_predictions(rows, predictions_of(module, rows))
        assert next(iter(found)) == metric
        assert found[f"{metric}_ceiling"].value == 1.0


def test_particles_are_parted_from_names_in_text_that_nothing_parts(tiny_task: Command) -> None:
    module, data = opened(tiny_task("morphemes", "masked_lm", "--task.train_rows", "24"))
    torch.manual_seed(0)
    learn_by_heart(module, data, 24, 60)
    row = module.row_of("영희가 부산에서 만나자")
    fields = module.to_json(row, predictions_of(module, [row])[0])
    assert fields == {
        "entities": [
            {"kind": "PS", "start": 0, "end": 2, "text": "영희"},
            {"kind": "LC", "start": 4, "end": 6, "text": "부산"},
        ]
    }
    given = module.row_of({"tokens": ["영희", "가", " ", "부산", "에서", " ", "만나자"]})
    found = module.to_json(given, predictions_of(module, [given])[0])
    assert found["entities"] == fields["entities"]
    assert found["tags"] == ["B-PS", "O", "O", "B-LC", "O", "O", "O"]


def test_words_that_are_given_stay_the_words(tiny_task: Command) -> None:
    module, _ = opened(tiny_task("entities", "masked_lm"))
    words = ["I", "don't", "like", "U.S.", "e-mail", "."]
    row = module.row_of({"tokens": words})
    assert list(row.words) == words
    fields = module.to_json(row, predictions_of(module, [row])[0])
    assert len(fields["tags"]) == 6
    assert module.to_json(row, ("O", "O", "O", "B-animal", "O", "O"))["entities"] == [
        {"kind": "animal", "start": 13, "end": 17, "text": "U.S."}
    ]
    for odd in ([], [["a"]], [None]):
        with pytest.raises(ValueError, match="must be a list of words"):
            module.row_of({"tokens": odd})
    json.dumps(fields)


def test_independent_tags_are_those_of_the_words_given(tiny_task: Command) -> None:
    module, _ = opened(tiny_task("morphemes", "masked_lm", "--task.entities", "false"))
    task = cast(TokenTask, module.task)
    assert not task.entities
    row = module.row_of({"tokens": ["영희", "가"]})
    assert module.to_json(row, predictions_of(module, [row])[0])["words"] == ["영희", "가"]
    assert module.row_of("영희가").words == ("영", "희", "가")


def test_what_a_run_encoded_is_what_it_encodes_again(tiny_task: Command) -> None:
    """A run of the first edition, whose folder records nothing, encodes whole texts as it was trained to."""
    module, _ = opened(tiny_task("characters", "masked_lm"))
    module = cast(TokenClassification, module)
    recorded = module.recorded()
    assert recorded["encoded"] == "units one by one"
    module.restore({"labels": module.labels})
    assert not module.by_unit
    module.restore(recorded)
    assert module.by_unit


def warned(module: TokenClassification, *given: object) -> list[str]:
    warnings = DataWarnings()
    module.examples([replace(module.row_of(one), origin=str(one)) for one in given], warnings)
    return [line for line in warnings.lines() if "split" in line]


def test_a_text_that_is_split_otherwise_than_trainings_sentences_is_warned_of(tiny_task: Command) -> None:
    module, _ = opened(tiny_task("entities", "masked_lm"))
    module = cast(TokenClassification, module)
    assert module.split_otherwise == 0
    assert not warned(module, "I don't like U.S. e-mail.")
    rows = [TokenRow(words=("I", "don't", "."), tags=("O", "B-a", "O")), TokenRow(words=("U.S.",), tags=("O",))]
    module.learn_labels(rows)
    assert module.recorded()["split_otherwise"] == 0.5
    assert not warned(module, "(I like it!)", {"tokens": ["I", "don't"]})
    (line,) = warned(module, "I like it.", "I don't.", "No U.S.")
    assert line.startswith("texts split at signs within words, as 50.0% of training's units were not: a list of units")
    assert line.endswith("in 'tokens' keeps them whole: 2 (the first: I don't.)")
    again = {**module.recorded()}
    module.restore({"labels": module.labels})  # a run of before
    assert not warned(module, "I don't.")
    module.restore(again)
    assert warned(module, {"text": "I don't."})


def test_units_longer_than_characters_are_warned_of_where_nothing_parts_them(tiny_task: Command) -> None:
    module, _ = opened(tiny_task("morphemes", "masked_lm", "--task.entities", "false"))
    module = cast(TokenClassification, module)
    assert module.split_otherwise > 0.3
    (line,) = warned(module, "영희가")
    assert line.startswith("texts split into characters, as ")
    entities, _ = opened(tiny_task("morphemes", "masked_lm"))
    assert not warned(cast(TokenClassification, entities), "영희가")


@pytest.mark.parametrize("entities", ["true", "false"])
def test_blanks_of_tagged_characters_are_warned_of_by_nothing_and_have_their_own_tag(
    tiny_task: Command, entities: str
) -> None:
    module, data = opened(tiny_task("characters", "masked_lm", "--task.entities", entities))
    module = cast(TokenClassification, module)
    assert any(" " in row.words for row in data.rows["train"])
    assert not [line for line in data.warnings.lines() if "are in train too" not in line]
    rows = data.rows["test"]
    assert module.ceiling(rows) == [row.tags for row in rows]
    if entities == "false":
        assert module.labels[0] != "O"
        kept = module.recorded()
        assert kept["tag_of_blanks"] == "O"
        module.restore({"labels": module.labels})  # a run of before
        assert module.ceiling(rows) != [row.tags for row in rows]
        module.restore(kept)
        assert module.ceiling(rows) == [row.tags for row in rows]


def test_a_unit_without_any_character_is_still_counted(tmp_path: Path) -> None:
    warnings = DataWarnings()
    source = jsonl(tmp_path, {"tokens": ["영", "", " "], "tags": ["O", "O", "O"]})
    read_tokens(source, has_blanks=True, warnings=warnings)
    assert warnings.counts == {"sentences with an empty word": 1}
    read_tokens(jsonl(tmp_path, {"tokens": ["영", "\u3000"], "tags": ["O", "O"]}), has_blanks=True, warnings=warnings)
    assert warnings.counts == {"sentences with an empty word": 1}
