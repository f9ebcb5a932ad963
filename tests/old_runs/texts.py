"""The texts of the runs of the first edition: a corpus, and a task with a label a line."""

import json
from pathlib import Path

import numpy as np

ENGLISH = "the a old young cat dog bird sees hears likes small big house tree river and then runs sleeps here"
WORDS = ENGLISH.split()
rng = np.random.default_rng(0)


def sentence() -> str:
    return " ".join(rng.choice(WORDS, size=rng.integers(3, 9)))


def write(path: str, rows: list[dict[str, str]]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


documents = [". ".join(sentence() for _ in range(rng.integers(2, 6))) + "." for _ in range(40)]
write("corpus.jsonl", [{"text": document} for document in documents])
for split, number in (("train", 32), ("test", 12)):
    texts = [sentence() for _ in range(number)]
    write(f"{split}.jsonl", [{"text": text, "label": "cat" if "cat" in text else "none"} for text in texts])
