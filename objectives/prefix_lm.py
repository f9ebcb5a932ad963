"""Prefix language modelling (Raffel et al. 2020, 3.2.1 and 3.3.1; t5/data/preprocessors.py, prefix_lm; seqio, packing).

    window     Thank you for inviting me to your party last week .
    reads      </s> Thank you for inviting me to your party last week      the first six positions see each other
    predicts                                  to your party last week .

loss = sum of -log p(token | the prefix, tokens before it) / number of tokens behind the prefix
"""

from typing import Any, Literal

import numpy as np
from numpy.random import Generator

from common.errors import UserError
from data.stream.batch import IGNORE, Example, MaxLengths
from data.stream.collate import documents_of
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import DecoderAttention, Objective, SpecialTokenTemplate
from objectives.core.noise.hiding import read_from_before
from objectives.core.noise.spans import shifted
from objectives.inference.continue_prefix import ContinuePrefix


def least_prefix(length: int, noise_density: float) -> int:
    """The shortest prefix of a text of `length` tokens, so that the mean share behind prefixes is `noise_density`."""
    return max(1, round((1 - 2 * noise_density) * (length - 1)))


def cut_documents(window: Window, noise_density: float, rng: Generator) -> list[tuple[int, int, int]]:
    """For each document of a window its start, the start of its targets, and its end.

    A prefix is uniform over `least_prefix` to all tokens but one; a document of one token has none.
    """
    starts = np.unique(np.concatenate([[0], window.document_starts]))
    cuts = []
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(window)], strict=True):
        length = end - start
        prefix = int(rng.integers(least_prefix(length, noise_density), length)) if length > 1 else 0
        cuts.append((start, start + prefix, end))
    return cuts


class PrefixLM(Objective):
    """The rest of each document is predicted from its beginning, all of which is seen from everywhere in it.

    A decoder reads the shifted text, and the positions that read the prefix, or what stands before it, see each other:
    one position more than the prefix has tokens, since the last of them is read where the first target is predicted.
    With an encoder, that reads the prefixes, each with EOS behind it, and the decoder the rest. No prefix reaches over
    the end of a document: each document of a window has its own, and with an encoder the documents are kept apart.

    What differs from Raffel et al.: windows hold several documents, which T5 does not join for this objective.

    Args:
        stacks: `decoder`, one stack, or `both`, where an encoder reads the prefix.
        noise_density: mean share of a document that is predicted, at most 0.5, where all prefixes are as likely.
        shared: what every objective takes.
    """

    token_term: str = "suffix"
    decoder_attention: DecoderAttention = "prefix"

    def __init__(
        self, *, stacks: Literal["decoder", "both"] = "decoder", noise_density: float = 0.5, **shared: Any
    ) -> None:
        super().__init__(**shared)
        if not 0 < noise_density <= 0.5:
            raise UserError(f"model.init_args.noise_density = {noise_density} must lie in (0, 0.5]")
        self.noise_density = noise_density
        self.uses_encoder, self.uses_decoder = stacks == "both", True
        if self.uses_encoder:
            self.template = SpecialTokenTemplate(behind=("eos",), decoder_start="pad")
        else:
            self.template = SpecialTokenTemplate(before=("eos",))  # it ends the document before
        self.inference = ContinuePrefix()

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """Each document cut into a prefix and its targets."""
        cuts = cut_documents(window, self.noise_density, rng)
        share = sum(end - cut for _, cut, end in cuts) / len(window)
        whole = self._on_both(window, cuts, vocabulary) if self.uses_encoder else self._on_decoder(window, cuts)
        return Example(**whole, token_term=self.token_term, measures={"share predicted": share})

    def _on_decoder(self, window: Window, cuts: list[tuple[int, int, int]]) -> dict[str, Any]:
        labels = window.tokens.astype(np.int64)
        ids, origins = read_from_before(window, labels[:-1], np.arange(len(window) - 1))
        prefixes = np.zeros(len(window), dtype=np.int64)
        for number, (start, cut, _) in enumerate(cuts, start=1):
            labels[start:cut] = IGNORE
            prefixes[start : cut + 1] = number if cut > start else 0
        labelled = {self.token_term: labels}
        return {"decoder_ids": ids, "decoder_origins": origins, "prefixes": prefixes, "labels": labelled}

    def _on_both(self, window: Window, cuts: list[tuple[int, int, int]], vocabulary: Vocabulary) -> dict[str, Any]:
        tokens, places = window.tokens.astype(np.int64), np.arange(len(window))
        source = [(np.append(tokens[start:cut], vocabulary.eos), start, cut) for start, cut, _ in cuts]
        # EOS stands for the first target, so that it belongs to the document; the places are otherwise the tokens'.
        read = [np.append(places[start:cut], cut) for _, start, cut in source]
        is_target = np.concatenate([np.arange(start, end) >= cut for start, cut, end in cuts])
        labels, origins = tokens[is_target], places[is_target]
        return {
            "encoder_ids": np.concatenate([ids for ids, _, _ in source]),
            "encoder_origins": np.concatenate(read),
            "decoder_ids": shifted(labels, vocabulary.pad, documents_of(window, origins)),
            "decoder_origins": origins,
            "labels": {self.token_term: labels},
            "is_apart": True,
        }

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=window * self.uses_encoder, decoder=window, targets=window)

    def nominal_rates(self, window: int) -> dict[str, float]:
        """Of a window of one document."""
        prefix = (least_prefix(window, self.noise_density) + window - 1) / 2 if window > 1 else 0
        share = 1 - prefix / window
        return {"share predicted": share, "targets per raw token": share}
