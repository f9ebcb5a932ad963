"""Continuing a prefix: what stands before is seen as a whole, as a prefix LM was trained to see it."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from common.errors import UserError
from data.stream.batch import EARLIER, IGNORE, Example
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.prompts import Generation, Prompts
from objectives.core.strategy import InferenceStrategy, Scorer
from objectives.inference.continue_text import continued
from objectives.inference.decoding import EncodedPrompt, generate_tokens, generation_of
from objectives.inference.likelihood import joined, predicted_after, special, whole, within


def behind_prefix(
    prefix: np.ndarray, text: np.ndarray, *, vocabulary: Vocabulary, term: str, has_encoder: bool
) -> list[Example]:
    """The text behind the prefix, all of which is seen; without a prefix its first token is one, and is not scored."""
    tokens, cut = whole(prefix, text), max(len(prefix), 1)
    if has_encoder:
        source = joined(within(tokens, 0, cut), special(vocabulary.eos, origin=cut - 1))
        return [predicted_after(source, special(vocabulary.pad, origin=0), within(tokens, cut), term=term)]
    labels, origins = tokens
    ids = np.concatenate([[vocabulary.eos], labels[:-1]])
    labels = np.where(np.arange(len(labels)) < cut, IGNORE, labels)
    return [
        Example(
            decoder_ids=ids,
            decoder_origins=np.concatenate([[EARLIER], origins[:-1]]),
            prefixes=(np.arange(len(ids)) <= cut).astype(np.int64),
            labels={term: labels},
            token_term=term,
        )
    ]


class ContinuePrefix(InferenceStrategy):
    """Continues each text, every token of which sees all others, from left to right."""

    example: str | None = "Thank you for"

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        prompts.refuse_candidates("a prefix LM continues a text, and fills no masks")
        encoded = []
        for number, text in enumerate(prompts.texts):
            tokens = prompts.encode(text)
            if not len(tokens):
                raise UserError(
                    f"{prompts.name(number)} is empty, and a prefix LM never predicts a first token: begin it"
                )
            window = prompts.window(np.append(tokens, prompts.vocabulary.eos))  # the last stands for what is generated
            complete, encoder = partial(continued, tokens.tolist()), None
            decoder = prompts.with_special_tokens(tokens, objective.template.before, origin=EARLIER)
            if objective.uses_encoder:
                encoder = prompts.with_special_tokens(tokens, objective.template.before, objective.template.behind)
                decoder = np.array([prompts.vocabulary.pad]), np.array([0])
            encoded.append(EncodedPrompt.of(text, window, encoder=encoder, decoder=decoder, complete=complete))
        apart, has_decoder_alone = objective.keep_documents_apart, not objective.uses_encoder
        for one, generated in generate_tokens(
            network.body, prompts, encoded, keep_documents_apart=apart, sees_prompt=has_decoder_alone
        ):
            yield generation_of(prompts, one, generated, continuation=prompts.decode(generated.ids))

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """What stands behind the prefix; of a text without a prefix, all but its first token."""
        settings = {"vocabulary": vocabulary, "term": objective.token_term, "has_encoder": objective.uses_encoder}
        return {"log_likelihood": Scorer(examples=partial(behind_prefix, **settings), is_normalised=True)}
