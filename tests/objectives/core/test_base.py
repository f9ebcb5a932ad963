"""What all objectives share: loss terms that are exact sums, data that suit or are refused."""

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data.stream.batch import IGNORE
from data.stream.loader import CorruptedWindows
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective, Prediction, check_share, term_of
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.helpers import make_windows
from tests.objectives.texts import VOCABULARY, batch_of, examples_of, made

FOUR: list[type[Objective]] = [MaskedLM, CausalLM, Denoising, SpanCorruption]
every_objective = pytest.mark.parametrize("objective_class", FOUR)


def built(objective_class: type[Objective], *, window: int = 32, **body: Any) -> Objective:
    """An objective with its model, in float64."""
    objective = made(objective_class, body=body)
    objective.build(vocab_size=VOCABULARY.size, window=window)
    return objective.double()


# --- loss terms ---


def dense_loss(objective: Objective, pairs: list[Any]) -> Tensor:
    """The sum of cross entropy over one row after the other, unpadded, with a logit for every position and token."""
    assert objective.body is not None
    total = torch.zeros((), dtype=torch.float64)
    for pair in pairs:
        batch = batch_of(objective, make_windows(VOCABULARY, length=32), [pair])
        _, states = objective.run_transformer(batch)
        labels = torch.from_numpy(pair[1].labels[objective.token_term])
        logits = objective.body.logits(states[0])
        total = total + F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total


@every_objective
@pytest.mark.parametrize("preset", ["lab", "bart"])
def test_a_term_is_the_sum_of_cross_entropy_over_all_labels(objective_class: type[Objective], preset: str) -> None:
    """C24: against every row alone, without padding, with logits everywhere, in float64."""
    objective = built(objective_class, preset=preset)
    windows = make_windows(VOCABULARY, length=32, documents=6)
    pairs = examples_of(objective.corruption(VOCABULARY), windows)
    assert len({len(window) for window, _ in pairs}) == 2  # the last one is shorter
    batch = batch_of(objective, windows, pairs)
    term = objective.terms(batch, count_correct=False)[objective.token_term]
    torch.testing.assert_close(term.loss_sum, dense_loss(objective, pairs), rtol=1e-12, atol=0)
    assert term.count == sum(int((example.labels[objective.token_term] != IGNORE).sum()) for _, example in pairs)
    assert term.minimised_sum is term.loss_sum
    assert term.correct is None


@every_objective
def test_a_batch_twice_over_has_twice_the_sums_and_the_same_mean_and_gradient(objective_class: type[Objective]) -> None:
    """C24."""
    objective, windows = built(objective_class), make_windows(VOCABULARY, length=32, documents=6)
    pairs = examples_of(objective.corruption(VOCABULARY), windows)
    once = objective.terms(batch_of(objective, windows, pairs), count_correct=True)
    twice = objective.terms(batch_of(objective, windows, pairs * 2), count_correct=True)
    for name, term in once.items():
        torch.testing.assert_close(twice[name].loss_sum, 2 * term.loss_sum, rtol=1e-12, atol=0)
        assert twice[name].count == 2 * term.count
        assert cast(Tensor, twice[name].correct) == 2 * cast(Tensor, term.correct)
        means = [one.minimised_sum / one.count for one in (term, twice[name])]
        gradients = [
            torch.autograd.grad(mean, list(objective.parameters()), allow_unused=True, retain_graph=True)
            for mean in means
        ]
        for before, after in zip(*gradients, strict=True):
            torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-14)


