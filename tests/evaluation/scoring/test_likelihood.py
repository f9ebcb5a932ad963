"""The acceptance tests of scores: each against the training loss, or against a loop that does one thing at a time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.stream.batch import IGNORE, Example, MaxLengths
from data.tokens.tokenizer import Vocabulary
from evaluation.scoring.likelihood import PrefixedTokens, Row, side_by_side
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.predictions import term_of
from objectives.core.strategy import InferenceStrategy, Scorer
from objectives.inference.likelihood import document, joined, predicted_after, special, whole, within
from objectives.masked_lm import MaskedLM
from objectives.weights.load import TrainedRun
from tests.evaluation.scorers import (
    FAMILIES,
    NORMALISED,
    WAYS,
    WINDOW,
    likelihoods,
    run_of,
    scorer_of,
    some_texts,
    tokens,
)
from tests.evaluation.statistics.naive import NAIVE, log_probabilities, naive_causal, naive_score
from tests.helpers import make_vocabulary
from tests.objectives.texts import BOS, EOS, FIRST, VOCABULARY, key

FEW_IDS = replace(
    make_vocabulary(),
    size=12,
    sentinels=np.array([7]),
    is_special=np.arange(12) < 8,
    begins_word=np.arange(12) >= 8,
    ends_word=np.zeros(12, dtype=bool),
)


@pytest.mark.parametrize(("objective", "name"), WAYS)
def test_a_score_is_that_of_a_loop_over_one_token_at_a_time(objective: type[Objective], name: str) -> None:
    run, texts = run_of(objective), some_texts()
    found = likelihoods(run, name, texts).log_likelihoods
    naive = [NAIVE[objective, name](run, prefix.tolist(), text.tolist()) for text, prefix in texts]
    assert found == pytest.approx(naive, rel=1e-10)


@pytest.mark.parametrize("settings", [{}, {"keep_documents_apart": True}, {"body": {"preset": "gpt2"}}], ids=str)
def test_the_score_of_a_causal_lm_is_the_loss_of_its_training(settings: dict[str, Any]) -> None:
    run = run_of(CausalLM, **settings)
    corrupt = run.objective.corruption(VOCABULARY)
    for text, _ in some_texts(with_prefix=False):
        window = document(text, EOS)
        batch = run.batch([window], [corrupt(window, key(), None)])  # pyright: ignore[reportArgumentType]
        (prediction,) = run.objective.predictions(run.network, batch).values()
        term = term_of(prediction, count_correct=False)
        found = likelihoods(run, "log_likelihood", [PrefixedTokens(text, text[:0])])
        assert found.log_likelihoods[0] == pytest.approx(-float(term.loss_sum), rel=1e-10)
        assert found.tokens[0] == term.num_labels


@pytest.mark.parametrize(("objective", "name"), WAYS)
def test_neither_batches_nor_padding_nor_order_change_a_score(objective: type[Objective], name: str) -> None:
    run, texts = run_of(objective), some_texts()
    found = likelihoods(run, name, texts)  # all at once
    for positions in (1, 100):
        again = likelihoods(run, name, texts, positions_at_once=positions)
        assert again.log_likelihoods == pytest.approx(found.log_likelihoods, rel=1e-10)
        assert np.array_equal(again.are_likeliest, found.are_likeliest)
    turned = likelihoods(run, name, texts[::-1])
    assert turned.log_likelihoods[::-1] == pytest.approx(found.log_likelihoods, rel=1e-10)
    assert np.array_equal(turned.tokens[::-1], found.tokens)


@pytest.mark.parametrize("objective", FAMILIES)
def test_in_float32_they_change_it_by_a_hundred_thousandth_at_most(objective: type[Objective]) -> None:
    run, texts = run_of(objective), some_texts()
    run.network.float()
    for name in run.scorers:
        found = likelihoods(run, name, texts, positions_at_once=1).log_likelihoods
        assert likelihoods(run, name, texts).log_likelihoods == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("objective", FAMILIES)
def test_in_bfloat16_a_score_is_about_the_same(objective: type[Objective]) -> None:
    run, texts = run_of(objective), some_texts(20)
    run.network.float()
    name = next(iter(run.scorers))
    exact, rough = (likelihoods(run, name, texts, precision=p).log_likelihoods for p in ("float32", "bfloat16"))
    assert not np.array_equal(exact, rough)
    assert rough == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(("objective", "name"), NORMALISED)
def test_probabilities_of_all_that_may_follow_sum_to_1(objective: type[Objective], name: str) -> None:
    """Of one token, and of two: with so few ids all texts can be scored."""
    run = run_of(objective, vocabulary=FEW_IDS)
    prefix, ids = [8, 10], range(FEW_IDS.size)
    following = [tokens([one], prefix) for one in ids]
    assert np.exp(likelihoods(run, name, following).log_likelihoods).sum() == pytest.approx(1, rel=1e-10)
    following = [tokens([one, other], prefix) for one in ids for other in ids]
    assert np.exp(likelihoods(run, name, following).log_likelihoods).sum() == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize(("objective", "name"), [way for way in NORMALISED if way[0] is CausalLM])
def test_what_follows_is_as_likely_in_pieces_as_in_one(objective: type[Objective], name: str) -> None:
    run = run_of(objective)
    one, other, rest = [FIRST, FIRST + 7], [FIRST + 3], [FIRST + 11, FIRST + 1]
    found = likelihoods(run, name, [tokens([*other, *rest], one), tokens(other, one), tokens(rest, [*one, *other])])
    assert found.log_likelihoods[0] == pytest.approx(found.log_likelihoods[1:].sum(), rel=1e-12)


@pytest.mark.parametrize(("objective", "name"), NORMALISED)
def test_what_is_generated_later_changes_nothing_of_what_was(objective: type[Objective], name: str) -> None:
    """A label's inputs hold none of the labels behind it."""
    run = run_of(objective)
    texts = [[FIRST, FIRST + 3, last] for last in (FIRST + 4, FIRST + 9)]
    generated = [scorer_of(run, name).examples(*(np.array(ids) for ids in ([FIRST + 1], text))) for text in texts]
    for one, other in zip(*generated, strict=True):
        places = np.flatnonzero(one.token_labels != IGNORE)
        stacks = [(one.encoder_ids, other.encoder_ids, None), (one.decoder_ids, other.decoder_ids, places[-1] + 1)]
        for here, there, end in stacks:
            if here is not None and there is not None:
                assert here[:end].tolist() == there[:end].tolist()


