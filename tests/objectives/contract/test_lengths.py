"""Lengths: what an objective promises of them is kept, reached, and refused where it does not fit."""

import numpy as np
import pytest

from models.transformer.transformer import Transformer
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.noise.spans import span_counts
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.objectives.texts import (
    FIRST,
    SENTINELS,
    VOCABULARY,
    built,
    examples_of,
    made,
    module_of,
    numbered,
    of_documents,
)

every_objective = pytest.mark.parametrize("objective_class", [MaskedLM, CausalLM, Denoising, SpanCorruption])
settings_of_lengths = [
    made(MaskedLM, next_sentence=False),
    made(MaskedLM, noise_density=0.4),
    made(CausalLM),
    made(Denoising),
    made(SpanCorruption),
    made(SpanCorruption, roll=True),
    made(SpanCorruption, noise_density=0.5, mean_span_length=64.0),
    made(SpanCorruption, noise_density=0.95, mean_span_length=1.0),
    made(SpanCorruption, keep_documents_apart=True, noise_density=0.7),
]
every_setting = pytest.mark.parametrize(
    "objective", settings_of_lengths, ids=lambda objective: type(objective).__name__
)


@every_setting
def test_a_shorter_window_never_makes_a_longer_example(objective: Objective) -> None:
    lengths = np.array([objective.max_lengths(window) for window in range(1, 300)])
    assert (np.diff(lengths, axis=0) >= 0).all()


@every_setting
def test_the_longest_window_is_the_longest(objective: Objective) -> None:
    module, longest = module_of(objective), [max(objective.max_lengths(window)[:2]) for window in range(600)]
    for positions in range(longest[1], 250):
        expected = max(window for window in range(600) if longest[window] <= positions)
        assert module.longest_window(positions) == expected


@every_objective
def test_a_window_longer_than_the_positions_is_refused_with_the_longest(objective_class: type[Objective]) -> None:
    objective = made(objective_class)
    module = module_of(objective, max_positions=32)
    longest = module.longest_window(32)
    module.check_window(longest)
    module.build(vocab_size=VOCABULARY.size, window=longest)
    needed = max(objective.max_lengths(longest + 1)[:2])
    message = (
        rf"data\.window = {longest + 1} raw tokens make {needed} positions, but body\.max_positions = 32; "
        rf"the longest window that fits is {longest}"
    )
    for refuse in (module.check_window, lambda window: module.build(vocab_size=VOCABULARY.size, window=window)):
        with pytest.raises(ValueError, match=message):
            refuse(longest + 1)


def test_where_no_window_fits_the_longest_is_none() -> None:
    with pytest.raises(ValueError, match=r"data\.window = 1 raw tokens make 3 positions.* that fits is 0"):
        module_of(made(Denoising, mean_span_length=1), max_positions=2).check_window(1)


@every_objective
def test_without_a_limit_there_are_as_many_positions_as_the_window_needs(objective_class: type[Objective]) -> None:
    objective = made(objective_class)
    body = built(objective, window=19, preset="bart").built.body
    assert isinstance(body, Transformer)
    tables = [stack.embeddings.position_table for stack in (body.encoder, body.decoder) if stack]
    assert {len(table.weight) for table in tables if table} == {max(objective.max_lengths(19)[:2])}


# --- T5's ---

T5_LENGTHS = {  # inputs_length: n and targets at mean span lengths 3, 2, 5 and 10
    64: ((70, 14), (68, 16), (72, 14), (73, 13)),
    128: ((141, 29), (138, 32), (145, 27), (147, 25)),
    256: ((284, 58), (276, 62), (290, 54), (295, 49)),
    512: ((568, 114), (552, 126), (581, 105), (591, 99)),
    1024: ((1137, 229), (1106, 250), (1162, 210), (1182, 196)),
}


@pytest.mark.parametrize("inputs", T5_LENGTHS)
def test_lengths_are_those_of_t5(inputs: int) -> None:
    """C60: the longest window whose inputs fit, and the targets it makes."""
    for mean, (window, targets) in zip((3.0, 2.0, 5.0, 10.0), T5_LENGTHS[inputs], strict=True):
        objective = made(SpanCorruption, mean_span_length=mean)
        assert module_of(objective).longest_window(inputs) == window
        assert objective.max_lengths(window).targets == objective.max_lengths(window).decoder == targets


def test_a_full_segment_of_t5_is_exact() -> None:
    """C60: 568 tokens are 512 read and 114 targets, 28 sentinels on each side and 85 tokens hidden."""
    assert span_counts(568, 0.15, 3.0) == (85, 28)
    windows = of_documents([[numbered(568).tolist()]], length=568)
    for epoch in range(5):
        ((_, example),) = examples_of(made(SpanCorruption).corruption(VOCABULARY), windows, epoch=epoch)
        assert example.encoder_ids is not None
        assert (len(example.encoder_ids), len(example.labels["span"])) == (512, 114)
        assert np.isin(example.encoder_ids, SENTINELS).sum() == np.isin(example.labels["span"], SENTINELS).sum() == 28


@pytest.mark.parametrize("roll", [False, True])
@pytest.mark.parametrize("length", [2, 3, 7, 40, 128])
def test_max_lengths_are_reached(length: int, roll: bool) -> None:
    objective = made(SpanCorruption, roll=roll)
    windows = of_documents([[numbered(length).tolist()]], length=length)
    longest = np.zeros(2, dtype=int)
    for epoch in range(60):
        ((_, example),) = examples_of(objective.corruption(VOCABULARY), windows, epoch=epoch)
        assert example.encoder_ids is not None
        longest = np.maximum(longest, [len(example.encoder_ids), len(example.labels["span"])])
    encoder, decoder, targets = objective.max_lengths(length)
    assert longest.tolist() == [encoder, decoder] == [encoder, targets]


def test_documents_of_one_token_part_every_span_and_reach_the_max_lengths() -> None:
    objective = made(SpanCorruption, keep_documents_apart=True, noise_density=0.5)
    windows = of_documents([[[FIRST]]] * 40, length=40)
    ((_, example),) = examples_of(objective.corruption(VOCABULARY), windows)
    assert example.encoder_ids is not None
    assert (len(example.encoder_ids), len(example.labels["span"])) == objective.max_lengths(40)[:2] == (41, 41)
