"""Scores as a loop over one token at a time has them, without batches, padding, labels or origins."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from models.body import Inputs
from objectives.causal_lm import CausalLM
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from objectives.weights.load import TrainedRun
from tests.objectives.texts import BOS, CLS, EOS, MASK, PAD, SENTINELS, SEP, VOCABULARY


def log_probabilities(run: TrainedRun, encoder: list[int] | None, decoder: list[int] | None) -> Tensor:
    """[length, V] of one input, without a batch, padding or labels."""
    body = run.network.body
    inputs = Inputs(
        encoder_ids_BS=None if encoder is None else torch.tensor([encoder]),
        decoder_ids_BT=None if decoder is None else torch.tensor([decoder]),
    )
    return body.logits(body(inputs)[0]).log_softmax(dim=-1)


def naive_causal(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    read = log_probabilities(run, None, [EOS, *prefix, *text])
    return sum(float(read[len(prefix) + place, token]) for place, token in enumerate(text))


def naive_masked(run: TrainedRun, prefix: list[int], text: list[int], end: Callable[[int], int]) -> float:
    total = 0.0
    for place, token in enumerate(text):
        hidden = [MASK if place <= other < end(place) else kept for other, kept in enumerate(text)]
        total += float(log_probabilities(run, [CLS, *prefix, *hidden, SEP], None)[1 + len(prefix) + place, token])
    return total


def naive_pll(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    return naive_masked(run, prefix, text, lambda place: place + 1)


def naive_chain(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    return naive_masked(run, prefix, text, lambda place: len(text))


def words(text: list[int]) -> list[tuple[int, int]]:
    """Starts and ends of the words of a text; what goes on with a word that began before it is one of them."""
    begins = [place for place, token in enumerate(text) if place == 0 or VOCABULARY.begins_word[token]]
    return list(itertools.pairwise([*begins, len(text)]))


def naive_pll_word_l2r(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    return naive_masked(run, prefix, text, lambda place: next(end for _, end in words(text) if place < end))


def naive_score(run: TrainedRun, encoder: list[int], before: list[int], target: list[int]) -> float:
    read = log_probabilities(run, encoder, [*before, *target])
    return sum(float(read[len(before) - 1 + place, token]) for place, token in enumerate(target))


def naive_all_mask(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    return naive_score(run, [BOS, *prefix, MASK, EOS], [EOS, BOS, *prefix], text)


def naive_infill_pll(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    whole = [*prefix, *text]
    return sum(
        naive_score(run, [BOS, *whole[:place], MASK, *whole[place + 1 :], EOS], [EOS, BOS, *whole[:place]], [token])
        for place, token in enumerate(whole)
        if place >= len(prefix)
    )


def naive_span_pll(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    sentinel = int(SENTINELS[0])
    return sum(
        naive_score(run, [*prefix, *text[:start], sentinel, *text[end:], EOS], [PAD, sentinel], text[start:end])
        for start, end in words(text)
    )


def naive_one_span(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    return naive_score(run, [*prefix, int(SENTINELS[0]), EOS], [PAD, int(SENTINELS[0])], text)


def naive_control_of_denoising(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    return naive_score(run, [EOS], [EOS, BOS, *prefix], text)


def naive_control_of_span_corruption(run: TrainedRun, prefix: list[int], text: list[int]) -> float:
    return naive_score(run, [EOS], [PAD, *prefix], text)


NAIVE = {
    (CausalLM, "log_likelihood"): naive_causal,
    (MaskedLM, "pll"): naive_pll,
    (MaskedLM, "pll_word_l2r"): naive_pll_word_l2r,
    (MaskedLM, "chain"): naive_chain,
    (Denoising, "all_mask"): naive_all_mask,
    (Denoising, "infill_pll"): naive_infill_pll,
    (Denoising, "eos_encoder"): naive_control_of_denoising,
    (SpanCorruption, "span_pll"): naive_span_pll,
    (SpanCorruption, "one_span"): naive_one_span,
    (SpanCorruption, "eos_encoder"): naive_control_of_span_corruption,
}
