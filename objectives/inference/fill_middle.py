"""Filling a gap from left to right: a causal LM that learned to generate the middle behind prefix and suffix."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from common.errors import UserError
from data.stream.batch import EARLIER
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.inference.continue_text import ContinueText
from objectives.inference.decoding import EncodedPrompt, generate_tokens, generation_of


def with_middle(prefix: list[int], suffix: list[int], generated: Sequence[int], *, is_all: bool) -> list[int]:
    """The prefix, the generated middle and, once it is complete, the suffix."""
    return [*prefix, *generated, *(suffix if is_all else [])]


class FillMiddle(ContinueText):
    """Fills the one [MASK] of a text with a middle of any length; a text without any is continued.

    Args:
        suffix_first: whether the prompt has the suffix before the prefix; for a model that was never trained otherwise.
    """

    reads_marks = True

    def __init__(self, *, suffix_first: bool) -> None:
        super().__init__()
        self.suffix_first = suffix_first

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        prompts.refuse_candidates("fill-in-the-middle generates a text of any length for a mask")
        vocabulary, apart = prompts.vocabulary, objective.keep_documents_apart
        before, behind, middle = ([vocabulary.id_of(f"fim_{part}")] for part in ("prefix", "suffix", "middle"))
        encoded = []
        for number, text in enumerate(prompts.texts):
            if not MARK.search(text):
                encoded.append(self.encoded(objective, prompts, number))
                continue
            tokens = prompts.encode(text, MARK, [vocabulary.mask] * len(text))
            (marks,) = np.nonzero(tokens == vocabulary.mask)
            if len(marks) > 1:
                raise UserError(
                    f"{prompts.name(number)} has {len(marks)} [MASK]s, and fill-in-the-middle fills one gap"
                )
            prefix, suffix = tokens[: marks[0]].tolist(), tokens[marks[0] + 1 :].tolist()
            if self.suffix_first:
                ids = [vocabulary.eos, *before, *behind, *suffix, *middle, *prefix]
            else:
                ids = [vocabulary.eos, *before, *prefix, *behind, *suffix, *middle]
            decoder = np.array(ids), np.array([EARLIER, *[0] * (len(ids) - 1)])
            window = prompts.window(np.append(tokens, vocabulary.eos))
            complete = partial(with_middle, prefix, suffix)
            encoded.append(EncodedPrompt.of(text, window, decoder=decoder, complete=complete))
        for one, generated in generate_tokens(network.body, prompts, encoded, keep_documents_apart=apart):
            name = "middle" if MARK.search(one.text) else "continuation"
            yield generation_of(prompts, one, generated, **{name: prompts.decode(generated.ids)})