def test_the_likeliest_continuation_is_known_as_such() -> None:
    run = run_of(CausalLM)
    prefix, generated = [FIRST, FIRST + 5], []
    for _ in range(4):
        generated.append(int(log_probabilities(run, None, [EOS, *prefix, *generated])[-1].argmax()))
    wrong = [*generated[:2], generated[2] ^ 1, generated[3]]
    found = likelihoods(run, "log_likelihood", [tokens(generated, prefix), tokens(wrong, prefix)])
    assert found.are_likeliest.tolist() == [True, False]


def test_a_text_of_no_tokens_is_certain() -> None:
    for objective in FAMILIES:
        run = run_of(objective)
        for name in run.scorers:
            found = likelihoods(run, name, [tokens([], [FIRST]), tokens([FIRST])])
            assert (found.log_likelihoods[0], found.tokens.tolist()) == (0, [0, 1])


@pytest.mark.parametrize("objective", FAMILIES)
def test_what_stands_before_loses_its_beginning_where_it_is_too_long(objective: type[Objective]) -> None:
    run, scorer = run_of(objective), next(iter(run_of(objective).scorers))
    prefix = np.random.default_rng(0).choice(VOCABULARY.ordinary, size=3 * WINDOW).tolist()
    text = [FIRST, FIRST + 2, FIRST + 5]
    long = likelihoods(run, scorer, [tokens(text, prefix)])
    fits = max(n for n in range(99) if _longest(run, scorer, text, prefix[-n:] if n else []) <= run.max_positions)
    short = likelihoods(run, scorer, [tokens(text, prefix[-fits:])])
    assert long.log_likelihoods == short.log_likelihoods
    assert (long.are_longer.tolist(), short.are_longer.tolist()) == ([True], [False])


def _longest(run: TrainedRun, name: str, text: list[int], prefix: list[int]) -> int:
    examples = scorer_of(run, name).examples(np.array(prefix, dtype=np.int64), np.array(text))
    return max(len(ids) for e in examples for ids in (e.encoder_ids, e.decoder_ids) if ids is not None)


