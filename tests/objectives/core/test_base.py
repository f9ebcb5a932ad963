"""What all objectives share: loss terms that are exact sums, data that suit or are refused."""

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data.stream.batch import IGNORE, Labels
from data.stream.loader import CorruptedWindows
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective, check_share
from objectives.core.predictions import CrossEntropy, LossSums, Prediction, term_of
from objectives.core.pretraining import Pretraining
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.helpers import make_windows
from tests.objectives.texts import VOCABULARY, batch_of, built, examples_of, made, mean_loss

FOUR: list[type[Objective]] = [MaskedLM, CausalLM, Denoising, SpanCorruption]
every_objective = pytest.mark.parametrize("objective_class", FOUR)


def in_float64(objective_class: type[Objective], **body: Any) -> Pretraining:
    """What trains an objective, with its network."""
    return built(made(objective_class), window=32, **body).double()


# --- loss terms ---


def dense_loss(module: Pretraining, pairs: list[Any]) -> Tensor:
    """The sum of cross entropy over one row after the other, unpadded, with a logit for every position and token."""
    network = module.built
    total = torch.zeros((), dtype=torch.float64)
    for pair in pairs:
        batch = batch_of(module.objective, make_windows(VOCABULARY, length=32), [pair])
        logits = network.body.logits(network.states(batch)[0])
        labels = torch.from_numpy(pair[1].token_labels)
        total = total + F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total


@every_objective
@pytest.mark.parametrize("preset", ["lab", "bart"])
def test_a_term_is_the_sum_of_cross_entropy_over_all_labels(objective_class: type[Objective], preset: str) -> None:
    """C24: against every row alone, without padding, with logits everywhere, in float64."""
    module = in_float64(objective_class, preset=preset)
    objective = module.objective
    windows = make_windows(VOCABULARY, length=32, documents=6)
    pairs = examples_of(objective.corruption(VOCABULARY), windows)
    assert len({len(window) for window, _ in pairs}) == 2  # the last one is shorter
    batch = batch_of(objective, windows, pairs)
    term = module.terms(batch, count_correct=False)[objective.token_term]
    torch.testing.assert_close(term.loss_sum, dense_loss(module, pairs), rtol=1e-12, atol=0)
    assert term.divisor == term.num_labels == sum(int((one.token_labels != IGNORE).sum()) for _, one in pairs)
    assert term.minimised_sum is term.loss_sum
    assert term.correct is None


@every_objective
def test_a_batch_twice_over_has_twice_the_sums_and_the_same_mean_and_gradient(objective_class: type[Objective]) -> None:
    """C24."""
    module, windows = in_float64(objective_class), make_windows(VOCABULARY, length=32, documents=6)
    objective = module.objective
    pairs = examples_of(objective.corruption(VOCABULARY), windows)
    once = module.terms(batch_of(objective, windows, pairs), count_correct=True)
    twice = module.terms(batch_of(objective, windows, pairs * 2), count_correct=True)
    for name, term in once.items():
        torch.testing.assert_close(twice[name].loss_sum, 2 * term.loss_sum, rtol=1e-12, atol=0)
        assert twice[name].divisor == 2 * term.divisor
        assert cast(Tensor, twice[name].correct) == 2 * cast(Tensor, term.correct)
        means = [one.minimised_sum / one.divisor for one in (term, twice[name])]
        gradients = [
            torch.autograd.grad(mean, list(module.parameters()), allow_unused=True, retain_graph=True) for mean in means
        ]
        for before, after in zip(*gradients, strict=True):
            torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-14)


def of_logits(logits_NV: Tensor, ids_N: Tensor, *, z_loss: float = 0.0, weight: float = 1.0) -> Prediction:
    """A prediction whose states are its logits."""
    labels = Labels(torch.arange(len(ids_N)), ids_N, divisor=float(len(ids_N)))
    return Prediction(logits_NV, lambda states: states, labels, loss=CrossEntropy(z_loss), weight=weight)


