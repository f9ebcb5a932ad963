"""The export table of docs/huggingface.md: every config of a run, its class and how far its logits lie, or the refusal.

    python -m tests.objectives.weights.test_export_table

prints the table, measured: random weights of the config's own family in a small shape, float64, padded rows.
"""

import contextlib
import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import transformers
from safetensors.torch import save
from torch import Tensor

from common.errors import UserError
from data.datamodule import DataModule
from models.bodies.make import BodyConfig
from models.body import Inputs
from models.transformer.initialisation import initialise
from objectives.core.base import Objective
from objectives.core.network import MAIN
from objectives.core.pretraining import Pretraining
from objectives.weights.export import exported_body, write_json
from objectives.weights.load import TrainedRun
from tests.helpers import ROOT
from tests.models.huggingface.test_relatives import float64_norms
from training.setup.cli import RunCLI

CONFIGS = sorted(
    path for pattern in ("*.yaml", "papers/*.yaml", "ancestors/*.yaml") for path in (ROOT / "configs").glob(pattern)
)
PATHS = [path for path in CONFIGS if path.name != "base.yaml"]
VOCAB, LENGTH, WINDOW = 300, 12, 128
SMALL = [
    "--body.width=16",
    "--body.layers=2",
    "--data.window=128",
    "--data.vocab_size=300",
    "--trainer.precision=32-true",
]
HEADS = ["--body.num_heads=2", "--body.feed_forward_width=null", "--trainer.accelerator=cpu"]
PAGE = ROOT / "docs/huggingface.md"
BOUND = 1e-10  # what the table may hold: float64, and rows that are padded


def made(path: Path) -> tuple[Objective, Any]:
    """The objective of a config and its network, small, in float64, with weights that all matter."""
    is_recurrent = "recurrent" in path.read_text(encoding="utf-8")
    arguments = ["--config", str(path), *SMALL, *([] if is_recurrent else HEADS)]
    with contextlib.redirect_stderr(io.StringIO()):
        cli = RunCLI(
            *(Objective, DataModule, BodyConfig, Pretraining), defaults=ROOT / "configs/base.yaml", arguments=arguments
        )
    module = cast(Pretraining, cli.model)
    network = module.build(vocab_size=VOCAB, window=WINDOW)
    initialise(network, 0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return module.objective, network.double().eval()


def rows() -> tuple[Inputs, Inputs, dict[str, Tensor], Tensor]:
    """Rows of unequal lengths as an encoder and as a decoder reads them, as transformers does, and which are real."""
    ids_BT = torch.randint(200, VOCAB, (3, LENGTH), generator=torch.Generator().manual_seed(2))
    lengths_B = torch.tensor([LENGTH, 7, 4])
    real_BT = torch.arange(LENGTH) < lengths_B[:, None]
    encoder = Inputs(encoder_ids_BS=ids_BT, encoder_lengths_B=lengths_B)
    decoder = Inputs(decoder_ids_BT=ids_BT, decoder_lengths_B=lengths_B)
    return encoder, decoder, {"input_ids": ids_BT, "attention_mask": real_BT.long()}, real_BT


def longest(objective: Objective) -> int:
    """Positions of either stack."""
    return max(objective.max_lengths(WINDOW)[:2])


def difference(objective: Objective, network: Any) -> tuple[str, float]:
    """The class of the main body, and the largest difference of its logits in real positions.

    Raises:
        UserError: where there is no such class.
    """
    config = network.body.config
    run = cast(
        TrainedRun,
        SimpleNamespace(network=network, vocabulary=SimpleNamespace(size=VOCAB), max_positions=longest(objective)),
    )
    exported = exported_body(run, MAIN, objective.exported(config)[MAIN])
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    with TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", {**exported.config, **ids})
        tensors = {name: tensor.contiguous() for name, tensor in exported.weights.items()}
        (Path(folder) / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
        theirs = getattr(transformers, exported.name).from_pretrained(folder, dtype=torch.float64)
    for name, buffer in theirs.named_buffers():
        if name.endswith("inv_freq"):
            buffer.data = buffer.float()
    encoder, decoder, read, real_BT = rows()
    if objective.uses_encoder and objective.uses_decoder:
        ours = Inputs(
            encoder_ids_BS=encoder.encoder_ids_BS, encoder_lengths_B=encoder.encoder_lengths_B,
            decoder_ids_BT=decoder.decoder_ids_BT, decoder_lengths_B=decoder.decoder_lengths_B,
        )  # fmt: skip
        read = {**read, "decoder_input_ids": read["input_ids"]}
    else:
        ours = encoder if objective.uses_encoder else decoder
    if config.preset in ("bert", "albert"):
        ours = ours._replace(segments_BS=torch.zeros_like(read["input_ids"]))
    with float64_norms(), torch.no_grad():
        states = network.body(ours)
        mine = network.detector(states)[..., 0] if "Electra" in exported.name else network.body.logits(states)
        found = theirs.eval()(**read)
        other = found.prediction_logits if "prediction_logits" in found else found.logits
    assert mine[real_BT].std() > 0.1
    return exported.name, float((mine[real_BT] - other[real_BT]).abs().max())


def row(path: Path) -> tuple[str, float | None]:
    """What the table says of a config: the class and the difference, or the refusal."""
    try:
        return difference(*made(path))
    except UserError as error:
        return f"refused: {error}", None


def written() -> dict[str, tuple[str, str]]:
    """The table of the page."""
    found = re.findall(r"^\| `(configs/[\w/.]+)` \| (.+) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {path: (outcome.strip("`"), value) for path, outcome, value in found}


def test_the_table_names_every_config_of_a_run() -> None:
    assert [*written()] == [str(path.relative_to(ROOT)) for path in PATHS]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_config_is_the_class_that_the_table_names_or_is_refused_as_it_says(path: Path) -> None:
    outcome, value = row(path)
    named, message = written()[str(path.relative_to(ROOT))]
    assert named == outcome
    assert (value is None) == (message == "")
    if value is not None:
        assert value <= BOUND
        assert float(message) <= BOUND


if __name__ == "__main__":
    for one in PATHS:
        text, largest = row(one)
        shown = text if largest is None else f"`{text}`"
        print(f"| `{one.relative_to(ROOT)}` | {shown} | {'' if largest is None else f'{largest:.0e}'} |")
