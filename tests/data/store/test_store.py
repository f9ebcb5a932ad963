"""The store on disk: found again, never half there, never damaged, built once whoever asks."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.store.recipe import Recipe
from data.store.store import TokenStore, damaged_files, find_or_build, read_manifest
from data.text.corpora import Corpus
from tests.helpers import ROOT, made_up_documents, write_jsonl

# Builds the store of a corpus and prints its folder; told to, it leaves in the midst of the build, or as soon as
# anything is opened for writing in the folder of the store itself.
BUILDER = """
import os, signal, sys
from pathlib import Path
from data.text.corpora import Corpus
from data.store.recipe import Recipe
from data.store.store import find_or_build

corpus, cache, leave_at, how = sys.argv[1:]

def report(line):
    print(line, file=sys.stderr)
    if leave_at and line.startswith(leave_at):
        os._exit(3) if how == "exit" else os.kill(os.getpid(), signal.SIGKILL)

if how == "half":
    import data.store.splits
    data.store.splits.SplitWriter.close = lambda writer: os._exit(3)
if how == "written":
    import common.files
    common.files.drop_folder = lambda path: os._exit(3)
recipe = Recipe(corpus=Corpus(source=(corpus,)), vocab_size=420)
if how == "watched":
    folder = os.path.join(cache, recipe.fingerprint())

    def watch(event, details):
        if event == "open" and str(details[0]).startswith(folder) and details[2] & (os.O_WRONLY | os.O_RDWR):
            os._exit(4)

    sys.addaudithook(watch)
