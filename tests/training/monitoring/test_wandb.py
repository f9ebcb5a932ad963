"""What reaches Weights & Biases, read back from the file of an offline run."""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import run_script

Command = Callable[..., list[str]]

BLOCK, FILE_HEADER, HEADER = 32_768, 7, 7  # LevelDB's log format, in which W&B writes its records
FULL, FIRST, LAST = 1, 2, 4


def frames(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file, put together from their fragments."""
    data, place, parts = path.read_bytes(), FILE_HEADER, []
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        place += HEADER
        parts = [data[place : place + length]] if kind in (FULL, FIRST) else [*parts, data[place : place + length]]
        place += length
        if kind in (FULL, LAST):
            yield b"".join(parts)


def records(run: Path) -> dict[str, list[Any]]:
    """The records of all sittings of a run by their kinds."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    found: dict[str, list[Any]] = defaultdict(list)
    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for frame in frames(path):
            record = Record.FromString(frame)
            kind = record.WhichOneof("record_type")
            found[kind].append(getattr(record, kind))
    return found


@pytest.fixture(scope="module")
def secret() -> str:
    return "s3cr3t-" + "0" * 33


@pytest.fixture
def run(tiny_run: Command, tmp_path: Path, secret: str) -> Path:
    more = (
        "--budget.steps",
        "4",
        "--logging.wandb",
        "offline",
        "--logging.group",
        "a-study",
        "--logging.tags",
        "[mine]",
    )
    command = tiny_run("masked_lm", "logged", *more, "--seed", "3")
    done = run_script("train.py", *command, WANDB_API_KEY=secret, HF_TOKEN=secret, MY_PASSWORD=secret)
    assert done.returncode == 0, done.stderr
    return tmp_path / "runs/logged"


def test_a_run_is_logged_whole_and_no_secret_is(run: Path, secret: str) -> None:
    found = records(run)
    (begun,) = {(r.project, r.run_group, tuple(r.tags), r.job_type, r.display_name) for r in found["run"]}
    assert begun == ("objective-lab", "a-study", ("masked_lm", "lab", "mine"), "pretrain", "logged")
    settings = {item.key: item.value_json for record in found["run"] for item in record.config.update}
    assert settings["seed"] == "3"
    assert '"width":32' in settings["body"].replace(" ", "")

    logged = {item.key or item.nested_key[0] for record in found["history"] for item in record.item}
    assert {
        *("train/loss", "train/masked", "train/next_sentence", "train/gradient_norm", "train/learning_rate"),
        *("train/random_segment_share", "validation/masked", "validation/masked_accuracy", "validation/next_sentence"),
        *("validation/next_sentence_accuracy", "speed/raw_tokens_per_second", "speed/target_tokens_per_second"),
        *("speed/waiting_for_data", "speed/mfu", "reference/ln_vocabulary", "reference/unigram_entropy"),
        *("raw_tokens", "target_tokens", "flops", "examples/picture", "examples/table"),
    } <= logged
    axes = {record.name: record.step_metric for record in found["metric"]}
    numbers = {name for name in logged if name.startswith(("train/", "validation/", "speed/", "reference/"))}
    assert {axes[name] for name in numbers} == {"raw_tokens"}

    weights = [record for record in found["artifact"] if record.type == "model"]
    assert {entry.path for entry in weights[-1].manifest.contents} == {
        *("weights.safetensors", "tokenizer.json", "config.yaml"),
    }
    for path in run.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_a_private_run_tells_nothing_of_the_machine(tiny_run: Command, tmp_path: Path) -> None:
    more = ("--budget.steps", "2", "--logging.wandb", "offline", "--logging.private", "true")
    done = run_script("train.py", *tiny_run("causal_lm", "private", *more))
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "runs/private")
    assert found["history"]
    assert not found["environment"]
    assert not list((tmp_path / "runs/private/wandb").glob("offline-run-*/files/requirements.txt"))
    assert not list((tmp_path / "runs/private/wandb").glob("offline-run-*/files/wandb-metadata.json"))
