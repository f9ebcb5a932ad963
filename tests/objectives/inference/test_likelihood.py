"""Scorers: what each makes of a text, token by token, as its picture has it."""

from typing import Any

import numpy as np
import pytest

from data.stream.batch import EARLIER, IGNORE, Example
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.denoising import Denoising
from objectives.inference.likelihood import document
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.objectives.texts import (
    BOS,
    CLS,
    EOS,
    MASK,
    PAD,
    SENTINELS,
    SEP,
    VOCABULARY,
    key,
    made,
    of_documents,
    scorers_of,
)

# Of the ordinary ids every third goes on with a word: two words here, and two before them.
GIVEN, ALSO_GIVEN = 200, 203
ONE, REST, TWO = 301, 303, 304
SENTINEL = int(SENTINELS[0])
FAMILIES: tuple[type[Objective], ...] = (MaskedLM, CausalLM, Denoising, SpanCorruption)
WAYS = [(family, name) for family in FAMILIES for name in scorers_of(made(family))]


def examples(objective: type[Objective], name: str, text: list[int], prefix: list[int], **knobs: Any) -> list[Example]:
    scorer = scorers_of(made(objective, **knobs))[name]
    return scorer.examples(np.array(prefix, dtype=np.int64), np.array(text, dtype=np.int64))


def pictures(objective: type[Objective], name: str, text: list[int], prefix: list[int]) -> list[tuple[Any, ...]]:
    """What the encoder reads, what the decoder reads, and what is said where something is."""
    term = objective.token_term
    return [
        tuple(
            None if row is None else [None if token == IGNORE else token for token in row.tolist()]
            for row in (example.encoder_ids, example.decoder_ids, example.labels[term])
        )
        for example in examples(objective, name, text, prefix)
    ]


def test_the_words_of_these_tests_are_words() -> None:
    assert VOCABULARY.word_starts(np.array([GIVEN, ONE, REST, TWO])).tolist() == [True, True, False, True]


def test_a_causal_lm_scores_the_text_behind_what_is_given_and_no_end() -> None:
    assert pictures(CausalLM, "log_likelihood", [ONE, REST, TWO], [GIVEN]) == [
        (None, [EOS, GIVEN, ONE, REST], [None, ONE, REST, TWO])
    ]


def test_a_causal_lm_reads_a_text_just_as_in_training() -> None:
    text = np.array([ONE, REST, TWO])
    (found,) = examples(CausalLM, "log_likelihood", text.tolist(), [])
    windows = of_documents([[text.tolist()]], length=3)
    trained = made(CausalLM).corruption(VOCABULARY)(document(text, EOS), key(), windows)
    assert trained.decoder_ids is not None
    assert found.decoder_ids is not None
    assert trained.decoder_ids.tolist() == found.decoder_ids.tolist()
    assert trained.labels["next_token"].tolist() == found.labels["next_token"].tolist()
    assert found.decoder_origins is not None
    assert found.decoder_origins.tolist() == [EARLIER, 0, 1]


def test_the_first_token_of_a_document_is_not_scored_by_a_model_that_never_predicts_it() -> None:
    (found,) = examples(CausalLM, "log_likelihood", [ONE, TWO], [], predict_across_documents=False)
    assert found.labels["next_token"].tolist() == [IGNORE, TWO]


def test_pll_hides_each_token_alone() -> None:
    assert pictures(MaskedLM, "pll", [ONE, REST, TWO], [GIVEN]) == [
        ([CLS, GIVEN, MASK, REST, TWO, SEP], None, [None, None, ONE, None, None, None]),
        ([CLS, GIVEN, ONE, MASK, TWO, SEP], None, [None, None, None, REST, None, None]),
        ([CLS, GIVEN, ONE, REST, MASK, SEP], None, [None, None, None, None, TWO, None]),
    ]


def test_pll_word_l2r_hides_the_rest_of_the_word_with_each_token() -> None:
    assert pictures(MaskedLM, "pll_word_l2r", [ONE, REST, TWO], []) == [
        ([CLS, MASK, MASK, TWO, SEP], None, [None, ONE, None, None, None]),
        ([CLS, ONE, MASK, TWO, SEP], None, [None, None, REST, None, None]),
        ([CLS, ONE, REST, MASK, SEP], None, [None, None, None, TWO, None]),
    ]


def test_a_chain_hides_all_that_is_still_to_be_scored() -> None:
    assert pictures(MaskedLM, "chain", [ONE, TWO], [GIVEN]) == [
        ([CLS, GIVEN, MASK, MASK, SEP], None, [None, None, ONE, None, None]),
        ([CLS, GIVEN, ONE, MASK, SEP], None, [None, None, None, TWO, None]),
    ]