print(find_or_build(recipe, Path(cache), report=report))
"""


def builder(corpus: Path, cache: Path, leave_at: str = "", how: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(corpus), str(cache), leave_at, how],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stores_in(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if not path.name.startswith(".")]


@pytest.fixture
def copied(store: Path, corpus_file: Path, tmp_path: Path) -> tuple[Recipe, Path]:
    """A recipe and a cache of its own that holds its store."""
    folder = Path(shutil.copytree(store, tmp_path / "cache" / store.name))
    return Recipe(corpus=Corpus(source=(str(corpus_file),)), vocab_size=480), folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_store_is_found_again_without_a_word(copied: tuple[Recipe, Path]) -> None:
    recipe, folder = copied
    reports: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert find_or_build(recipe, folder.parent, report=reports.append) == folder
    assert reports == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_two_builds_of_one_recipe_are_the_same_bytes(copied: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, folder = copied
    other = find_or_build(recipe, tmp_path / "other", report=lambda line: None)
    assert other.name == folder.name
    assert files_of(other) == files_of(folder)


def test_the_name_of_a_store_follows_all_that_decides_its_content(corpus_file: Path, tmp_path: Path) -> None:
    corpus = Corpus(source=(str(corpus_file),))
    other = Corpus(source=(str(write_jsonl(tmp_path / "b.jsonl", made_up_documents(5, seed=1))),))
    recipes = [
        Recipe(corpus=corpus),
        Recipe(corpus=other),
        Recipe(corpus=corpus, validation=other),
        Recipe(corpus=corpus, validation_fraction=0.1),
        Recipe(corpus=corpus, tokenizer="wordpiece"),
        Recipe(corpus=corpus, vocab_size=500),
        Recipe(corpus=corpus, end_of_document=False),
    ]
    names = [recipe.fingerprint() for recipe in recipes]
    assert len(set(names)) == len(recipes)
    assert names == [recipe.fingerprint() for recipe in recipes]
    assert {len(name) for name in names} == {16}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_manifest(path: Path) -> None:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["train"]["tokens"] += 1
    path.write_text(json.dumps(manifest), encoding="utf-8")


DAMAGE = {
    "flipped": ("train/tokens.bin", flip),
    "cut": ("validation/tokens.bin", lambda path: os.truncate(path, path.stat().st_size - 2)),
    "gone": ("train/sentence_starts.bin", Path.unlink),
    "other tokenizer": ("tokenizer.json", lambda path: path.write_text("{}")),
    "edited manifest": ("manifest.json", edit_manifest),
    "cut manifest": ("manifest.json", lambda path: os.truncate(path, 100)),
    "list for a manifest": ("manifest.json", lambda path: path.write_text("[]")),
    "no manifest": ("manifest.json", Path.unlink),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_the_store_built_anew(kind: str, copied: tuple[Recipe, Path]) -> None:
    recipe, folder = copied
    sound = files_of(folder)
    name, damage = DAMAGE[kind]
    damage(folder / name)
    assert damaged_files(folder) == [name]
    reports: list[str] = []
    assert find_or_build(recipe, folder.parent, report=reports.append) == folder
    assert name in reports[0]
    assert "damaged" in reports[0]
    assert files_of(folder) == sound


@pytest.mark.parametrize(
    ("leave_at", "how"),
    [("training a", "exit"), ("", "half"), ("documents:", "kill"), ("", "written")],
    ids=["in the tokenizer", "in the splits", "before the manifest", "before the rename"],
)
def test_a_build_that_is_killed_leaves_no_store_and_the_next_one_works(
    leave_at: str, how: str, corpus_file: Path, tmp_path: Path
) -> None:
    killed = builder(corpus_file, tmp_path, leave_at, how)
    killed.communicate(timeout=120)
    assert killed.returncode in (3, -signal.SIGKILL)
    assert stores_in(tmp_path) == []
    recipe = Recipe(corpus=Corpus(source=(str(corpus_file),)), vocab_size=420)
    folder = find_or_build(recipe, tmp_path, report=lambda line: None)
    assert stores_in(tmp_path) == [folder]
    assert damaged_files(folder) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, f".{folder.name}.lock"])


def test_nothing_is_ever_written_in_the_folder_of_a_store(corpus_file: Path, tmp_path: Path) -> None:
    watched = builder(corpus_file, tmp_path, how="watched")
    assert "tokenising" in watched.communicate(timeout=120)[1]
    assert watched.returncode == 0
    assert damaged_files(*stores_in(tmp_path)) == []


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good."}\n{"text": 3}\n')
    with pytest.raises(ValueError, match="holds int"):
        find_or_build(Recipe(corpus=Corpus(source=(str(path),))), tmp_path / "cache", report=lambda line: None)
    assert stores_in(tmp_path / "cache") == []
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_build_that_does_not_fit_names_the_store_and_leaves_nothing(corpus_file: Path, tmp_path: Path) -> None:
    recipe = Recipe(corpus=Corpus(source=(str(corpus_file),)), vocab_size=480)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (1 << 10, 1 << 15, corpus_file.stat().st_size):  # in the documents, the tokenizer, the tokens
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match="File too large") as raised:
                find_or_build(recipe, tmp_path, report=lambda line: None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(tmp_path / recipe.fingerprint()))
        assert raised.value.__notes__ == [
            "nothing of this store is kept, and the same command builds it from its beginning"
        ]
        assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_of_processes_that_want_one_store_one_builds_it(corpus_file: Path, tmp_path: Path) -> None:
    processes = [builder(corpus_file, tmp_path) for _ in range(3)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    folders = {printed.strip() for printed, _ in outputs}
    assert folders == {str(folder) for folder in stores_in(tmp_path)}
    assert len(folders) == 1
    assert damaged_files(Path(folders.pop())) == []
    assert sorted(bool(reported) for _, reported in outputs) == [False, False, True]


def test_a_store_is_mapped_and_not_read(store: Path) -> None:
    for split in ("train", "validation"):
        opened = TokenStore(store, split)
        arrays = (opened.tokens, opened.sentence_starts, opened.document_starts)
        assert all(isinstance(array.base, np.memmap) and not array.flags.writeable for array in arrays)
        assert opened.num_bytes == read_manifest(store)[split]["bytes"]
        for starts in arrays[1:]:
            assert starts[0] == 0
            assert (np.diff(starts) > 0).all()
        assert np.isin(opened.document_starts, opened.sentence_starts).all()
