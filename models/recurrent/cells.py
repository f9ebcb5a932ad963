"""Recurrent layers of either cell, and their states.

Shapes: B batch, T positions, D width, L layers. A state is (h, c) of an LSTM and (h,) of a GRU, each [B, D].
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models.recurrent.config import Cell

State = tuple[Tensor, ...]


def make_layer(cell: Cell, inputs: int, width: int, *, is_bidirectional: bool = False) -> nn.LSTM | nn.GRU:
    """One layer; cuDNN computes all its positions at once on CUDA."""
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    return kind(inputs, width, batch_first=True, bidirectional=is_bidirectional)


def set_forget_bias(layer: nn.LSTM | nn.GRU, value: float) -> None:
    """Sets the bias of an LSTM's forget gate, in one of the two vectors that are added up; a GRU has none.

    torch's gates stand in the order input, forget, cell, output.
    """
    if isinstance(layer, nn.LSTM):
        for name, bias in layer.named_parameters():
            if name.startswith("bias_ih"):
                with torch.no_grad():
                    bias[layer.hidden_size : 2 * layer.hidden_size] = value


def run(layer: nn.LSTM | nn.GRU, inputs_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """The states of all positions from the left, and the state behind the last; `state` is the one before them."""
    packed = None if state is None else tuple(part[None].contiguous() for part in state)
    if isinstance(layer, nn.LSTM):
        assert packed is None or len(packed) == 2
        outputs_BTD, last = layer(inputs_BTD, packed)
        return outputs_BTD, tuple(part[0] for part in last)
    outputs_BTD, hidden = layer(inputs_BTD, None if packed is None else packed[0])
    return outputs_BTD, (hidden[0],)


def read_both_ways(layer: nn.LSTM | nn.GRU, inputs_BSD: Tensor, lengths_B: Tensor | None) -> Tensor:
    """[B, S, D] states of both directions side by side, 0 in padding.

    Rows are packed, so that the direction from the right begins with the last token and not in padding.
    """
    if lengths_B is None:
        return layer(inputs_BSD)[0]
    rows = pack_padded_sequence(inputs_BSD, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(rows)[0], batch_first=True, total_length=inputs_BSD.shape[1])[0]
