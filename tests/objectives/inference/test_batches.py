"""Texts of like length are computed together, and the results are those of each alone, in the order of the texts."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.causal_lm import CausalLM
from objectives.denoising import Denoising
from objectives.inference.batches import TEXTS_AT_ONCE, batches_of, in_order
from objectives.masked_lm import MaskedLM
from tests.objectives.inference.prompting import generations, generator_of
from tests.objectives.texts import FIXED


@FIXED
@given(texts=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40)), max_size=200))
def test_every_text_is_computed_once_and_the_first_that_is_left_with_the_next(texts: list[tuple[int, int]]) -> None:
    kinds, lengths = [kind for kind, _ in texts], [length for _, length in texts]
    done: list[int] = []
    for batch in batches_of(kinds, lengths):
        first = next(number for number in range(len(texts)) if number not in done)
        assert first in batch
        assert len(batch) <= TEXTS_AT_ONCE
        assert {kinds[number] for number in batch} == {kinds[first]}
        done += batch
    assert sorted(done) == list(range(len(texts)))


def test_texts_in_any_order_are_padded_little() -> None:
    lengths = np.random.default_rng(0).geometric(0.05, size=512).clip(max=100)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches_of([0] * len(lengths), lengths.tolist()))
    assert padded < 1.35 * lengths.sum()
    assert sum(len(part) * part.max() for part in np.split(lengths, 512 // TEXTS_AT_ONCE)) > 2 * lengths.sum()


def test_results_come_in_order_as_soon_as_they_can() -> None:
    taken: list[str] = []

    def found() -> Iterator[tuple[list[int], str]]:
        for numbers, name in [([0, 2], "ac"), ([1, 4], "be"), ([3], "d")]:
            taken.append(name)
            yield numbers, name

    results = in_order(found())
    assert [next(results), taken.copy()] == ["a", ["ac"]]
    assert [*results] == ["b", "c", "d", "e"]


TEXTS = ["The [MASK]", "A big [MASK] house", "The [MASK] sees", "A [MASK]", "The old dog sees [MASK] house"] * 2


@pytest.mark.parametrize("kind", [MaskedLM, CausalLM, Denoising])
def test_a_text_is_computed_as_if_it_were_alone(kind: type[MaskedLM] | type[CausalLM] | type[Denoising]) -> None:
    """float64: the same draws for each text by its number, and the same probabilities, whatever stands beside it."""
    module = generator_of(kind)
    is_masked = kind is MaskedLM
    texts = [text.replace("[MASK] ", "") if kind is CausalLM else text for text in TEXTS]
    decoding = {} if is_masked else {"temperature": 1.0, "seed": 3, "max_new_tokens": 6}
    together = generations(module, *texts, decoding=decoding)
    assert [one.prompt for one in together] == texts
    for number, (text, found) in enumerate(zip(texts, together, strict=True)):
        (alone,) = generations(module, text, decoding=decoding if is_masked else {**decoding, "seed": 3 + number})
        assert found.text == alone.text
        if is_masked:
            pairs = zip(found.details["masks"][0], alone.details["masks"][0], strict=True)
            assert all(one["probability"] == pytest.approx(other["probability"], abs=1e-12) for one, other in pairs)
        else:
            assert found.details["log_probability"] == pytest.approx(alone.details["log_probability"], abs=1e-9)
