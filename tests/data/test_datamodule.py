"""The data module: what it refuses, how it shares out a batch, and what its loaders read."""

import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from data.datamodule import DataModule
from data.store.store import read_manifest
from data.stream.batch import IGNORE, Batch, Corruption, Example, MaxLengths
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from tests.helpers import run_script


class ReadBatches:
    """An objective that reads every token and says every third."""

    keep_documents_apart = False

    def __init__(self) -> None:
        self.checked: list[Windows] = []

    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        def corrupt(window: Window, rng: np.random.Generator, windows: Windows) -> Example:
            tokens = window.tokens.astype(np.int64)
            return Example(
                encoder_ids=tokens,
                token_term="tokens",
                labels={"tokens": np.where(rng.random(len(tokens)) < 1 / 3, tokens, IGNORE)},
            )

        return corrupt

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=window, decoder=0, targets=window)

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Any will do."""

    def check_data(self, windows: Windows) -> None:
        self.checked.append(windows)


def trainer(*, step: int = 0, rank: int = 0, world: int = 1) -> Any:
    """What the data module asks of a Trainer."""
    strategy = SimpleNamespace(
        distributed_sampler_kwargs={"num_replicas": world, "rank": rank}, root_device=torch.device("cpu")
    )
    return SimpleNamespace(
        lightning_module=SimpleNamespace(objective=ReadBatches()), strategy=strategy, global_step=step
    )


@pytest.fixture
def settings(corpus_file: Path, cache: Path, store: Path) -> dict[str, Any]:
    """Settings that find the store of the made-up corpus."""
    return {"corpus": str(corpus_file), "cache": cache, "vocab_size": 480, "window": 32, "batch_size": 12, "workers": 0}


def opened(settings: dict[str, Any], *, step: int = 0, rank: int = 0, world: int = 1, **more: Any) -> DataModule:
    data = DataModule(**{**settings, **more})
    data.trainer = trainer(step=step, rank=rank, world=world)
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "data.window = 0 must be at least 1"),
        ({"batch_size": -3}, "data.batch_size = -3 must be at least 1"),
        ({"validation_windows": 0}, "data.validation_windows = 0 must be at least 1"),
        ({"micro_batch_size": 0}, "data.micro_batch_size = 0 must be at least 1"),
        ({"micro_batch_size": -1}, "data.micro_batch_size = -1 must be at least 1"),
        ({"workers": -1}, "data.workers = -1 must be at least 0"),
        ({"validation_fraction": 0.0}, "data.validation_fraction = 0.0 must lie between 0 and 1"),
        ({"validation_fraction": 1.0}, "data.validation_fraction = 1.0 must lie between 0 and 1"),
        ({"validation_fraction": float("nan")}, "data.validation_fraction = nan must lie between 0 and 1"),
    ],
)
def test_impossible_values_are_refused_with_key_value_and_constraint(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}( and at most|, both excluded|$)"):
        DataModule(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corpus": "nowhere.txt"}, r"data\.corpus: no file at 'nowhere\.txt'"),
        ({"corpus": []}, r"data\.corpus names nothing"),
        ({"corpus": ""}, r"data\.corpus names nothing"),
        ({"validation": "nowhere.txt"}, r"data\.validation: no file at 'nowhere\.txt'"),
        ({"tokenizer": "bpe"}, r"data\.tokenizer: no file 'bpe' \(it takes byte_bpe, wordpiece, unigram"),
        ({"corpus": "embedded", "validation": ["a.txt", ""]}, r"data\.validation names nothing"),
    ],
)
def test_what_is_not_there_is_named_before_anything_is_built(
    settings: dict[str, Any], message: str, corpus_file: Path, tmp_path: Path
) -> None:
    data = DataModule(**{"corpus": str(corpus_file), "cache": tmp_path / "cache", **settings})
    with pytest.raises(ValueError, match=message):
        data.prepare_data()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("batch", "micro", "world"), [(32, 5, 1), (32, None, 3), (32, 16, 4), (2, None, 4)])
def test_a_batch_that_does_not_split_is_refused(batch: int, micro: int | None, world: int) -> None:
    data = DataModule(batch_size=batch, micro_batch_size=micro)
    with pytest.raises(ValueError, match=rf"data\.batch_size = {batch} windows .* {world} device\(s\).*multiple of"):
        data.micro_batches(world)


@pytest.mark.parametrize(
    ("batch", "micro", "world", "expected"), [(32, 8, 1, 4), (32, 8, 2, 2), (32, None, 4, 1), (32, 1, 32, 1)]
)
def test_each_device_computes_its_share(batch: int, micro: int | None, world: int, expected: int) -> None:
    assert DataModule(batch_size=batch, micro_batch_size=micro).micro_batches(world) == expected


def test_the_objective_checks_the_text_once(settings: dict[str, Any]) -> None:
    data = opened(settings)
    data.setup("validate")
    assert data.objective.checked == [data.training_windows]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_module_describes_its_store(settings: dict[str, Any], store: Path) -> None:
    data = opened(settings)
    assert data.folder == store
    assert data.describe() == {"store": store.name, **read_manifest(store)}
    assert data.vocabulary.size == 480
    assert len(data.training_windows) == -(-read_manifest(store)["train"]["tokens"] // 32)


def test_training_goes_on_at_the_step_the_trainer_has_reached(settings: dict[str, Any]) -> None:
    whole, resumed = (opened(settings, step=step).train_dataloader() for step in (0, 5))
    expected = [batch.indices for batch in itertools.islice(whole, 8)]
    assert [batch.indices for batch in itertools.islice(resumed, 3)] == expected[5:]


def test_the_seed_of_the_run_decides_which_windows_come_and_what_is_hidden_in_them(settings: dict[str, Any]) -> None:
    def read(seed: int) -> list[Batch]:
        return list(itertools.islice(opened({**settings, "seed": seed}).train_dataloader(), 8))

    one, again, other = read(3), read(3), read(4)
    assert [batch.indices for batch in one] == [batch.indices for batch in again]
    assert [batch.indices for batch in one] != [batch.indices for batch in other]


def test_devices_read_the_windows_of_one_device(settings: dict[str, Any]) -> None:
    def read(**place: int) -> list[Batch]:
        return list(itertools.islice(opened(settings, micro_batch_size=3, **place).train_dataloader(), 8))

    alone = [batch.indices for batch in read()]
    first, second = (read(rank=rank, world=2) for rank in (0, 1))
    in_turn = [batch.indices for pair in zip(first, second, strict=True) for batch in pair]
    assert in_turn[:8] == alone


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("number", [1, 7, 10**4])
def test_every_held_out_window_is_validated_once_in_as_many_batches_everywhere(
    number: int, world: int, settings: dict[str, Any]
) -> None:
    modules = [opened(settings, validation_windows=number, rank=rank, world=world) for rank in range(world)]
    loaders = [data.val_dataloader() for data in modules]
    batches = [list(loader) for loader in loaders]
    assert {len(own) for own in batches} == {len(loaders[0])}
    assert [batch.indices for batch in loaders[0]] == [batch.indices for batch in batches[0]]
    alone = opened(settings, validation_windows=number).val_dataloader()
    labels = sum(batch.divisors()["tokens"] for batch in alone)
    assert sum(batch.divisors()["tokens"] for own in batches for batch in own) == labels
    chosen = min(number, len(modules[0].held_out_windows))
    assert len({index for own in batches for batch in own for index in batch.indices}) == chosen


def test_prepare_builds_the_store_that_a_run_finds_and_says_what_is_in_it(corpus_file: Path, tmp_path: Path) -> None:
    where = ["--data.corpus", str(corpus_file), "--data.cache", str(tmp_path / "cache"), "--data.vocab_size", "420"]
    finished = run_script("prepare.py", *where, "--data.window", "32", COLUMNS="80", OMP_NUM_THREADS="1")
    assert finished.returncode == 0, finished.stderr
    data = DataModule(corpus=str(corpus_file), cache=tmp_path / "cache", vocab_size=420, window=32)
    data.open()
    assert data.folder is not None
    manifest = read_manifest(data.folder)
    printed = {line.split()[0]: line for line in finished.stdout.splitlines()}
    assert printed["token"].endswith(str(data.folder))
    assert "420 ids" in printed["vocabulary"]
    for split, windows in {"train": data.training_windows, "validation": data.held_out_windows}.items():
        assert f"{manifest[split]['documents']:,} documents" in printed[split]
        assert f"{manifest[split]['tokens']:,} tokens, {len(windows):,} windows of 32" in printed[split]


def test_prepare_refuses_a_mistake_in_one_line(tmp_path: Path) -> None:
    finished = run_script("prepare.py", "--data.corpus", "nowhere.txt", "--data.cache", str(tmp_path / "cache"))
    assert finished.returncode != 0
    assert "data.corpus: no file at 'nowhere.txt'" in " ".join(finished.stderr.split())
    assert "Traceback" not in finished.stderr
