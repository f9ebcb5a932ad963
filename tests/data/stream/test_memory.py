"""A corpus larger than the memory that reads it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, made_up_documents

# Builds the store of a corpus and prints the most memory it ever held, in kilobytes (ru_maxrss would begin with what
# the parent held).
BUILDER = """
import sys
from pathlib import Path
from data.text.corpora import Corpus
from data.store.recipe import Recipe
from data.store.store import find_or_build

corpus, tokenizer, cache = sys.argv[1:]
find_or_build(Recipe(corpus=Corpus(source=(corpus,)), tokenizer=tokenizer), Path(cache), report=lambda line: None)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""


def peak_megabytes(megabytes: float, tokenizer: Path, folder: Path) -> float:
    """The most memory that building the store of a corpus of so many megabytes takes."""
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in made_up_documents(2_000)]
    corpus, written = folder / f"{megabytes}.jsonl", 0
    with corpus.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            for number, line in enumerate(lines):
                written += file.write(line.replace('"}', f' {written}-{number}"}}') + "\n")
    command = [sys.executable, "-c", BUILDER, str(corpus), str(tokenizer), str(folder / "cache")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    return int(finished.stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_building_a_store_takes_no_more_memory_for_a_larger_corpus(store: Path, tmp_path: Path) -> None:
    small = peak_megabytes(3, store / "tokenizer.json", tmp_path)
    large = peak_megabytes(90, store / "tokenizer.json", tmp_path)
    assert large - small < 30
