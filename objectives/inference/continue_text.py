"""Continuing a text: a causal decoder predicts what comes next, as at the beginning of a document."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from common.errors import UserError
from data.stream.batch import EARLIER
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.prompts import Generation, Prompts
from objectives.core.strategy import InferenceStrategy, Scorer
from objectives.inference.decoding import EncodedPrompt, generate_tokens, generation_of
from objectives.inference.likelihood import left_to_right


def continued(text: list[int], generated: Sequence[int], *, is_all: bool) -> list[int]:
    """The text followed by the generated tokens."""
    return [*text, *generated]


class ContinueText(InferenceStrategy):
    """Continues each text as the beginning of a document; an empty text begins any document.

    Args:
        predicts_first: whether the first token of a document was a target in training.
    """

    example: str | None = "Thank you for"

    def __init__(self, *, predicts_first: bool = True) -> None:
        self.predicts_first = predicts_first

    def encoded(self, objective: Objective, prompts: Prompts, number: int) -> EncodedPrompt:
        """A text as the decoder reads it.

        Raises:
            UserError: where it is empty, and its first token was never a target.
        """
        text = prompts.texts[number]
        tokens = prompts.encode(text)
        if not len(tokens) and not self.predicts_first:
            raise UserError(
                f"{prompts.name(number)} is empty, and with model.init_args.predict_across_documents = false "
                f"this model never predicts the first token of a document: begin the text"
            )
        decoder = prompts.with_special_tokens(tokens, objective.template.before, origin=EARLIER)
        window = prompts.window(np.append(tokens, prompts.vocabulary.eos))  # the last stands for what is generated
        return EncodedPrompt.of(text, window, decoder=decoder, complete=partial(continued, tokens.tolist()))

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        prompts.refuse_candidates("a causal LM continues a text, and fills no masks")
        encoded = [self.encoded(objective, prompts, number) for number in range(len(prompts.texts))]
        apart = objective.keep_documents_apart
        for one, generated in generate_tokens(network.body, prompts, encoded, keep_documents_apart=apart):
            yield generation_of(prompts, one, generated, continuation=prompts.decode(generated.ids))

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """The text as a document's beginning, read as in training; the EOS that would end it is not scored."""
        examples = partial(
            left_to_right, start=vocabulary.eos, term=objective.token_term, predicts_first=self.predicts_first
        )
        return {"log_likelihood": Scorer(examples=examples, is_normalised=True)}
