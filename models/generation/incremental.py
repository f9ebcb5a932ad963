"""A decoder that reads prompts of unequal lengths, and then one position of each at a time.

Shapes: B rows, S encoder positions, T decoder positions, D width, V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.attention.cache import TransformerCache
from models.body import Body, Inputs
from models.generation.replay import ReplayedStep

GENERATED_DOCUMENT = 1  # the document of every generated token, where documents are kept apart
NO_DOCUMENT = -2  # of padding


class Documents(NamedTuple):
    """The document of each token of prompts and sources, where they are kept apart; 1 is that of generated tokens."""

    prompts: Sequence[Sequence[int]]
    sources: Sequence[Sequence[int]] | None = None


class IncrementalDecoder:
    """A decoder that reads a batch of prompts of unequal lengths, then one position of each at a time.

    Where documents are kept apart nothing is cached: places and masks are made from the documents of whole rows.

    Args:
        body: with a decoder.
        prompts: what the decoder reads first, a token at least.
        sources: what the encoder reads, where there is one.
        copies: rows for each prompt.
        num_steps: the most tokens that are generated.
        pad: any id.
        documents: of prompts and sources, where they are kept apart.
        sees_prompt: whether the positions of a prompt see each other (a prefix LM), not only those before them.
    """

    def __init__(
        self,
        body: Body,
        prompts: Sequence[Sequence[int]],
        sources: Sequence[Sequence[int]] | None,
        *,
        copies: int,
        num_steps: int,
        pad: int,
        documents: Documents | None = None,
        sees_prompt: bool = False,
    ) -> None:
        self.body, self.device = body, next(body.parameters()).device
        assert body.has_decoder
        assert body.has_encoder == (sources is not None)
        capacity = max(map(len, prompts)) + num_steps
        self.cache = body.new_cache(capacity) if documents is None else None
        self._replayed: ReplayedStep | None = None
        if self.device.type == "cuda" and isinstance(self.cache, TransformerCache) and self.cache.place_1 is not None:
            self._replayed = ReplayedStep(self._logits, self.cache)
        self.inputs, self.memory_BSD = Inputs(), None
        if sources is not None:
            lengths_B = torch.tensor([len(source) for source in sources], device=self.device)
            encoder = Inputs(encoder_ids_BS=self._rows(sources, pad, 1), encoder_lengths_B=lengths_B)
            if documents is not None:
                assert documents.sources is not None
                encoder = encoder._replace(encoder_documents_BS=self._rows(documents.sources, NO_DOCUMENT, 1))
            self.memory_BSD = body.encode(encoder).repeat_interleave(copies, dim=0)
            kept = [encoder.encoder_lengths_B, encoder.encoder_documents_BS]
            kept = [None if rows is None else rows.repeat_interleave(copies, dim=0) for rows in kept]
            self.inputs = Inputs(encoder_lengths_B=kept[0], encoder_documents_BS=kept[1])
        starts = [max(map(len, prompts)) - len(prompt) for prompt in prompts]
        self.ids_BT = self._rows(prompts, pad, copies, on_left=True)
        self.documents_BT = None
        if documents is not None:
            self.documents_BT = self._rows(documents.prompts, NO_DOCUMENT, copies, on_left=True)
        self._starts_B = torch.tensor(starts, device=self.device).repeat_interleave(copies)
        if any(starts):
            self.inputs = self.inputs._replace(decoder_starts_B=self._starts_B)
        # What a repetition penalty applies to: in place of padding, the first token of its row.
        first_B1 = self.ids_BT.gather(1, self._starts_B[:, None])
        is_padding_BT = torch.arange(self.ids_BT.shape[1], device=self.device) < self._starts_B[:, None]
        self.previous_BT = torch.where(is_padding_BT, first_B1, self.ids_BT)
        self.prefixes_BT = (~is_padding_BT).long() if sees_prompt else None

    def _rows(self, rows: Sequence[Sequence[int]], padding: int, copies: int, *, on_left: bool = False) -> Tensor:
        """int64[B · copies, length], the rows padded to the longest, `copies` of each."""
        padded = [[padding] * (max(map(len, rows)) - len(row)) for row in rows]
        filled = [[*pad, *row] if on_left else [*row, *pad] for pad, row in zip(padded, rows, strict=True)]
        return torch.tensor(filled, device=self.device).repeat_interleave(copies, dim=0)

    def _logits(self, ids_BT: Tensor) -> Tensor:
        """[B · copies, V] in float32 at least: of the position behind these, which have not been read."""
        has_read = self.cache is not None and self.cache.length > 0
        unread = self.inputs._replace(
            decoder_ids_BT=ids_BT,
            decoder_documents_BT=self.documents_BT,
            prefixes=None if has_read else self.prefixes_BT,
        )
        states_BTD = self.body.decode(unread, self.memory_BSD, self.cache)
        logits_BV = self.body.logits(states_BTD[:, -1])
        return logits_BV if logits_BV.dtype == torch.float64 else logits_BV.float()

    def next_logits(self) -> Tensor:
        """[B · copies, V] in float32 at least: of the position behind what has been read."""
        read = 0 if self.cache is None else self.cache.length
        compute = self._replayed if read and self._replayed is not None else self._logits
        return compute(self.ids_BT[:, read:])

    def append(self, ids_B: Tensor) -> None:
        """Adds the token that each row reads next."""
        self.ids_BT = torch.cat([self.ids_BT, ids_B[:, None]], dim=1)
        self.previous_BT = torch.cat([self.previous_BT, ids_B[:, None]], dim=1)
        if self.documents_BT is not None:
            self.documents_BT = F.pad(self.documents_BT, (0, 1), value=GENERATED_DOCUMENT)
        if self.prefixes_BT is not None:
            self.prefixes_BT = F.pad(self.prefixes_BT, (0, 1))

    def select(self, rows_B: Tensor) -> None:
        """Replaces the rows by others of the same prompts."""
        if self.cache is not None:
            self.cache.select(rows_B)
        self.ids_BT, self.previous_BT = self.ids_BT[rows_B], self.previous_BT[rows_B]
