"""Files of a word a row with numbers for tags, from finetune.py to predict.py: what is learned has the tags' names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

import finetune
import predict
from finetuning.load import load_fine_tuned
from finetuning.tasks.token_classification import TokenClassification, TokenTask
from tests.finetuning.made_tasks import sentences
from tests.finetuning.opened import opened
from tests.finetuning.test_scripts import status_of

Command = Callable[..., list[str]]
NAMES = ["O", "I-animal", "B-animal"]  # an order of its own


@pytest.fixture
def words_in_rows(tiny_task: Command, tmp_path: Path) -> list[str]:
    """A command line for such files."""
    command = tiny_task("entities", "masked_lm")
    for seed, split in enumerate(("train", "development", "test")):
        lines = ["sentence,word,tag\n"]
        for number, words in enumerate(sentences(24, seed)):
            for place, word in enumerate(words):
                lines.append(f"{'' if place else number},{word},{2 * (word in ('cat', 'dog'))}\n")
        (tmp_path / f"{split}.csv").write_text("".join(lines), encoding="utf-8")
    settings = {
        "name": "made",
        **{split: str(tmp_path / f"{split}.csv") for split in ("train", "development", "test")},
        "words": "word",
        "tags": "tag",
        "sentence_id": "sentence",
        "tag_names": NAMES,
    }
    task = {"class_path": "finetuning.tasks.token_classification.TokenTask", "init_args": settings}
    Path(command[1]).write_text(json.dumps({"task": task}), encoding="utf-8")
    return command


def test_words_in_rows_with_numbers_of_tags_are_learned_and_predicted_by_name(
    words_in_rows: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert status_of(finetune.main, words_in_rows) == 0
    run = tmp_path / "runs/tuned"
    recorded = json.loads((run / "run.json").read_text(encoding="utf-8"))["data"]
    assert recorded["rows"] == {"train": 24, "development": 24, "test": 24}
    assert recorded["labels"] == NAMES
    loaded = load_fine_tuned(run).module
    assert loaded.labels == NAMES
    for name in ("summary.json", "scores.json"):  # as where the run was stopped at its last checkpoint
        (run / name).unlink(missing_ok=True)
    assert status_of(finetune.main, words_in_rows) == 0  # and goes on with the same names
    capfd.readouterr()
    assert status_of(predict.main, [str(run), "--file", str(tmp_path / "test.csv"), "--json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(lines) == 24
    for line, words in zip(lines, sentences(24, 2), strict=True):
        assert line["input"]["word"] == words
        assert set(line["tags"]) <= set(NAMES)
        assert len(line["tags"]) == len(words)


def test_the_names_of_tags_are_the_labels_in_their_order(words_in_rows: list[str]) -> None:
    module, data = opened(words_in_rows)
    module = cast(TokenClassification, module)
    assert module.labels == NAMES
    assert {tag for row in data.rows["train"] for tag in row.tags} == {"O", "B-animal"}
    assert module.ceiling(data.rows["test"]) == [row.tags for row in data.rows["test"]]
    other, _ = opened([*words_in_rows, "--task.tag_names", "[O,S-place,S-animal]"])
    assert other.labels == ["O", "B-animal", "I-animal", "B-place", "I-place"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tag_names": ("B-a", "I-a")}, r"task\.tag_names = \['B-a', 'I-a'\] has no 'O'"),
        ({"tag_names": ("O", "B-a", "B-a")}, "must be different names, at least two"),
        ({"tag_names": ("O",)}, "must be different names, at least two"),
        ({"tag_names": ("O", "NOUN")}, r"task\.tag_names: tag 'NOUN' .*task\.entities = false"),
        ({"first_tag": 1}, r"task\.first_tag = 1 is the number of a name: give task\.tag_names"),
    ],
)
def test_names_that_cannot_be_those_of_tags_are_refused(settings: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenTask(name="made", train="a.csv", **settings)  # pyright: ignore[reportArgumentType]
    assert TokenTask(name="made", train="a.csv", tag_names=("DET", "NOUN"), entities=False)
