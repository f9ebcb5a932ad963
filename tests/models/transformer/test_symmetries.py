"""What a Transformer cannot tell apart: names of tokens, orders without positions, rows, and padding."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.body import Inputs
from models.presets import PRESETS, PresetName, TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.transformer import Transformer
from tests.helpers import predicted
from tests.models.presets import FOUR_BY_DEFAULT

V, S, T = 40, 7, 6
STACKS = {"encoder": (2, 0), "decoder": (0, 2), "both": (1, 2)}
every_preset = pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
every_stack = pytest.mark.parametrize("stacks", STACKS)


def make(preset: PresetName, stacks: str, *, dtype: torch.dtype = torch.float64, **settings: Any) -> Transformer:
    """A small Transformer whose every parameter matters."""
    config = TransformerConfig(preset=preset, width=16, num_heads=2, feed_forward_width=24, **settings)
    model = Transformer(config, num_blocks=STACKS[stacks], vocab_size=V, max_positions=16)
    initialise(model, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.to(dtype).eval()


def ids(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(V, (rows, length), generator=torch.Generator().manual_seed(seed))


def inputs_of(stacks: str, rows: int = 3) -> Inputs:
    return Inputs(
        encoder_ids_BS=ids(rows, S) if stacks != "decoder" else None,
        decoder_ids_BT=ids(rows, T, seed=1) if stacks != "encoder" else None,
    )


def length_of(inputs: Inputs) -> int:
    read = inputs.decoder_ids_BT if inputs.decoder_ids_BT is not None else inputs.encoder_ids_BS
    assert read is not None
    return read.numel()


def loss_of(model: Transformer, inputs: Inputs, labels_N: Tensor) -> Tensor:
    """The mean over every position."""
    logits_NV, _ = predicted(model, inputs, torch.arange(length_of(inputs)))
    return F.cross_entropy(logits_NV, labels_N)


@every_preset
@every_stack
def test_other_names_for_the_tokens_change_no_loss(preset: PresetName, stacks: str) -> None:
    """Ids, the rows of every table over the vocabulary and the head change together; gradients change with them."""
    model, inputs = make(preset, stacks), inputs_of(stacks)
    labels_N = ids(1, length_of(inputs), seed=3)[0]
    loss = loss_of(model, inputs, labels_N)
    loss.backward()
    names_V = torch.randperm(V, generator=torch.Generator().manual_seed(4))  # of each token its other name
    renamed = make(preset, stacks)
    with torch.no_grad():
        for parameter, before in zip(renamed.parameters(), model.parameters(), strict=True):
            parameter[names_V if parameter.shape[0] == V else ...] = before
    others = inputs._replace(**{name: names_V[read] for name, read in inputs._asdict().items() if read is not None})
    other_loss = loss_of(renamed, others, names_V[labels_N])
    other_loss.backward()
    torch.testing.assert_close(other_loss, loss, rtol=1e-12, atol=0)
    assert not torch.equal(loss_of(model, others, names_V[labels_N]), loss)
    for parameter, before in zip(renamed.parameters(), model.parameters(), strict=True):
        if before.grad is not None:
            assert parameter.grad is not None
            found = parameter.grad[names_V if parameter.shape[0] == V else ...]
            torch.testing.assert_close(found, before.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("preset", ["lab", "bert", "bart", "t5", "t5_v1_1"])
def test_without_positions_another_order_of_what_is_read_is_another_order_of_the_states(preset: PresetName) -> None:
    """A bidirectional stack whose table of positions is nought is equivariant; with the table it is not."""
    kind = "relative" if PRESETS[preset].positions == "relative" else "learned"
    model, inputs = make(preset, "encoder", positions=kind), inputs_of("encoder")
    order_S = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert inputs.encoder_ids_BS is not None
    shuffled = inputs._replace(encoder_ids_BS=inputs.encoder_ids_BS[:, order_S])
    assert model.encoder is not None
    table = model.encoder.relative_table if kind == "relative" else model.encoder.embeddings.position_table
    with torch.no_grad():
        assert (model.encode(shuffled) - model.encode(inputs)[:, order_S]).abs().max() > 1e-3
        table.weight.zero_()
        torch.testing.assert_close(model.encode(shuffled), model.encode(inputs)[:, order_S], rtol=1e-12, atol=1e-12)


@every_preset
@every_stack
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_neither_padding_nor_other_rows_change_a_row(
    preset: PresetName, stacks: str, dtype: torch.dtype, tolerance: float
) -> None:
    """Rows of all lengths side by side, in any order, against each alone and without padding; states, to scale."""
    model, lengths = make(preset, stacks, dtype=dtype), [S, 3, 5]
    rows = [
        Inputs(
            encoder_ids_BS=ids(1, length, seed=length) if stacks != "decoder" else None,
            decoder_ids_BT=ids(1, length, seed=10 + length) if stacks != "encoder" else None,
        )
        for length in lengths
    ]
    with torch.no_grad():
        alone = [model(row)[0] for row in rows]
        for order in ([0, 1, 2], [2, 0, 1]):
            tables: Any = {
                name: torch.cat([F.pad(getattr(rows[row], name), (0, S - lengths[row]), value=9) for row in order])
                for name in ("encoder_ids_BS", "decoder_ids_BT")
                if getattr(rows[0], name) is not None
            }
            states = model(Inputs(**tables, encoder_lengths_B=torch.tensor([lengths[row] for row in order])))
            for place, row in enumerate(order):
                scale = float(alone[row].abs().max())
                error = (states[place, : lengths[row]] - alone[row]).abs().max()
                assert error < tolerance * max(scale, 1)
