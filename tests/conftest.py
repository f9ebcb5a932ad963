"""What tests share as fixtures: the made-up corpus, its store, and the command line of a tiny run over it."""

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports what reads it
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # tests mean the CPU: they pass as well where there is a GPU
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models here are so small that threads only get in each other's way

from common.startup import DEFAULTS

from data.store.recipe import Recipe
from data.store.store import find_or_build
from data.stream.windows import Windows
from data.text.corpora import Corpus
from data.tokens.tokenizer import Vocabulary
from tests.helpers import ROOT, TINY, made_up_documents, make_vocabulary, make_windows, write_jsonl

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MEMORY = Path("/dev/shm")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_configure() -> None:
    """Folders of tests lie in memory where there is room: thousands of files are flushed before they are renamed.

    Signals that a job in the background ignores are what they are elsewhere: tests send them.
    """
    gc.disable()  # until all is collected: nothing of it is garbage
    for number, default in DEFAULTS.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish() -> None:
    """What was collected lives to the end; garbage is not looked for among it at each full collection."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return make_vocabulary()


@pytest.fixture(scope="session")
def windows(vocabulary: Vocabulary) -> Windows:
    return make_windows(vocabulary)


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "made_up.jsonl", made_up_documents())


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def store(corpus_file: Path, cache: Path) -> Path:
    """The token store of the made-up corpus."""
    recipe = Recipe(corpus=Corpus(source=(str(corpus_file),)), vocab_size=480)
    return find_or_build(recipe, cache, report=lambda line: None)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """A headless Chromium."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def tiny_run_in(corpus_file: Path, cache: Path, store: Path) -> Callable[..., list[str]]:
    """The command line of a run of seconds in a folder of runs: `tiny_run_in(runs, "masked_lm", name, *more)`."""

    def command(runs: Path, objective: str, name: str, *more: str) -> list[str]:
        config = str(ROOT / f"configs/{objective}.yaml")
        where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(runs)]
        return ["--config", config, "--name", name, *TINY, *where, *more]

    return command


@pytest.fixture
def tiny_run(tiny_run_in: Callable[..., list[str]], tmp_path: Path) -> Callable[..., list[str]]:
    """The command line of a run of seconds in the folder of a test: `tiny_run("masked_lm", name, *more)`."""
    return partial(tiny_run_in, tmp_path / "runs")
