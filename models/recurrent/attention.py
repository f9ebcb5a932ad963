"""Attention of a recurrent decoder: scores of the encoder's states, their weights, and the context.

Shapes: B batch, T queries, S encoder positions, D width.
"""

import torch
from torch import Tensor, nn

from models.attention.masks import HIDDEN
from models.recurrent.config import RecurrentAttention


def weights_of(scores_BTS: Tensor, visible_BS: Tensor | None) -> Tensor:
    """[B, T, S], which sum to 1, are 0 where nothing is visible, and all 0 in a row of padding alone.

    In float32 at least, whatever the scores are in.
    """
    scores_BTS = scores_BTS if scores_BTS.element_size() == 8 else scores_BTS.float()
    if visible_BS is None:
        return scores_BTS.softmax(dim=-1)
    visible_B1S = visible_BS[:, None]
    return torch.where(visible_B1S, scores_BTS, HIDDEN).softmax(dim=-1) * visible_B1S


class Scores(nn.Module):
    """Scores of keys by queries.

    dot: query · key; general: query W key; concat: v tanh(W [query; key]) (Luong et al. 2015, 3.1); bahdanau:
    v tanh(W query + U key) (Bahdanau et al. 2015, A.1.2). None has a bias.
    """

    def __init__(self, kind: RecurrentAttention, width: int) -> None:
        super().__init__()
        self.kind = kind
        if kind in ("general", "concat", "bahdanau"):
            self.query = nn.Linear(width, width, bias=False)
        if kind in ("concat", "bahdanau"):
            self.key = nn.Linear(width, width, bias=False)
            self.score = nn.Linear(width, 1, bias=False)

    def forward(self, queries_BTD: Tensor, keys_BSD: Tensor) -> Tensor:
        """[B, T, S]."""
        if self.kind == "dot":
            return queries_BTD @ keys_BSD.mT
        if self.kind == "general":
            return self.query(queries_BTD) @ keys_BSD.mT
        # W of the two side by side is one matrix for each of them.
        sums_BTSD = self.query(queries_BTD)[:, :, None] + self.key(keys_BSD)[:, None]
        return self.score(sums_BTSD.tanh())[..., 0]


class RecurrentAttentionLayer(nn.Module):
    """Scores, weights and context, and the attentional vector tanh(W_c [context; state])."""

    def __init__(self, kind: RecurrentAttention, width: int) -> None:
        super().__init__()
        self.scores = Scores(kind, width)
        self.combine = nn.Linear(2 * width, width, bias=False)

    def forward(self, queries_BTD: Tensor, memory_BSD: Tensor, visible_BS: Tensor | None) -> tuple[Tensor, Tensor]:
        """[B, T, D] the mixture of the encoder's states, and [B, T, S] its weights."""
        weights_BTS = weights_of(self.scores(queries_BTD, memory_BSD), visible_BS)
        return weights_BTS.to(memory_BSD.dtype) @ memory_BSD, weights_BTS

    def combined(self, context_BTD: Tensor, states_BTD: Tensor) -> Tensor:
        """[B, T, D], the attentional vector."""
        return self.combine(torch.cat([context_BTD, states_BTD], dim=-1)).tanh()