def test_all_mask_has_one_mask_for_the_text_and_predicts_it_behind_what_is_given() -> None:
    assert pictures(Denoising, "all_mask", [ONE, TWO], [GIVEN]) == [
        ([BOS, GIVEN, MASK, EOS], [EOS, BOS, GIVEN, ONE], [None, None, ONE, TWO])
    ]
    assert pictures(Denoising, "all_mask", [ONE], []) == [([BOS, MASK, EOS], [EOS, BOS], [None, ONE])]


def test_infill_pll_has_a_mask_for_each_token_in_turn() -> None:
    assert pictures(Denoising, "infill_pll", [ONE, TWO], [GIVEN]) == [
        ([BOS, GIVEN, MASK, TWO, EOS], [EOS, BOS, GIVEN], [None, None, ONE]),
        ([BOS, GIVEN, ONE, MASK, EOS], [EOS, BOS, GIVEN, ONE], [None, None, None, TWO]),
    ]


def test_span_pll_has_a_sentinel_for_each_word_in_turn() -> None:
    assert pictures(SpanCorruption, "span_pll", [ONE, REST, TWO], [GIVEN]) == [
        ([GIVEN, SENTINEL, TWO, EOS], [PAD, SENTINEL, ONE], [None, ONE, REST]),
        ([GIVEN, ONE, REST, SENTINEL, EOS], [PAD, SENTINEL], [None, TWO]),
    ]


def test_one_span_has_a_sentinel_for_the_text() -> None:
    assert pictures(SpanCorruption, "one_span", [ONE, REST, TWO], [GIVEN, ALSO_GIVEN]) == [
        ([GIVEN, ALSO_GIVEN, SENTINEL, EOS], [PAD, SENTINEL, ONE, REST], [None, ONE, REST, TWO])
    ]


def test_the_negative_control_reads_eos_alone() -> None:
    assert pictures(Denoising, "eos_encoder", [ONE, TWO], [GIVEN]) == [
        ([EOS], [EOS, BOS, GIVEN, ONE], [None, None, ONE, TWO])
    ]
    assert pictures(SpanCorruption, "eos_encoder", [ONE, TWO], [GIVEN]) == [
        ([EOS], [PAD, GIVEN, ONE], [None, ONE, TWO])
    ]


@pytest.mark.parametrize(("objective", "name"), WAYS)
def test_every_token_of_the_text_is_scored_once_and_none_of_what_is_given(
    objective: type[Objective], name: str
) -> None:
    rng = np.random.default_rng(0)
    for length, given in ((1, 0), (7, 0), (1, 5), (9, 4)):
        text, prefix = (rng.choice(VOCABULARY.ordinary, size=size).tolist() for size in (length, given))
        labels = [example.labels[objective.token_term] for example in examples(objective, name, text, prefix)]
        assert [token for row in labels for token in row.tolist() if token != IGNORE] == text


@pytest.mark.parametrize(("objective", "name"), WAYS)
def test_each_place_knows_what_it_stands_for(objective: type[Objective], name: str) -> None:
    """Documents are kept apart by it; a position of a decoder beside an encoder stands for what is said there."""
    text, prefix = [ONE, REST, TWO, ONE], [GIVEN, ALSO_GIVEN]
    tokens = np.array([*prefix, *text])
    for example in examples(objective, name, text, prefix):
        read, labels = [(example.encoder_ids, example.encoder_origins)], example.labels[objective.token_term]
        if objective.uses_encoder and objective.uses_decoder:
            assert example.decoder_origins is not None
            is_target = labels != IGNORE
            assert np.array_equal(tokens[example.decoder_origins[is_target]], labels[is_target])
        else:
            read.append((example.decoder_ids, example.decoder_origins))
        for ids, origins in read:
            if ids is not None and origins is not None:
                is_text = ~VOCABULARY.is_special[ids]
                assert np.array_equal(tokens[origins[is_text]], ids[is_text])


def test_the_first_scorer_of_each_family_is_the_protocols_primary_one() -> None:
    first = {family.__name__: next(iter(scorers_of(made(family)))) for family in FAMILIES}
    assert first == {
        "MaskedLM": "pll_word_l2r",
        "CausalLM": "log_likelihood",
        "Denoising": "all_mask",
        "SpanCorruption": "span_pll",
    }


def test_a_control_is_never_the_first() -> None:
    for family in FAMILIES:
        controls = [scorer.is_control for scorer in scorers_of(made(family)).values()]
        assert not controls[0]
        assert any(controls) == (family in (Denoising, SpanCorruption))
