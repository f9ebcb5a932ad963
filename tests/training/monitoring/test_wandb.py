"""What reaches Weights & Biases, read back from the file of an offline run."""

import json
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.helpers import ROOT, run_script, train_in_process
from training.monitoring.wandb_run import artifact_name, as_numbers
from training.storage.run_dir import RunFolder

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


def run_info(run: Path) -> dict[str, Any]:
    return RunFolder(run).read_info()


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
        "--logging.attention",
        "true",
        "--logging.examples",
        "1",
    )
    command = tiny_run("masked_lm", "logged", *more, "--seed", "3")
    done = run_script("train.py", *command, WANDB_API_KEY=secret, HF_TOKEN=secret, MY_PASSWORD=secret)
    assert done.returncode == 0, done.stderr
    return tmp_path / "runs/logged"


def test_a_run_is_logged_whole_and_no_secret_is(run: Path, secret: str) -> None:
    found = records(run)
    (started,) = {(r.project, r.run_group, tuple(r.tags), r.job_type, r.display_name) for r in found["run"]}
    assert started == ("objective-lab", "a-study", ("masked_lm", "lab", "mine"), "pretrain", "logged")
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
        "attention/picture",
    } <= logged
    axes = {record.name: record.step_metric for record in found["metric"]}
    numbers = {name for name in logged if name.startswith(("train/", "validation/", "speed/", "reference/"))}
    assert {axes[name] for name in numbers} == {"raw_tokens"}

    settings |= {item.key: item.value_json for record in found["config"] for item in record.update}
    assert settings["parameters"] == json.dumps(run_info(run)["parameters"])
    assert int(settings["vocab_size"]) == 480
    assert len(json.loads(settings["tokenizer_sha256"])) == 64
    assert json.loads(settings["budget"])["steps"] == 4
    summary = {(item.key or item.nested_key[0]): item.value_json for r in found["summary"] for item in r.update}
    assert float(summary["best/validation/loss"]) == pytest.approx(float(summary["validation/loss"]))
    assert float(summary["speed/raw_tokens_per_second"]) > 0

    weights = [record for record in found["artifact"] if record.type == "model"]
    assert sorted(weights[-1].aliases) == ["best", "latest"]
    assert json.loads(weights[-1].metadata)["step"] == 4
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


