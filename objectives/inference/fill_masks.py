"""Filling masks: an encoder predicts every [MASK] of a text at once, independently of the others."""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from data.stream.batch import IGNORE, Example, MaxLengths
from data.stream.collate import collate
from data.stream.windows import Window
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.core.strategy import InferenceStrategy, Scorer
from objectives.inference.batches import batches_of, in_order
from objectives.inference.likelihood import masked_copies, rest_of_text, rest_of_word, token_alone

CANDIDATES = 5


def filled(prompts: Prompts, text: str, tokens: np.ndarray, probabilities_MV: Tensor) -> Generation:
    """A text with its M masks filled, and the likeliest few tokens of each."""
    vocabulary = prompts.vocabulary
    best = probabilities_MV.topk(min(prompts.candidates or CANDIDATES, vocabulary.size))
    whole = tokens.copy()
    whole[tokens == vocabulary.mask] = best.indices[:, 0].cpu().numpy()
    masks, notes = [], []
    for number, (ids, values) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True), start=1):
        texts = [prompts.name_of_token(token) for token in ids]
        masks.append([{"token": token, "probability": value} for token, value in zip(texts, values, strict=True)])
        dots = ["" if vocabulary.begins_word[token] else "\u00b7" for token in ids]  # continues a word
        displayed = [f"{dot}{token.strip() or repr(token)}" for dot, token in zip(dots, texts, strict=True)]
        named = [f"{token} {value:.1%}" for token, value in zip(displayed, values, strict=True)]
        notes.append(f"  [MASK] {number}   {'   '.join(named)}")
    return Generation(prompt=text, text=prompts.decode(whole), details={"masks": masks}, notes=notes)


class FillMasks(InferenceStrategy):
    """Each text, as one segment, with every [MASK] filled; probabilities in float64."""

    reads_marks = True
    example: str | None = "Thank you for [MASK] me to your [MASK] ."

    def encoded(self, objective: Objective, prompts: Prompts) -> list[tuple[Window, Example]]:
        """The texts, with a label at every mask.

        Raises:
            UserError: where a text has no mask, or is too long.
        """
        mask, encoded = prompts.vocabulary.mask, []
        for number, text in enumerate(prompts.texts):
            prompts.check_marks(number, MARK, "[MASK]")
            tokens = prompts.encode(text, MARK, itertools.repeat(mask))
            template = objective.template
            ids, origins = prompts.with_special_tokens(tokens, template.before, template.behind)
            prompts.check_length(number, len(ids))
            example = Example(
                encoder_ids=ids,
                encoder_origins=origins,
                segments=np.zeros(len(ids), dtype=np.int64),
                labels={objective.token_term: np.where(ids == mask, ids, IGNORE)},
                token_term=objective.token_term,
            )
            encoded.append((prompts.window(tokens), example))
        return encoded

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        prompts.refuse_decoding("a masked LM names the likeliest tokens of each mask, and draws none")
        encoded, longest = self.encoded(objective, prompts), prompts.max_positions

        def probabilities(numbers: list[int]) -> Sequence[Tensor]:
            windows, examples = zip(*(encoded[number] for number in numbers), strict=True)
            batch = collate(
                windows,
                examples,
                pad=prompts.vocabulary.pad,
                max_lengths=MaxLengths(longest, longest, longest),
                keep_documents_apart=objective.keep_documents_apart,
            )
            with torch.inference_mode():
                logits_NV = network.logits(batch.to(network.device), objective.token_term, objective.token_role)
            return logits_NV.cpu().double().softmax(dim=-1).split(_masks(examples))

        lengths = [len(window.tokens) for window, _ in encoded]
        found = in_order((numbers, probabilities(numbers)) for numbers in batches_of([0] * len(encoded), lengths))
        for number, (probabilities_MV, (window, _)) in enumerate(zip(found, encoded, strict=True)):
            yield filled(prompts, prompts.texts[number], window.tokens, probabilities_MV)

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """Pseudo-log-likelihoods of the text as one segment, and a chain."""
        copies = partial(masked_copies, vocabulary=vocabulary, term=objective.token_term)
        return {
            "pll_word_l2r": Scorer(examples=partial(copies, hidden_to=rest_of_word)),
            "pll": Scorer(examples=partial(copies, hidden_to=token_alone)),
            "chain": Scorer(
                examples=partial(copies, hidden_to=rest_of_text),
                is_normalised=True,
                caveat="more is masked than ever in training, and the number of masks gives the length away",
            ),
        }


def _masks(examples: Sequence[Example]) -> list[int]:
    return [int((example.token_labels != IGNORE).sum()) for example in examples]