def test_z_loss_is_minimised_and_not_reported() -> None:
    """C74: 1e-4 · (log Z)² is added to what is minimised, and to nothing else."""
    logits, ids = torch.randn(7, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(7)
    plain = term_of(Prediction(logits, ids), z_loss=0.0, count_correct=False)
    held = term_of(Prediction(logits, ids), z_loss=1e-4, count_correct=False)
    log_z = logits.exp().sum(dim=1).log()
    torch.testing.assert_close(held.minimised_sum - held.loss_sum, 1e-4 * log_z.square().sum(), rtol=1e-9, atol=0)
    assert held.loss_sum == plain.loss_sum == plain.minimised_sum


def test_right_answers_are_counted_where_asked() -> None:
    logits = torch.eye(4)[[0, 1, 2, 2]]
    term = term_of(Prediction(logits, torch.tensor([0, 1, 2, 3])), z_loss=0.0, count_correct=True)
    assert term.correct == 3
    assert term.count == 4


def test_sums_are_taken_in_float32_at_least() -> None:
    logits = torch.randn(4_096, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    ids = torch.zeros(4_096, dtype=torch.long)
    term = term_of(Prediction(logits, ids), z_loss=1e-4, count_correct=False)
    assert term.loss_sum.dtype == term.minimised_sum.dtype == torch.float32
    exact = F.cross_entropy(logits.double(), ids, reduction="sum")
    torch.testing.assert_close(term.loss_sum.double(), exact, rtol=1e-5, atol=0)


def test_a_term_without_labels_is_zero() -> None:
    term = term_of(Prediction(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)), z_loss=1e-4, count_correct=True)
    assert (term.loss_sum, term.minimised_sum, term.count, term.correct) == (0, 0, 0, 0)


@every_objective
def test_predictions_stand_at_labels_alone(objective_class: type[Objective]) -> None:
    objective, windows = built(objective_class), make_windows(VOCABULARY, length=32)
    batch = batch_of(objective, windows)
    for name, prediction in objective.predictions(batch).items():
        assert len(prediction.logits) == len(prediction.ids_N) == len(batch.labels[name].positions_N)
    assert next(iter(objective.predictions(batch))) == objective.token_term


@every_objective
def test_an_untrained_model_stands_at_ln_v(objective_class: type[Objective]) -> None:
    """C31: within 0.05 nats on equal ground, and ln 2 for the next sentence."""
    objective = built(objective_class)
    for name, term in objective.terms(
        batch_of(objective, make_windows(VOCABULARY, length=32)), count_correct=False
    ).items():
        classes = 2 if name == "next_sentence" else VOCABULARY.size
        assert abs(term.loss_sum.item() / term.count - math.log(classes)) < 0.05, name


@every_objective
def test_a_batch_is_learnt_by_heart(objective_class: type[Objective]) -> None:
    """C44: to below 0.01 nats in 300 steps; every answer is right, so greedy decoding says it again."""
    objective, windows = built(objective_class).float(), make_windows(VOCABULARY, length=24, documents=2)
    batch = batch_of(objective, windows)
    optimizer = torch.optim.Adam(objective.parameters(), lr=5e-3)
    for _ in range(300):
        terms = objective.terms(batch, count_correct=True)
        loss = torch.stack([term.minimised_sum / max(term.count, 1) for term in terms.values()]).sum()
        if loss < 0.009:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, term in objective.terms(batch, count_correct=True).items():
        assert term.loss_sum / term.count < 0.01, name
        assert term.correct == term.count


# --- settings and data ---


@pytest.mark.parametrize("z_loss", [-1e-4, math.nan])
def test_an_impossible_z_loss_is_refused(z_loss: float) -> None:
    with pytest.raises(ValueError, match=rf"model\.init_args\.z_loss = {z_loss} must not be negative"):
        made(CausalLM, z_loss=z_loss)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_a_share_lies_between_0_and_1(rate: float) -> None:
    with pytest.raises(ValueError, match=rf"model\.init_args\.some_rate = {rate} must lie in \[0, 1\]"):
        check_share(some_rate=rate)
    check_share(some_rate=0.0, another=1.0)


@every_objective
def test_nothing_but_next_sentence_prediction_asks_anything_of_the_text(objective_class: type[Objective]) -> None:
    windows = make_windows(VOCABULARY, documents=1, sentences=1)
    if objective_class is MaskedLM:
        with pytest.raises(ValueError, match="next-sentence prediction"):
            made(objective_class).check_data(windows)
    else:
        made(objective_class).check_data(windows)


def test_every_objective_reads_the_same_text() -> None:
    """C76: law 1, the tokens of every window in the order in which training reads them, over two epochs."""
    windows = make_windows(VOCABULARY, length=16, documents=8)
    positions = list(range(2 * len(windows)))
    texts = []
    for objective_class in FOUR:
        examples = CorruptedWindows(windows, made(objective_class).corruption(VOCABULARY), seed=3)
        texts.append([window.tokens.tolist() for window, _ in examples.__getitems__(positions)])
    assert all(text == texts[0] for text in texts)
    assert texts[0][: len(windows)] != texts[0][len(windows) :]


@pytest.fixture
def run_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives an objective the data of a run."""

    def run(objective_class: type[Objective]) -> Objective:
        windows = make_windows(VOCABULARY, length=32, documents=12)
        windows.store.unigram_entropy = 5.5  # type: ignore[attr-defined]
        data = SimpleNamespace(
            training_windows=windows, held_out_windows=windows, vocabulary=VOCABULARY, batch_size=4, window=32
        )
        monkeypatch.setattr(objective_class, "data", data)
        return built(objective_class)

    return run


@every_objective
def test_a_loss_is_read_by_ln_v_and_the_entropy_of_the_frequencies(
    objective_class: type[Objective], run_of: Any
) -> None:
    references = run_of(objective_class).references()
    assert references == {"ln_vocabulary": math.log(VOCABULARY.size), "unigram_entropy": 5.5}


@every_objective
def test_mean_lengths_are_those_of_the_first_windows(objective_class: type[Objective], run_of: Any) -> None:
    objective = run_of(objective_class)
    encoder, decoder, targets = objective.mean_lengths
    max_lengths = objective.max_lengths(32)
    assert (encoder > 0, decoder > 0) == (objective_class.uses_encoder, objective_class.uses_decoder)
    assert encoder <= max_lengths.encoder
    assert decoder <= max_lengths.decoder
    assert 0.7 * max_lengths.targets < targets <= max_lengths.targets


@every_objective
def test_a_step_costs_all_raw_tokens_and_three_forward_passes(objective_class: type[Objective], run_of: Any) -> None:
    objective = run_of(objective_class)
    windows = objective.data.training_windows
    tokens, targets, flops, epochs = objective.step_cost()
    assert epochs == pytest.approx(4 / len(windows))
    assert tokens == pytest.approx(4 * windows.num_tokens / len(windows))
    assert targets == pytest.approx(4 * objective.mean_lengths[2])
    assert flops == pytest.approx(3 * 4 * objective.flops_per_window())  # one forward, and two for the backward pass
    dense = 2 * sum(parameter.numel() for name, parameter in objective.named_parameters() if "blocks" in name)
    assert flops > 0.5 * dense * 3 * 4 * min(length for length in objective.mean_lengths if length)