def test_a_run_of_a_user_without_a_home_is_logged(
    tiny_run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that is started under a number that it does not know."""
    import wandb

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setenv("HOME", "")  # is restored
    monkeypatch.delenv("HOME")
    more = ("--budget.steps", "1", "--logging.wandb", "offline")
    assert train_in_process(tiny_run("causal_lm", "homeless", *more)) == 0
    wandb.teardown()  # its service has written all when it has ended
    assert records(tmp_path / "runs/homeless")["history"]


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "nonsense"), ("WANDB_PROJECT", "a/b:c")])
def test_what_wandb_refuses_of_the_environment_is_the_users(tiny_run: Command, name: str, value: str) -> None:
    """In a process of its own, since W&B reads the environment once."""
    mode = "auto" if name == "WANDB_MODE" else "offline"
    more = ("--budget.steps", "1", "--logging.wandb", mode)
    done = run_script("train.py", *tiny_run("causal_lm", "refused", *more), **cast(dict[str, Any], {name: value}))
    assert done.returncode == 2, done.stderr
    assert "error: W&B refuses what it was given (" in (line := done.stderr.splitlines()[-1])
    assert value in line


@pytest.mark.parametrize("name", ["run 1", "모델", "café", "a:b", "x" * 140, "plain-name_1.0"])
def test_every_name_of_a_folder_is_made_a_legal_and_own_name_of_an_artifact(name: str) -> None:
    from wandb.sdk.artifacts._validators import validate_artifact_name

    made = artifact_name(name, "weights")
    assert validate_artifact_name(made) == made
    assert made.isascii()
    assert len(made) <= 128
    others = {artifact_name(other, "weights") for other in ("run-1", "run  1", "모델2", "cafe", "a-b", "x" * 141)}
    assert made not in others
    assert (made == f"{name}-weights") == (name == "plain-name_1.0")


def test_budgets_are_numbers() -> None:
    assert as_numbers({"seed": 1, "budget": {"raw_tokens": "200k", "steps": None}}) == {
        "seed": 1,
        "budget": {"raw_tokens": 200_000.0, "steps": None},
    }


def test_a_korean_name_is_logged_and_its_weights_are_kept(tiny_run: Command, tmp_path: Path) -> None:
    done = run_script("train.py", *tiny_run("causal_lm", "모델", "--budget.steps", "2", "--logging.wandb", "offline"))
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "runs/모델")
    assert {record.display_name for record in found["run"]} == {"모델"}
    assert [record.name for record in found["artifact"] if record.type == "model"] == [artifact_name("모델", "weights")]


def test_with_a_key_and_no_network_a_run_goes_on_offline_and_names_the_command_that_syncs(
    tiny_run: Command, tmp_path: Path, secret: str
) -> None:
    nobody = {"WANDB_API_KEY": secret[:40], "WANDB_BASE_URL": "http://127.0.0.1:9"}
    command = tiny_run("causal_lm", "alone", "--budget.steps", "2", "--logging.wandb", "online")
    done = run_script("train.py", *command, timeout=300, **nobody)
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:9 does not answer (ConnectionError): this run is logged offline" in done.stderr
    assert f"`wandb sync {tmp_path}/runs/alone/wandb/offline-run-*` sends it later" in done.stderr
    assert records(tmp_path / "runs/alone")["history"]


def trial_of(sweep: dict[str, Any], learning_rate: float, *more: str) -> list[str]:
    """The command line of a trial, as `wandb agent` makes it, without interpreter and environment."""
    chosen = {"optimizer.learning_rate": learning_rate, "seed": 0}
    filled = {"${args}": [f"--{name}={value}" for name, value in chosen.items()], "${env}": [], "python": []}
    words = [word for part in sweep["command"] for word in filled.get(part, [part])]
    assert words[0] == "${program}"
    return [*words[1:], *more]


def test_two_trials_of_the_shipped_sweep_are_runs_of_their_own_named_by_their_ids(
    tiny_run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = yaml.safe_load((ROOT / "configs/sweeps/learning_rate.yaml").read_text(encoding="utf-8"))
    assert sweep["program"] == "train.py"
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    small = tiny_run("causal_lm", "x", "--budget.steps", "2")[4:]  # without config and name
    for trial, rate in (("aaaa1111", 1e-3), ("bbbb2222", 2e-3)):
        monkeypatch.setenv("WANDB_RUN_ID", trial)
        command = trial_of(sweep, rate, *small, "--logging.wandb", "offline")
        done = run_script("train.py", *command)
        assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["causal_lm-s0-aaaa1111", "causal_lm-s0-bbbb2222"]
    for name in names:
        found = records(tmp_path / "runs" / name)
        assert (
            {record.run_id for record in found["run"]}
            == {name[-8:]}
            == {run_info(tmp_path / "runs" / name)["wandb_id"]}
        )
    assert RunFolder(tmp_path / "runs" / names[1]).read_config()["optimizer"]["learning_rate"] == 2e-3


def test_callbacks_that_monitor_a_metric_and_further_loggers_are_taken_by_their_class_paths(
    tiny_run: Command, tmp_path: Path
) -> None:
    settings = {
        "trainer": {
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.EarlyStopping",
                    "init_args": {"monitor": "validation/loss", "patience": 1, "min_delta": 100.0},
                }
            ],
            "loggers": [
                {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path / "csv")}}
            ],
            "profiler": "simple",
        }
    }
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    more = ("--config", str(tmp_path / "more.yaml"), "--budget.steps", "40", "--validation.every_steps", "2")
    assert train_in_process(tiny_run("causal_lm", "stopped", *more)) == 0
    summary = RunFolder(tmp_path / "runs/stopped").read_summary()
    assert summary is not None
    assert summary["steps"] == 4  # the first validation, and one that was no better
    assert list((tmp_path / "csv").rglob("metrics.csv"))
    assert list((tmp_path / "runs/stopped").glob("*simple*"))
