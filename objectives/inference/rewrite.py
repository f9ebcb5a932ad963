"""Rewriting a text: a denoiser generates the whole text from a copy in which each [MASK] hides any number of tokens."""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from common.errors import UserError
from data.stream.batch import NOWHERE
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.core.strategy import InferenceStrategy, Scorer
from objectives.inference.decoding import EncodedPrompt, generate_tokens, generation_of
from objectives.inference.likelihood import infilled, restored_whole, unread


def restored(bos: int, generated: Sequence[int], *, is_all: bool) -> list[int]:
    """The generated tokens without their `<s>`."""
    return [*generated[1:]] if generated[:1] == [bos] else [*generated]


class Rewrite(InferenceStrategy):
    """Restores each text: a [MASK] stands for any number of tokens, and sentences may be out of order."""

    reads_marks = True
    example: str | None = "Thank you [MASK] party ."

    def special_targets(self, vocabulary: Vocabulary) -> list[int]:
        return [vocabulary.bos]

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        prompts.refuse_candidates("a denoiser generates the whole text, and no token for each mask")
        vocabulary, encoded = prompts.vocabulary, []
        for number, text in enumerate(prompts.texts):
            tokens = prompts.encode(text, MARK, itertools.repeat(vocabulary.mask))
            if not len(tokens):
                raise UserError(f"{prompts.name(number)} is empty: there is nothing to restore")
            encoder = prompts.with_special_tokens(tokens, objective.template.before, objective.template.behind)
            start = np.array([vocabulary.eos]), np.array([NOWHERE])
            complete = partial(restored, vocabulary.bos)
            window = prompts.window(tokens)
            encoded.append(EncodedPrompt.of(text, window, encoder=encoder, decoder=start, complete=complete))
        apart = objective.keep_documents_apart
        settings: dict[str, Any] = {"keep_documents_apart": apart, "special_targets": self.special_targets(vocabulary)}
        for one, generated in generate_tokens(network.body, prompts, encoded, **settings):
            yield generation_of(prompts, one, generated)

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """The text restored from one [MASK], or token by token; and as a control from an empty source."""
        common = {"vocabulary": vocabulary, "term": objective.token_term}
        start = (vocabulary.eos, vocabulary.bos)
        return {
            "all_mask": Scorer(examples=partial(restored_whole, **common), is_normalised=True),
            "infill_pll": Scorer(examples=partial(infilled, **common)),
            "eos_encoder": Scorer(examples=partial(unread, start=start, **common), is_normalised=True, is_control=True),
        }
