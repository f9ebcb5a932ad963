"""Tiny tasks: what is asked can be told from the words alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers import ENGLISH

Settings = dict[str, Any]
WORDS = ENGLISH.split()
ANIMALS = ("cat", "dog", "bird")


def sentences(number: int, seed: int) -> list[list[str]]:
    """Sentences of 3 to 5 words."""
    rng = np.random.default_rng(seed)
    return [rng.choice(WORDS, size=rng.integers(3, 6)).tolist() for _ in range(number)]


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _tags(words: list[str]) -> list[str]:
    """An animal is an entity, and so is "the" before it."""
    tags = []
    for place, word in enumerate(words):
        begins = word == "the" and words[place + 1 : place + 2] != [] and words[place + 1] in ANIMALS
        goes_on = word in ANIMALS and place > 0 and words[place - 1] == "the"
        tags.append("B-animal" if begins or (word in ANIMALS and not goes_on) else "I-animal" if goes_on else "O")
    return tags


def _question(number: int, words: list[str]) -> dict[str, Any]:
    """Which word follows the second one of a sentence."""
    context = " ".join(words)
    start = len(" ".join(words[:2])) + 1
    answer = {"text": words[2], "answer_start": start}
    return {"id": str(number), "question": f"what follows {words[1]}", "answers": [answer], "context": context}


NAMES, CITIES, DONE = ("영희", "철수", "순이"), ("부산", "서울", "대구"), ("살아", "만나자", "놀았다")


def korean_entities(number: int, seed: int) -> list[dict[str, Any]]:
    """Sentences such as 영희가 부산에서 살아, in morphemes and blanks: names and cities are entities, particles not."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(number):
        name, city, done = (str(rng.choice(words)) for words in (NAMES, CITIES, DONE))
        first, second = ([name, "가"], "PS"), ([city, "에서"], "LC")
        parts = [first, second] if rng.random() < 0.5 else [second, first]
        tokens, tags = [], []
        for (entity, particle), kind in parts:
            tokens += [entity, particle, " "]
            tags += [f"B-{kind}", "O", "O"]
        rows.append({"tokens": [*tokens, done], "tags": [*tags, "O"]})
    return rows


def in_single_characters(row: dict[str, Any]) -> dict[str, Any]:
    """The same row with a tag for each character."""
    both = [
        (character, tag if place == 0 or tag == "O" else f"I{tag[1:]}")
        for token, tag in zip(row["tokens"], row["tags"], strict=True)
        for place, character in enumerate(token)
    ]
    return {"tokens": [character for character, _ in both], "tags": [tag for _, tag in both]}


def write_tasks(folder: Path) -> None:
    """Files of every task: 64 rows to learn from, 24 for each of the others."""
    for seed, (split, number) in enumerate((("train", 64), ("development", 24), ("test", 24))):
        texts = sentences(number, seed)
        labels = ["animal" if set(words) & set(ANIMALS) else "none" for words in texts]
        rows: list[dict[str, Any]] = [
            {
                "text": " ".join(words),
                "other": " ".join(reversed(words)),
                "label": label,
                "labels": sorted(set(words) & set(ANIMALS)),
                "number": 10.0 + len(words),
                "reversed": " ".join(reversed(words[:3])),
            }
            for words, label in zip(texts, labels, strict=True)
        ]
        _jsonl(folder / f"{split}.jsonl", rows)
        lines = ["".join(f"{word}\t{tag}\n" for word, tag in zip(words, _tags(words), strict=True)) for words in texts]
        (folder / f"{split}.conll").write_text("\n".join(lines), encoding="utf-8")
        tagged = korean_entities(number, seed)
        _jsonl(folder / f"{split}_morphemes.jsonl", tagged)
        _jsonl(folder / f"{split}_characters.jsonl", list(map(in_single_characters, tagged)))
        _jsonl(folder / f"{split}_questions.jsonl", [_question(row, words) for row, words in enumerate(texts)])


def _splits(folder: Path, ending: str) -> Settings:
    return {split: str(folder / f"{split}{ending}") for split in ("train", "development", "test")}


def _task(class_path: str, settings: Settings) -> Settings:
    return {"class_path": f"finetuning.tasks.{class_path}", "init_args": settings}


def classification(folder: Path, **more: Any) -> Settings:
    return _task(
        "classification.ClassificationTask", {"name": "tiny", **_splits(folder, ".jsonl"), "texts": ["text"], **more}
    )


def mixture(folder: Path) -> Settings:
    parts = [
        classification(folder),
        _task("text_to_text.TextToTextTask", {"name": "reverse", **_splits(folder, ".jsonl"), **_REVERSED}),
        _task("question_answering.QuestionTask", {"name": "next", **_splits(folder, "_questions.jsonl")}),
    ]
    return _task("mixture.MixtureTask", {"name": "three", "tasks": parts, "limit": 50, "longest_target": 16})


_REVERSED = {"source": "text", "target": "reversed", "longest_target": 16}
TASKS: dict[str, Callable[[Path], Settings]] = {
    "classification": classification,
    "pairs": lambda folder: classification(folder, texts=["text", "other"]),
    "regression": lambda folder: classification(folder, label="number", form="number"),
    "several labels": lambda folder: classification(folder, label="labels", form="many"),
    "entities": lambda folder: _task(
        "token_classification.TokenTask", {"name": "tiny", **_splits(folder, ".conll"), "header": ["tokens", "tags"]}
    ),
    "characters": lambda folder: _task(
        "token_classification.TokenTask", {"name": "tiny", **_splits(folder, "_characters.jsonl"), "joiner": ""}
    ),
    "morphemes": lambda folder: _task(
        "token_classification.TokenTask", {"name": "tiny", **_splits(folder, "_morphemes.jsonl"), "joiner": ""}
    ),
    "questions": lambda folder: _task(
        "question_answering.QuestionTask", {"name": "tiny", **_splits(folder, "_questions.jsonl")}
    ),
    "text_to_text": lambda folder: _task(
        "text_to_text.TextToTextTask", {"name": "tiny", **_splits(folder, ".jsonl"), **_REVERSED}
    ),
    "generation": lambda folder: _task(
        "text_generation.GenerationTask", {"name": "tiny", **_splits(folder, ".jsonl"), "longest_text": 8}
    ),
    "mixture": mixture,
}
WRITTEN = ("text_to_text", "mixture")
