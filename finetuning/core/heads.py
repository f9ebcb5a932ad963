"""The parts that heads are made of.

Shapes: B batch, T positions, D width, C classes.
"""

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError
from data.stream.batch import Batch
from finetuning.body.tuning import Pooling


class LinearHead(nn.Module):
    """Dropout and one linear layer: [..., D] states -> [..., C]; BERT's pooler, a dense layer and tanh, before it.

    Args:
        width: D.
        num_classes: C.
        dropout: rate before the last layer.
        bias: whether the last layer has one.
        has_pooler: whether BERT's pooler stands before (Devlin et al. 2019; Hugging Face's classes have it).
    """

    def __init__(
        self, width: int, num_classes: int, dropout: float, *, bias: bool = True, has_pooler: bool = False
    ) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width) if has_pooler else None
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, num_classes, bias=bias)

    def forward(self, states: Tensor) -> Tensor:
        pooled = states if self.pooler is None else self.pooler(states).tanh()
        return self.classifier(self.dropout(pooled))


def means_of_texts(states_BTD: Tensor, lengths_B: Tensor, segments_BT: Tensor, num_texts: int) -> list[Tensor]:
    """[B, D] for each text: the mean of the states of its positions, the special tokens behind it among them."""
    is_read_BT = torch.arange(states_BTD.shape[1], device=lengths_B.device) < lengths_B[:, None]
    means = []
    for number in range(num_texts):
        is_text_BT1 = (is_read_BT & (segments_BT == number))[..., None]
        means.append((states_BTD * is_text_BT1).sum(dim=1) / is_text_BT1.sum(dim=1).clamp(min=1))
    return means


def compared(first_BD: Tensor, second_BD: Tensor) -> Tensor:
    """[B, 4 D]: both, the size of their difference, and their product (Conneau et al. 2017, 3.1)."""
    return torch.cat([first_BD, second_BD, (first_BD - second_BD).abs(), first_BD * second_BD], dim=-1)


def pooling_of(pooling: Pooling, *, is_causal: bool, has_both: bool) -> Pooling:
    """`tuning.pooling` with `auto` decided.

    Args:
        pooling: the setting.
        is_causal: whether a text is read by a causal decoder.
        has_both: whether a decoder attends to an encoder.

    Raises:
        UserError: where the body has no such state, or one that has seen nothing.
    """
    if pooling == "auto":
        return "last" if is_causal else "mean"
    if pooling == "cls" and is_causal:
        raise UserError(
            "tuning.pooling = cls: the first token of a causal decoder has seen nothing but itself; choose last, "
            "or lift the mask with tuning.attention = bidirectional"
        )
    if pooling == "decoder_start" and not has_both:
        raise UserError("tuning.pooling = decoder_start needs a decoder that attends to an encoder; choose mean")
    return pooling


def pooled(
    states_BTD: Tensor, lengths_B: Tensor, segments_BT: Tensor | None, pooling: Pooling, num_texts: int
) -> Tensor:
    """[B, D], or [B, 4 D] of two texts' means: what a text, or two, are classified from."""
    if pooling == "mean":
        assert segments_BT is not None  # of the stack that is read: the only one there
        means = means_of_texts(states_BTD, lengths_B, segments_BT, num_texts)
        return means[0] if len(means) == 1 else compared(*means)
    if pooling == "last":
        return states_BTD[torch.arange(len(states_BTD), device=lengths_B.device), lengths_B - 1]
    return states_BTD[:, 0]  # of the encoder's first token, or of the decoder's start


def as_arrays(rows: Tensor) -> list[np.ndarray]:
    """float64[...] for each row."""
    return list(rows.detach().cpu().double().numpy())


def rows_of(batch: Batch, term: str) -> Tensor:
    """int64[N], the row of the batch that each label of a term belongs to."""
    ids = batch.encoder_ids_BS if batch.decoder_ids_BT is None else batch.decoder_ids_BT
    assert ids is not None
    return batch.labels[term].positions_N // ids.shape[1]
