"""Crafted folders whose hashes are right: refused in one line, nothing executed, nothing read outside, no hang."""

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

import train
from common.errors import UserError
from common.files import read_sealed, write_sealed
from objectives.start.pretrained import open_pretrained
from objectives.weights.load import load_run
from tests.helpers import TINY, train_in_process
from training.storage.checkpoint import SafeCheckpointIO, damage


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path, cache: Path) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    command = [
        *("--config", "configs/causal_lm.yaml", *TINY, "--data.corpus", str(corpus_file), "--data.cache", str(cache)),
        *("--runs", str(runs), "--name", "run", "--budget.steps", "2", "--checkpoints.at_steps", "[1]"),
    ]
    assert train_in_process(command) == 0
    return runs / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checkpoint_of(run: Path) -> Path:
    for other in sorted((run / "checkpoints").iterdir())[:-1]:
        shutil.rmtree(other)
    return next((run / "checkpoints").iterdir())


def rehash(run: Path) -> None:
    """Makes every recorded hash that of what is there."""
    checkpoint = checkpoint_of(run)
    files = [path for path in checkpoint.iterdir() if path.is_file() and path.name != "sha256.json"]
    (checkpoint / "sha256.json").write_text(json.dumps({path.name: sha256(path) for path in files}))
    info, _ = read_sealed(run / "run.json", remedy="")
    write_sealed(run / "run.json", {**info, "sha256": {name: sha256(run / name) for name in info["sha256"]}})
    assert damage(checkpoint) is None


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.trace),))


def config_with(**changes: Any) -> Callable[[Path], None]:
    def craft(run: Path) -> None:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        for name, value in changes.items():
            tree, *path = config, *name.split("__")
            for key in path[:-1]:
                tree = tree[key]
            tree[path[-1]] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    return craft


def writes(name: str, content: str | bytes) -> Callable[[Path], None]:
    def craft(run: Path) -> None:
        path = checkpoint_of(run) / name if name.startswith(("state", "weights")) else run / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return craft


def foreign_weights(run: Path) -> None:
    save_file({"network.other": torch.zeros(3)}, checkpoint_of(run) / "weights.safetensors")


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
HUGE_HEADER = (2**62).to_bytes(8, "little") + b"{}"
LYING_HEADER = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()