def test_a_text_longer_than_the_position_table_is_refused() -> None:
    run = run_of(CausalLM, body={"preset": "gpt2"})
    with pytest.raises(ValueError, match=r"text 2 of 41 tokens takes 41 positions, and .* has 40: shorten it"):
        likelihoods(run, "log_likelihood", [tokens([FIRST] * 40), tokens([FIRST] * 41)])


def test_a_text_is_read_as_far_as_rotary_positions_go() -> None:
    run = run_of(CausalLM)
    text = some_texts(8, with_prefix=False)
    long = np.concatenate([tokens.text for tokens in text] * 2)
    found = likelihoods(run, "log_likelihood", [PrefixedTokens(long, long[:0])])
    assert len(long) > WINDOW
    assert found.log_likelihoods[0] == pytest.approx(naive_causal(run, [], long.tolist()), rel=1e-10)
    assert found.are_longer.all()


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ({3: 200, 9: 100}, [[3] * 200, [9] * 100]),  # neither is padded
        ({3: 10, 5: 1, 9: 10}, [[3] * 10 + [5] + [9] * 10]),  # too few to be batches of their own
        ({8: 300}, [[8] * 128, [8] * 128, [8] * 44]),  # as many positions as a batch may have
        ({2000: 1, 3: 1}, [[3], [2000]]),  # one row may have more
    ],
    ids=str,
)
def test_rows_of_different_lengths_share_a_batch_only_where_they_are_few(
    lengths: dict[int, int], batches: list[list[int]]
) -> None:
    scorer = scorer_of(run_of(CausalLM), "log_likelihood")
    rows = []
    for length in [length for length, count in lengths.items() for _ in range(count)]:
        ids = np.full(length, FIRST)
        (example,) = scorer.examples(ids[:0], ids)
        rows.append(Row(len(rows), document(ids, EOS), example))
    np.random.default_rng(0).shuffle(rows)  # pyright: ignore[reportArgumentType]
    found = list(side_by_side(rows, "next_token", positions=1024, labels=10_000))
    assert [[sum(row.shape) for row in batch] for batch in found] == batches
    assert sorted(row.owner for batch in found for row in batch) == list(range(len(rows)))
    few_labels = side_by_side(rows, "next_token", positions=1024, labels=100)
    assert all(sum(row.shape[0] for row in batch) <= 100 or len(batch) == 1 for batch in few_labels)


def test_progress_counts_every_text() -> None:
    run, progress = run_of(MaskedLM), []
    likelihoods(run, "pll", some_texts(30), positions_at_once=100, advance=progress.append)
    assert len(progress) > 1
    assert sum(progress) == pytest.approx(30)


def test_an_objective_without_scorers_says_so() -> None:
    with pytest.raises(ValueError, match="Mute scores no texts: it names no inference strategy"):
        _ = run_of(Mute).scorers


class ContinuePrefix(InferenceStrategy):
    """A strategy of its own: the encoder reads the beginning, and the decoder predicts the end."""

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        def examples(prefix: np.ndarray, text: np.ndarray) -> list[Example]:
            tokens, cut = whole(prefix, text), len(prefix)
            source = joined(within(tokens, 0, cut), special(vocabulary.eos))
            return [predicted_after(source, special(vocabulary.bos), within(tokens, cut), term=objective.token_term)]

        return {"suffix": Scorer(examples=examples, is_normalised=True)}


class Mute(Objective):
    """A fifth objective, which nothing here knows."""

    uses_encoder, uses_decoder, token_term = True, True, "suffix"

    def corrupt(self, *args: Any, **kwargs: Any) -> Example:
        raise NotImplementedError

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=window + 1, decoder=window + 1, targets=window + 1)


class PrefixLM(Mute):
    inference = ContinuePrefix()


def test_a_fifth_objective_is_scored_once_it_names_a_strategy() -> None:
    run, texts = run_of(PrefixLM), some_texts()
    found = likelihoods(run, "suffix", texts).log_likelihoods
    naive = [naive_score(run, [*prefix.tolist(), EOS], [BOS], text.tolist()) for text, prefix in texts]
    assert found == pytest.approx(naive, rel=1e-10)
