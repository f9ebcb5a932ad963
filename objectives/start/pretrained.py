"""Weights to begin with: of a run of this project, of a folder that transformers saved, or of the Hugging Face hub.

Only safetensors and JSON are read; nothing is unpickled.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from common.errors import UserError
from common.files import read_json
from data.text.hub import hub_not_reached, hub_reason
from models.bodies.make import BodyConfig, config_from
from models.huggingface.settings import from_huggingface_config, read_family
from models.huggingface.weights import from_huggingface
from models.presets import TransformerConfig
from training.storage.checkpoint import checkpoint_step, read_weights
from training.storage.run_dir import RunFolder

SAVE_AGAIN = "save it again with transformers' save_pretrained"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_BLOCK = re.compile(r"body\.(encoder|decoder)\.blocks\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A trained Transformer under our names, wherever it came from.

    Attributes:
        origin: how a message names it.
        body: its shape.
        num_blocks: of its encoder and decoder.
        state: its tensors, heads beside the Transformer included.
        sha256: of its weights.
        setting: that names it.
    """

    origin: str
    body: BodyConfig
    num_blocks: tuple[int, int]
    state: dict[str, Tensor]
    sha256: str
    setting: str = "model.init_args.init_from"


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"'{path}' is no safetensors file ({error})") from error


def num_blocks_of(state: dict[str, Tensor]) -> tuple[int, int]:
    """Blocks of encoder and decoder that a state of ours holds."""
    counts = {"encoder": 0, "decoder": 0}
    for name in state:
        if match := _BLOCK.match(name):
            counts[match[1]] = max(counts[match[1]], int(match[2]) + 1)
    return counts["encoder"], counts["decoder"]


def _num_blocks(config: BodyConfig, state: dict[str, Tensor]) -> tuple[int, int]:
    """Blocks of encoder and decoder of a run, whose layers may share them."""
    stacks = [any(name.startswith(f"body.{stack}.") for name in state) for stack in ("encoder", "decoder")]
    if isinstance(config, TransformerConfig) and config.share_layers is None:
        return num_blocks_of(state)
    return config.num_blocks(encoder=stacks[0], decoder=stacks[1])


def of_run(folder: Path, step: int | None = None) -> Pretrained:
    """A run's newest checkpoint, or the one after `step` optimizer steps.

    Raises:
        UserError: where the folder is not a run, or has no such checkpoint.
    """
    checkpoint = RunFolder(folder).checkpoint(step)
    settings = RunFolder(folder).read_config()["body"]
    state = {name.removeprefix("network."): tensor for name, tensor in read_weights(checkpoint).items()}
    return Pretrained(
        origin=f"{folder}, step {checkpoint_step(checkpoint):,}",
        body=config_from(settings),
        num_blocks=_num_blocks(config_from(settings), state),
        state=state,
        sha256=read_json(checkpoint / "sha256.json", remedy="")["weights.safetensors"],
    )


def _files_of_weights(folder: Path) -> list[str]:
    """Names of the files in a folder that transformers saved its weights in.

    Raises:
        UserError: where the index names what is no file of weights within the folder.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return ["model.safetensors"]
    found = read_json(index, remedy=SAVE_AGAIN).get("weight_map")
    names: list[Any] = list(found.values()) if isinstance(found, dict) else [found]
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"'{index}' names {name!r:.60}, which is no safetensors file in its folder; {SAVE_AGAIN}")
    return sorted(set(names))


def of_transformers(folder: Path, origin: str) -> Pretrained:
    """What transformers saved with safetensors, in one file or several.

    Raises:
        UserError: where it is none of the classes that are presets here, or lacks a file.
    """
    described = read_json(folder / "config.json", remedy=SAVE_AGAIN)
    config, vocab_size = from_huggingface_config(described)
    paths = [folder / name for name in _files_of_weights(folder)]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise UserError(
            f"{origin} has no {missing[0]}: only safetensors are read, since other files run code when they are "
            f"opened; transformers' save_pretrained writes them"
        )
    assert isinstance(config.layers, tuple)
    theirs = {name: tensor.float() for path in paths for name, tensor in _tensors(path).items()}
    if max(config.layers) > len(theirs):  # before there is a name for each
        raise UserError(
            f"{origin}: config.json has {max(config.layers):,} layers, and the weights are {len(theirs)} tensors"
        )
    try:
        state = from_huggingface(theirs, config, config.layers, read_family(described)[1])
    except (IndexError, RuntimeError, ValueError) as error:
        raise UserError(f"{origin}: the weights have other shapes than config.json ({error})") from None
    table = state.get("body.token_table.weight")
    if table is None or len(table) != vocab_size:
        raise UserError(f"{origin}: config.json has vocab_size = {vocab_size}, and the weights have "
                         f"{'no token table' if table is None else f'{len(table)} rows'}")  # fmt: skip
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)  # goes on with the one of the file before
    return Pretrained(
        origin=origin,
        body=config,
        num_blocks=config.layers,
        state=state,
        sha256=digest.hexdigest(),
    )


def _from_hub(name: str) -> Path:
    hub_reason()
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except LocalEntryNotFoundError as error:
        remedy = "name a folder that `AutoModel...save_pretrained(FOLDER)` wrote elsewhere"
        raise hub_not_reached(f"'{name}'", error, remedy=remedy) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(f"'{name}' is neither a folder nor on the hub ({str(error).splitlines()[0]})") from error


def located(where: str) -> Path:
    """The folder that a name stands for: itself, or a copy of what the hub has under that name.

    Raises:
        UserError: where there is neither.
        MachineError: where the hub cannot be reached.
    """
    folder = Path(where)
    if folder.is_dir():
        return folder
    if folder.exists() or not _HUB_NAME.fullmatch(where):
        raise UserError(f"'{where}' is neither a folder nor a name on the hub")
    return _from_hub(where)


def tokenizer_of(where: str) -> Path:
    """The tokenizer.json of what `open_pretrained` would read.

    Raises:
        UserError: where there is no such folder, or no tokenizer in it.
    """
    folder = located(where)
    run = RunFolder.of(folder)
    path = run.tokenizer if run.is_run else folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"'{where}' has no tokenizer.json, without which its ids mean nothing: save it there with "
            f"AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    return path


def open_pretrained(where: str) -> Pretrained:
    """Reads a run's folder, one of its checkpoints, a folder that transformers saved, or a name on the hub.

    Raises:
        UserError: where it is none of these, or none of the classes that are presets here.
    """
    folder = located(where)
    run, step = RunFolder.of(folder), checkpoint_step(folder)
    if run.is_run or step is not None:
        return of_run(run.path, step)
    if (folder / "config.json").is_file():
        return of_transformers(folder, where)
    raise UserError(f"'{where}' has neither the config.yaml of a run nor the config.json of transformers' folders")