CRAFTED: dict[str, Callable[[Path], None]] = {
    "a header without end": writes("weights.safetensors", HUGE_HEADER),
    "a header of terabytes": writes("weights.safetensors", len(LYING_HEADER).to_bytes(8, "little") + LYING_HEADER),
    "a header that is no JSON": writes("weights.safetensors", (4).to_bytes(8, "little") + b"abcd"),
    "no weights": writes("weights.safetensors", b""),
    "weights of something else": foreign_weights,
    "a config with a Python tag": writes("config.yaml", "!!python/object/apply:os.mkdir [TRACE]"),
    "a config with a Python name": writes("config.yaml", "seed: !!python/name:os.system"),
    "a config that is a list": writes("config.yaml", "[1, 2]"),
    "a config of aliases": writes("config.yaml", ALIASES),
    "a config that holds itself": writes("config.yaml", "a: &a [*a]\nseed: 0\n"),
    "a config nested too deeply": writes("config.yaml", "[" * 5_000),
    "a config that is no text": writes("config.yaml", b"\xff\xfe\x00"),
    "a config without its model": config_with(model={}),
    "a body that is a number": config_with(body=3),
    "a body with unknown settings": config_with(body__hidden=3),
    "a body that is text": config_with(body__width="wide"),
    "a billion layers": config_with(body__layers=10**9),
    "another width": config_with(body__width=64),
    "a class that is none": config_with(model__class_path="os.system"),
    "a class of another module": config_with(model__class_path="training.session.Data"),
    "a tokenizer that is a list": writes("tokenizer.json", "[]"),
    "a tokenizer without a model": writes("tokenizer.json", "{}"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_run_is_refused_in_one_line(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import generate

    CRAFTED[name](run)
    config = run / "config.yaml"
    config.write_bytes(config.read_bytes().replace(b"TRACE", str(run / "trace").encode()))
    rehash(run)
    with pytest.raises(SystemExit) as left:
        generate.main([str(run), "the cat"])
    error = capsys.readouterr().err
    assert left.value.code == 2, error
    assert error.count("\n") == 1
    assert not (run / "trace").exists()


@pytest.mark.parametrize("file", ["weights.safetensors", "state.safetensors", "state.json"])
def test_a_pickle_is_not_unpickled(run: Path, file: str) -> None:
    checkpoint = checkpoint_of(run)
    (checkpoint / file).write_bytes(pickle.dumps(Bomb(run / "trace")))
    rehash(run)
    with pytest.raises(UserError, match=file.replace(".", r"\.")):
        SafeCheckpointIO().load_checkpoint(checkpoint)
    assert not (run / "trace").exists()


@pytest.mark.parametrize(
    "state",
    [
        "[]",
        "3",
        "",
        "{}",
        '{"global_step": 1, "loops": [], "callbacks": {}, "optimizer_states": []}',
        '{"a": {"__tensor__": "nowhere"}}',
        '{"a": {"__tensor__": []}}',
        '{"a": {"__items__": 3}}',
        '{"a": {"__items__": [[[], 1]]}}',
        '{"a": {"__tuple__": 3}}',
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_a_state_that_is_no_state_of_a_run_is_named(run: Path, state: str) -> None:
    checkpoint = checkpoint_of(run)
    (checkpoint / "state.json").write_text(state)
    rehash(run)
    with pytest.raises(UserError, match=r"state\.json"):
        SafeCheckpointIO().load_checkpoint(checkpoint)


NO_STATES: dict[str, tuple[str, Any]] = {
    "a step before the first": ("global_step", -5),
    "the step of another checkpoint": ("global_step", 7),
    "no loops": ("loops", {}),
    "loops that count nothing": ("loops.fit_loop.epoch_progress.total.ready", "x"),
    "fewer steps than none": ("loops.fit_loop.epoch_loop\\.batch_progress.total.ready", -1),
    "a callback that is a number": ("callbacks.Checkpoints", 3),
    "a best checkpoint that is a number": ("callbacks.Checkpoints.best", 3),
    "no optimizer": ("optimizer_states", []),
    "an optimizer without its state": ("optimizer_states", [{}]),
    "groups of no parameters": ("optimizer_states.0.param_groups", []),
    "a schedule that is a number": ("lr_schedulers", [3]),
    "no progress": ("progress", {}),
    "progress that is a text": ("progress.raw_tokens", "many"),
    "sums of one process and a number": ("progress.sums", 3),
}


@pytest.mark.parametrize("name", NO_STATES)
def test_a_state_with_the_right_keys_and_nonsense_within_is_refused_in_one_line(
    run: Path, name: str, capsys: pytest.CaptureFixture[str], corpus_file: Path, cache: Path
) -> None:
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints/step-00000002")  # killed in its second step
    checkpoint = checkpoint_of(run)
    state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    path, value = NO_STATES[name]
    *parents, last = (part.replace("\\", "") for part in re.split(r"(?<!\\)\.", path))
    inner = state
    for part in parents:
        inner = inner[int(part)] if isinstance(inner, list) else inner[part]
    inner[last] = value
    (checkpoint / "state.json").write_text(json.dumps(state), encoding="utf-8")
    rehash(run)
    command = ["--config", "configs/causal_lm.yaml", *TINY, "--data.corpus", str(corpus_file)]
    place = ["--data.cache", str(cache), "--runs", str(run.parent), "--name", run.name]
    end = ["--budget.steps", "2", "--checkpoints.at_steps", "[1]"]
    with pytest.raises(SystemExit) as left:
        train.main([*command, *place, *end])
    error = capsys.readouterr().err.splitlines()
    assert left.value.code == 2, error
    assert str(checkpoint) in error[-1]
    assert not any("Traceback" in line for line in error)


def test_pipes_and_folders_in_a_checkpoint_are_not_opened(run: Path) -> None:
    checkpoint = checkpoint_of(run)
    os.mkfifo(checkpoint / "beside")
    (checkpoint / "folder").mkdir()
    assert damage(checkpoint) is None
    (checkpoint / "state.json").unlink()
    os.mkfifo(checkpoint / "state.json")
    assert damage(checkpoint) == "state.json"


@pytest.mark.parametrize("hashes", ["[]", '"a"', "{}", '{"weights.safetensors": 3}', '{"../run.json": "a"}', ""])
def test_hashes_that_are_none_are_damage(run: Path, hashes: str) -> None:
    checkpoint = checkpoint_of(run)
    (checkpoint / "sha256.json").write_text(hashes)
    assert damage(checkpoint) is not None


GPT2 = {"model_type": "gpt2", "vocab_size": 8, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ([1], "config.json"),
        ("", "config.json"),
        ({**GPT2, "n_layer": 10**9}, "n_layer|layers"),
        ({**GPT2, "n_layer": "two"}, "n_layer"),
        ({**GPT2, "n_layer": [1]}, "n_layer"),
        ({**GPT2, "n_layer": -1}, "n_layer"),
        ({**GPT2, "n_layer": 1.5}, "n_layer"),
        ({**GPT2, "vocab_size": None}, "vocab_size"),
        ({**GPT2, "n_embd": 10**12}, r"config\.json: body\.width = 1000000000000 must be at least 1 and at most"),
        ({**GPT2, "n_embd": 12}, "config.json|shape|rows"),
        ({**GPT2, "model_type": ["gpt2"]}, "model_type"),
        ({**GPT2, "resid_pdrop": {}}, "pdrop"),
    ],
)
def test_a_crafted_config_of_transformers_is_refused(tmp_path: Path, config: Any, named: str) -> None:
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    save_file({"transformer.wte.weight": torch.zeros(8, 8)}, tmp_path / "model.safetensors")
    if isinstance(config, dict) and config["n_embd"] == 12:
        pretrained = open_pretrained(str(tmp_path))  # whose one table is compared where a run begins with it
        assert pretrained.state["body.token_table.weight"].shape == (8, 8)
        return
    with pytest.raises(UserError, match=named):
        open_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    "name",
    ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", "model.bin", 3, None, ["a"]],
)
def test_an_index_names_files_of_its_folder_alone(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(GPT2))
    save_file({"transformer.wte.weight": torch.zeros(8, 8)}, tmp_path / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json"):
        open_pretrained(str(folder))


def test_the_index_of_a_folder_must_map_names(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(GPT2))
    for index in ("[1]", "{}", '{"weight_map": ["a"]}', "", "[" * 100_000):
        (tmp_path / "model.safetensors.index.json").write_text(index)
        with pytest.raises(UserError, match=r"model\.safetensors\.index\.json"):
            open_pretrained(str(tmp_path))


def test_a_sound_run_passes_every_check(run: Path) -> None:
    checkpoint = checkpoint_of(run)
    assert load_run(run).checkpoint == checkpoint
    assert SafeCheckpointIO().load_checkpoint(checkpoint)["global_step"] == 2
