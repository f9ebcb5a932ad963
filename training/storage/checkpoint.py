"""Checkpoints: a folder of safetensors and JSON, written beside its place, synced, renamed, and hashed.

    step-00000250/
        weights.safetensors     the model
        state.safetensors       tensors of the optimizer
        state.json              everything else; tensors by name
        sha256.json             hashes of the three, written last

Nothing in it needs unpickling. A checkpoint exists under its name only once it is whole, wherever the process is
killed; Lightning's own writer goes through $TMPDIR, often another disk, and is then no more than a copy
(pytorch-lightning #21253).
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.errors import UserError, message_of
from common.files import drop_folder, read_json, sha256_of_file, write_folder_whole
from training.storage.old_names import renamed_parameter

OTHER_CHECKPOINT = "remove this checkpoint, and the one before it is used"
_NEEDED = {"global_step": int, "loops": dict, "callbacks": dict, "optimizer_states": list}  # to go on from it
_NAME = re.compile(r"step-(\d{8,})")


def checkpoint_name(step: int) -> str:
    """Name of the checkpoint after that many optimizer steps."""
    return f"step-{step:08d}"


def checkpoint_step(path: Path) -> int | None:
    """The number of optimizer steps in a checkpoint's name; None where it is no such name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first; unfinished ones are not among them."""
    found = {step: path for path in folder.glob("step-*") if (step := checkpoint_step(path)) is not None}
    return [found[step] for step in sorted(found, reverse=True)]


def flatten(tree: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """`tree` as JSON can hold it, its tensors moved into `tensors` under their paths.

    Raises:
        TypeError: where the tree holds what neither JSON nor safetensors can.
    """
    if isinstance(tree, Tensor):
        tensors[path] = tree.detach().cpu().contiguous()
        return {"__tensor__": path}
    if isinstance(tree, dict):
        if all(isinstance(key, str) and not key.startswith("__") for key in tree):
            return {key: flatten(value, tensors, f"{path}/{key}") for key, value in tree.items()}
        return {"__items__": [[key, flatten(value, tensors, f"{path}/{key}")] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        items = [flatten(value, tensors, f"{path}/{index}") for index, value in enumerate(tree)]
        return items if isinstance(tree, list) else {"__tuple__": items}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a checkpoint cannot hold {type(tree).__name__} at '{path}'")


def unflatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """What `flatten` was given."""
    if isinstance(tree, list):
        return [unflatten(value, tensors) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if "__tensor__" in tree:
        return tensors[tree["__tensor__"]]
    if "__items__" in tree:
        return {key: unflatten(value, tensors) for key, value in tree["__items__"]}
    if "__tuple__" in tree:
        return tuple(unflatten(value, tensors) for value in tree["__tuple__"])
    return {key: unflatten(value, tensors) for key, value in tree.items()}


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "sha256.json")
    return {path.name: sha256_of_file(path) for path in files}


def write_checkpoint(checkpoint: dict[str, Any], folder: Path) -> None:
    """Writes a checkpoint whole."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint["state_dict"].items()}
    tensors: dict[str, Tensor] = {}
    state = flatten({key: value for key, value in checkpoint.items() if key != "state_dict"}, tensors)

    def fill(writing: Path) -> None:
        save_file(weights, writing / "weights.safetensors")
        save_file(tensors, writing / "state.safetensors")
        (writing / "state.json").write_text(json.dumps(state), encoding="utf-8")
        (writing / "sha256.json").write_text(json.dumps(_hashes(writing), indent=2), encoding="utf-8")

    write_folder_whole(folder, fill)


def damage(folder: Path) -> str | None:
    """Name of the first file of a checkpoint that is missing or changed; None where all are sound."""
    try:
        expected: dict[str, str] = read_json(folder / "sha256.json", remedy="")
    except (OSError, UserError):
        return "sha256.json"
    found = _hashes(folder)
    names = sorted({"weights.safetensors", "state.safetensors", "state.json", *expected})
    return next((name for name in names if found.get(name) != expected.get(name)), None)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is no safetensors file ({error}); {OTHER_CHECKPOINT}") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """A checkpoint's weights by today's names of the parameters.

    Raises:
        UserError: where a file is missing or its hash differs.
    """
    if name := damage(folder):
        raise UserError(f"checkpoint {folder}: {name} is damaged (its SHA-256 differs); {OTHER_CHECKPOINT}")
    return {renamed_parameter(name): tensor for name, tensor in _tensors(folder / "weights.safetensors").items()}


def read_state(folder: Path) -> dict[str, Any]:
    """What a checkpoint holds in JSON, with its tensors by name."""
    return read_json(folder / "state.json", remedy=OTHER_CHECKPOINT)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Reads what `write_checkpoint` wrote.

    Raises:
        UserError: where a file is missing, its hash differs, or it is none that `write_checkpoint` wrote.
    """
    weights, tensors = read_weights(folder), _tensors(folder / "state.safetensors")
    try:
        return {**unflatten(read_state(folder), tensors), "state_dict": weights}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{folder / 'state.json'} is no state of a run ({type(error).__name__}: {error}); {OTHER_CHECKPOINT}"
        ) from None


def newest_sound(folder: Path, warn: Callable[[str], None], *, before: int | None = None) -> Path | None:
    """The newest checkpoint that is not damaged, with a warning for each newer one that is; None where there is none.

    Those of the step `before` and later ones are left out.

    Raises:
        UserError: where there are checkpoints and all are damaged.
    """
    found = [path for path in checkpoints_in(folder) if before is None or (checkpoint_step(path) or 0) < before]
    for path in found:
        name = damage(path)
        if name is None:
            return path
        warn(f"checkpoint {path}: {name} is damaged (its SHA-256 differs); going back to the one before")
    if found:
        raise UserError(f"every checkpoint in {folder} is damaged; --resume never starts over")
    return None


def _has_counts(tree: Any) -> bool:
    """Whether what Lightning's loops count is counted: whole numbers of at least 0, and truths, at any depth."""
    if isinstance(tree, dict | list):
        return all(map(_has_counts, tree.values() if isinstance(tree, dict) else tree))
    return isinstance(tree, int) and tree >= 0


def check_to_go_on(checkpoint: dict[str, Any], path: Path) -> None:
    """Whether a run can go on from what a checkpoint holds.

    Raises:
        UserError: naming what is none of a run's.
    """
    for key, kind in _NEEDED.items():
        if not isinstance(checkpoint.get(key), kind) or checkpoint[key] == []:
            raise UserError(f"{path}/state.json has no {key} of a run; {OTHER_CHECKPOINT}")
    if checkpoint["global_step"] != checkpoint_step(path):
        raise UserError(f"{path}/state.json is of step {checkpoint['global_step']}; {OTHER_CHECKPOINT}")
    if not _has_counts(checkpoint["loops"]):
        raise UserError(f"{path}/state.json has loops that are none of a run; {OTHER_CHECKPOINT}")


class SafeCheckpointIO(CheckpointIO):
    """Lightning's way to this module."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        checkpoint = read_checkpoint(Path(path))
        check_to_go_on(checkpoint, Path(path))
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        drop_folder(Path(path))


def load_weights(module: torch.nn.Module, folder: Path, *, prefix: str = "") -> None:
    """Puts a checkpoint's weights into a module, whose names stand behind `prefix` there.

    Raises:
        UserError: where they are damaged, or another module's.
    """
    state = {name.removeprefix(prefix): tensor for name, tensor in read_weights(folder).items()}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:  # torch's, with a line for each name
        raise UserError(f"checkpoint {folder} does not fit the run's config.yaml: {message_of(error):.300}") from None
