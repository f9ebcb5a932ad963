"""A hundred rows in each form that people have, from their files to predictions, with what each reader counted."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import finetune
import predict
import score
from tests.finetuning.made_tasks import in_single_characters, korean_entities, sentences
from tests.finetuning.test_scripts import status_of

Command = Callable[..., list[str]]
Made = tuple[dict[str, Any], Any, str]  # settings of the task, an input of predict.py, what the run records of the data


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def korquad(folder: Path) -> Made:
    """One paragraph with many questions; a start is a float, another null, one answer is an object."""
    paragraphs = []
    for number, row in enumerate(korean_entities(100, 0)):
        context, city = "".join(row["tokens"]), row["tokens"][row["tags"].index("B-LC")]
        start: Any = (float(context.index(city)), None, context.index(city))[number % 3]
        answers: Any = {"text": city, "answer_start": start} if number % 2 else [{"text": city, "answer_start": start}]
        question = {"id": str(number), "question": "어디?", "answers": answers, "is_impossible": "false"}
        paragraphs.append({"context": f"{number} {context}", "qas": [question]})
    path = folder / "korquad.json"
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}), encoding="utf-8")
    settings = {"train": str(path), "korean": True, "test_fraction": 0.2, "validation_rows": 4}
    given = {"question": "어디?", "context": "영희가 부산에서 살아"}
    return _task("question_answering.QuestionTask", settings), given, "answers without a place"


def conll(folder: Path) -> Made:
    lines = ["-DOCSTART- O\n"]
    for number, words in enumerate(sentences(100, 0)):
        lines.append(f"# id {number} made\n" + "".join(f"{word} {'B-x' if word == 'cat' else 'O'}\n" for word in words))
    (folder / "a.conll").write_text("\n".join(lines), encoding="utf-8")
    settings = {"train": str(folder / "a.conll"), "test_fraction": 0.2}
    return _task("token_classification.TokenTask", settings), {"tokens": ["the", "don't", "cat"]}, "test"


def conllu(folder: Path) -> Made:
    blocks = []
    for words in sentences(100, 0):
        rows = [[str(n), word, "_", "NOUN" if len(word) > 3 else "X", *"______"] for n, word in enumerate(words, 1)]
        rows.insert(0, ["1-2", "joined", *"________"])
        blocks.append("# text = made\n" + "".join("\t".join(row) + "\n" for row in rows))
    (folder / "a.conllu").write_text("\n".join(blocks), encoding="utf-8")
    settings = {"train": str(folder / "a.conllu"), "tags": "upos", "entities": False, "test_fraction": 0.2}
    return _task("token_classification.TokenTask", settings), {"tokens": ["the", "cat"]}, '["NOUN", "X"]'


def characters(folder: Path) -> Made:
    rows = [{**in_single_characters(row), "part": "dev"} for row in korean_entities(400, 0)]
    rows = [{**row, "part": ("train", "dev", "test")[n % 3]} for n, row in enumerate(rows)]
    settings = {"train": _jsonl(folder / "a.jsonl", rows), "joiner": "", "split_column": "part"}
    return _task("token_classification.TokenTask", settings), "부산에서 만나자", "units one by one"


def parallel(folder: Path) -> Made:
    texts = [" ".join(words) for words in sentences(100, 0)]
    for name, lines in (("en", texts), ("de", [text[::-1] for text in texts])):
        (folder / f"train.{name}.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    files = [str(folder / f"train.{name}.gz") for name in ("en", "de")]
    settings = {"train": files, "format": "parallel", "source": "en", "target": "de", "test_fraction": 0.2}
    return _task("text_to_text.TextToTextTask", {**settings, "longest_target": 8}), "the cat", "targets longer than"


def pandas_csv(folder: Path) -> Made:
    pandas = pytest.importorskip("pandas")
    kinds = [["animal"] * ("cat" in words) + ["long"] * (len(words) > 4) for words in sentences(100, 0)]
    texts = [" ".join(words) for words in sentences(100, 0)]
    pandas.DataFrame({"text": texts, "labels": kinds}).to_csv(folder / "a.csv")
    settings = {"train": str(folder / "a.csv"), "label": "labels", "form": "many", "test_fraction": 0.2}
    return _task("classification.ClassificationTask", settings), "the cat", '["animal", "long"]'


def _task(class_path: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"class_path": f"finetuning.tasks.{class_path}", "init_args": {"name": "made", **settings}}


@pytest.mark.slow
@pytest.mark.parametrize("form", [korquad, conll, conllu, characters, parallel, pandas_csv], ids=lambda f: f.__name__)
def test_a_hundred_rows_of_every_form_are_learned_and_predicted(
    form: Callable[[Path], Made], tiny_task: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task, given, expected = form(tmp_path)
    objective = "span_corruption" if form is parallel else "masked_lm"
    command = tiny_task("classification", objective)
    Path(command[1]).write_text(json.dumps({"task": task}), encoding="utf-8")
    assert status_of(finetune.main, command) == 0
    output = capfd.readouterr()
    recorded = json.loads((tmp_path / "runs/tuned/run.json").read_text(encoding="utf-8"))["data"]
    assert expected in json.dumps(recorded, ensure_ascii=False)
    assert "test/" in output.out
    assert form not in (conll, characters) or "test/span_f1_ceiling  1.0000" in output.out
    (tmp_path / "given.jsonl").write_text(json.dumps(given, ensure_ascii=False) + "\n", encoding="utf-8")
    arguments = [str(tmp_path / "runs/tuned"), "--file", str(tmp_path / "given.jsonl"), "--json"]
    assert status_of(predict.main, arguments) == 0
    assert isinstance(json.loads(capfd.readouterr().out), dict)


@pytest.mark.slow
def test_pairs_of_lines_are_scored(
    pretrained: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pairs = [f"{' '.join(reversed(words))}\n{' '.join(words)}\n" for words in sentences(100, 0)]
    (tmp_path / "order-reversed.txt").write_text("".join(pairs), encoding="utf-8")
    where = [str(pretrained["causal_lm"]), "--minimal_pairs", str(tmp_path / "order-reversed.txt")]
    assert status_of(score.main, [*where, "--cache", str(tmp_path / "cache"), "--json"]) == 0
    assert 0 <= json.loads(capfd.readouterr().out)["metrics"]["minimal_pairs"]["mean"] <= 1
