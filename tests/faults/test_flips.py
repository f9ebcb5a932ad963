"""A flipped bit in any file of a run's folder or of a token store is found, or changes nothing that is read."""

import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from data.store.store import damaged_files
from objectives.weights.load import load_run
from tests.faults.campaign import number
from tests.helpers import TINY, train_in_process
from training.storage.run_dir import RunFolder

pytestmark = pytest.mark.faults

FLIPS = number("FLIPS", 100)


def of_run(run: Path) -> object:
    """All that is read of a run."""
    folder, loaded = RunFolder(run), load_run(run)
    weights = hashlib.sha256()
    for name, tensor in loaded.network.state_dict().items():
        weights.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return (
        *(weights.hexdigest(), loaded.config, loaded.checkpoint.name, loaded.tokenizer.to_str()),
        *(folder.read_summary(), folder.read_metrics(), folder.read_info()),
    )


def of_store(store: Path) -> object:
    if names := damaged_files(store):
        raise UserError(", ".join(names))
    return None


def flipped(folder: Path, read: Callable[[Path], object], work: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The flips that were not found and changed what is read, of FLIPS over all files alike."""
    rng, missed = random.Random(folder.name), []
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    expected = read(folder)
    shutil.copytree(folder, work)
    for _ in range(FLIPS):
        source = rng.choice(files)
        path, content = work / source.relative_to(folder), bytearray(source.read_bytes())
        place, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
        content[place] ^= bit
        path.write_bytes(content)
        capsys.readouterr()
        try:
            is_same = read(work) == expected
        except UserError:
            is_same = True
        if not is_same and "damaged" not in capsys.readouterr().err:
            missed.append(f"{source.relative_to(folder)} byte {place} ^ {bit}")
        path.write_bytes(source.read_bytes())
    return missed


def test_a_flipped_bit_is_found_or_harmless(
    tmp_path: Path, corpus_file: Path, cache: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        *("--config", "configs/causal_lm.yaml", *TINY, "--data.corpus", str(corpus_file), "--data.cache", str(cache)),
        *("--runs", str(tmp_path), "--name", "run", "--budget.steps", "4"),
    ]
    assert train_in_process(command) == 0
    assert flipped(tmp_path / "run", of_run, tmp_path / "flipped/run", capsys) == []
    assert flipped(store, of_store, tmp_path / "flipped" / store.name, capsys) == []