def test_z_loss_is_minimised_and_not_reported() -> None:
    """C74: 1e-4 · (log Z)² is added to what is minimised, and to nothing else."""
    logits, ids = torch.randn(7, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(7)
    plain = term_of(of_logits(logits, ids), count_correct=False)
    held = term_of(of_logits(logits, ids, z_loss=1e-4), count_correct=False)
    log_z = logits.exp().sum(dim=1).log()
    torch.testing.assert_close(held.minimised_sum - held.loss_sum, 1e-4 * log_z.square().sum(), rtol=1e-9, atol=0)
    assert held.loss_sum == plain.loss_sum == plain.minimised_sum


def test_a_weight_of_a_term_changes_what_is_minimised_alone() -> None:
    logits, ids = torch.eye(4, dtype=torch.float64), torch.arange(4)
    plain, half = (term_of(of_logits(logits, ids, weight=weight), count_correct=False) for weight in (1.0, 0.5))
    assert half.loss_sum == plain.loss_sum
    assert half.minimised_sum == plain.minimised_sum / 2


def test_weights_of_labels_weigh_their_losses() -> None:
    logits, ids = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.arange(5)
    weights = torch.tensor([0.0, 1.0, 2.5, 0.5, 3.0])
    labels = Labels(torch.arange(5), ids, divisor=40.0, weights_N=weights)
    term = term_of(Prediction(logits, lambda states: states, labels), count_correct=True)
    expected = sum(
        float(w) * float(F.cross_entropy(row[None], i[None])) for w, row, i in zip(weights, logits, ids, strict=True)
    )
    assert float(term.loss_sum) == pytest.approx(expected, abs=1e-12)
    assert (term.divisor, term.num_labels) == (40.0, 5)


def test_correct_predictions_are_counted_where_requested() -> None:
    logits = torch.eye(4)[[0, 1, 2, 2]]
    term = term_of(of_logits(logits, torch.tensor([0, 1, 2, 3])), count_correct=True)
    assert term.correct == 3
    assert term.num_labels == 4


def test_sums_are_taken_in_float32_at_least() -> None:
    logits = torch.randn(4_096, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    ids = torch.zeros(4_096, dtype=torch.long)
    term = term_of(of_logits(logits, ids, z_loss=1e-4), count_correct=False)
    assert term.loss_sum.dtype == term.minimised_sum.dtype == torch.float32
    exact = F.cross_entropy(logits.double(), ids, reduction="sum")
    torch.testing.assert_close(term.loss_sum.double(), exact, rtol=1e-5, atol=0)


def test_a_term_without_labels_is_zero() -> None:
    term = term_of(of_logits(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long), z_loss=1e-4), count_correct=True)
    assert (term.loss_sum, term.minimised_sum, term.divisor, term.correct) == (0, 0, 0, 0)


class SoftTargets:
    """Kullback-Leibler divergence from a teacher's probabilities, in chunks: never all logits at once."""

    def __init__(self, teacher_NV: Tensor, chunk: int) -> None:
        self.teacher_NV, self.chunk = teacher_NV, chunk

    def __call__(self, states_ND: Tensor, head: Any, labels: Labels, *, count_correct: bool) -> LossSums:
        parts = zip(states_ND.split(self.chunk), self.teacher_NV.split(self.chunk), strict=True)
        loss = torch.stack(
            [F.kl_div(head(states).log_softmax(dim=-1), teacher, reduction="sum") for states, teacher in parts]
        ).sum()
        return LossSums(loss, loss)


def test_a_loss_decides_how_many_logits_there_are() -> None:
    """Soft targets, chunk by chunk, come to what they are at once."""
    torch.manual_seed(0)
    states, head = torch.randn(10, 6, dtype=torch.float64), torch.nn.Linear(6, 9).double()
    teacher = torch.randn(10, 9, dtype=torch.float64).softmax(dim=-1)
    labels = Labels(torch.arange(10), torch.zeros(10, dtype=torch.long), divisor=10.0)
    term = term_of(Prediction(states, head, labels, loss=SoftTargets(teacher, chunk=3)), count_correct=True)
    expected = F.kl_div(head(states).log_softmax(dim=-1), teacher, reduction="sum")
    torch.testing.assert_close(term.loss_sum, expected, rtol=1e-12, atol=0)
    assert term.correct is None


@every_objective
def test_predictions_stand_at_labels_alone(objective_class: type[Objective]) -> None:
    module, windows = in_float64(objective_class), make_windows(VOCABULARY, length=32)
    batch = batch_of(module.objective, windows)
    predictions = module.objective.predictions(module.built, batch)
    for name, prediction in predictions.items():
        assert prediction.labels is batch.labels[name]
        assert len(prediction.states_ND) == len(batch.labels[name].positions_N)
    assert batch.token_term == module.objective.token_term
    assert predictions.keys() == batch.labels.keys()


@every_objective
def test_an_untrained_model_stands_at_ln_v(objective_class: type[Objective]) -> None:
    """C31: within 0.05 nats on equal ground, and ln 2 for the next sentence."""
    module = in_float64(objective_class)
    batch = batch_of(module.objective, make_windows(VOCABULARY, length=32))
    for name, term in module.terms(batch, count_correct=False).items():
        classes = 2 if name == "next_sentence" else VOCABULARY.size
        assert abs(term.loss_sum.item() / term.divisor - math.log(classes)) < 0.05, name


@pytest.mark.parametrize(
    "objective_class",
    [*(MaskedLM, SpanCorruption), *(pytest.param(one, marks=pytest.mark.slow) for one in (CausalLM, Denoising))],
)
def test_a_batch_is_learnt_by_heart(objective_class: type[Objective]) -> None:
    """C44: to below 0.01 nats in 300 steps; every prediction is correct, so greedy decoding repeats it."""
    module, windows = in_float64(objective_class).float(), make_windows(VOCABULARY, length=24, documents=2, sentences=4)
    batch = batch_of(module.objective, windows)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(300):
        loss = mean_loss(module.terms(batch, count_correct=True))
        if loss < 0.009:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, term in module.terms(batch, count_correct=True).items():
        assert term.loss_sum / term.divisor < 0.01, name
        assert term.correct == term.num_labels


# --- settings and data ---


@pytest.mark.parametrize("z_loss", [-1e-4, math.nan])
def test_an_impossible_z_loss_is_refused(z_loss: float) -> None:
    with pytest.raises(ValueError, match=rf"model\.init_args\.z_loss = {z_loss} must lie in \[0, 1\]"):
        made(CausalLM, z_loss=z_loss)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_a_share_lies_between_0_and_1(rate: float) -> None:
    with pytest.raises(ValueError, match=rf"model\.init_args\.some_rate = {rate} must lie in \[0, 1\]"):
        check_share(some_rate=rate)
    check_share(some_rate=0.0, another=1.0)


@every_objective
def test_nothing_but_next_sentence_prediction_needs_anything_of_the_text(objective_class: type[Objective]) -> None:
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
    """Gives what trains an objective the data of a run."""

    def run(objective_class: type[Objective]) -> Pretraining:
        windows = make_windows(VOCABULARY, length=32, documents=12)
        windows.store.unigram_entropy = 5.5  # type: ignore[attr-defined]
        data = SimpleNamespace(
            training_windows=windows, held_out_windows=windows, vocabulary=VOCABULARY, batch_size=4, window=32
        )
        monkeypatch.setattr(Pretraining, "data", data)
        return in_float64(objective_class)

    return run


@every_objective
def test_a_loss_is_read_by_ln_v_and_the_entropy_of_the_frequencies(
    objective_class: type[Objective], run_of: Any
) -> None:
    references = run_of(objective_class).references()
    assert references == {"ln_vocabulary": math.log(VOCABULARY.size), "unigram_entropy": 5.5}


@every_objective
def test_mean_lengths_are_those_of_the_first_windows(objective_class: type[Objective], run_of: Any) -> None:
    module = run_of(objective_class)
    encoder, decoder, targets = module.mean_lengths
    max_lengths = module.objective.max_lengths(32)
    assert (encoder > 0, decoder > 0) == (objective_class.uses_encoder, objective_class.uses_decoder)
    assert encoder <= max_lengths.encoder
    assert decoder <= max_lengths.decoder
    assert 0.7 * max_lengths.targets < targets <= max_lengths.targets


@every_objective
def test_a_step_costs_all_raw_tokens_and_three_forward_passes(objective_class: type[Objective], run_of: Any) -> None:
    module = run_of(objective_class)
    windows = module.data.training_windows
    tokens, targets, flops, epochs = module.step_cost()
    assert epochs == pytest.approx(4 / len(windows))
    assert tokens == pytest.approx(4 * windows.num_tokens / len(windows))
    assert targets == pytest.approx(4 * module.mean_lengths[2])
    assert flops == pytest.approx(3 * 4 * module.flops_per_window)  # one forward, and two for the backward pass
    dense = 2 * sum(parameter.numel() for name, parameter in module.named_parameters() if "blocks" in name)
    assert flops > 0.5 * dense * 3 * 4 * min(length for length in module.mean_lengths if length)
