"""Distillation: the published numbers, the teacher that no checkpoint holds, and the laws beside it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from models.presets import TransformerConfig
from objectives.causal_lm import CausalLM
from objectives.core.base import FLOPS_OF_A_STEP, Objective
from objectives.core.noise.masking import choose_rare, rarity
from objectives.masked_lm import MaskedLM
from objectives.mixtures import distillation
from objectives.mixtures.distances import CosineDistance, divergences
from objectives.mixtures.distillation import Distillation
from objectives.mixtures.members import Member
from objectives.mixtures.schedule import Schedule
from objectives.mixtures.teacher import every_other, spread
from objectives.prefix_lm import PrefixLM
from objectives.span_corruption import SpanCorruption
from objectives.start.pretrained import Pretrained
from tests.objectives.contract.contract import some_windows
from tests.objectives.contract.contract_model import (
    a_batch_without_labels_has_no_gradient,
    a_step_lowers_the_loss,
    the_gradient_reaches_every_parameter,
)
from tests.objectives.texts import VOCABULARY, batch_of, built, examples_of, key, made, mean_loss, module_of

Command = Callable[..., list[str]]
ONE_SEGMENT = {"second_segment": "none"}
TEACHER, STUDENT = torch.tensor([[2.0, 1.0, 0.0]]).double(), torch.ones(1, 3).double()


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.266217), (2.0, 0.313684), (4.0, 0.328202), (1e4, 1 / 3)])
def test_the_divergence_of_the_worked_example(temperature: float, expected: float) -> None:
    """N13: with T² before it; without, .078421 at T = 2."""
    found = divergences(TEACHER, STUDENT, temperature)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    assert divergences(TEACHER, STUDENT, 2.0).item() / 4 == pytest.approx(0.078421, abs=1e-6)


def test_the_gradient_of_the_worked_example() -> None:
    """N14: T times the difference of probabilities."""
    student = STUDENT.clone().requires_grad_()
    (found,) = torch.autograd.grad(divergences(TEACHER, student, 2.0).sum(), student)
    assert found[0].tolist() == pytest.approx([-0.34629, 0.05227, 0.29402], abs=1e-5)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn_of_it() -> None:
    """N15."""
    student = TEACHER.clone().requires_grad_()
    loss = divergences(TEACHER, student, 2.0).sum()
    assert loss.item() == 0
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-15
    labels = batch_of(made(CausalLM), some_windows()).labels["next_token"]
    distance = CosineDistance(TEACHER)(3 * TEACHER, lambda x: x, labels, count_correct=True)
    assert distance.loss.item() == pytest.approx(0, abs=1e-15)
    assert distance.correct is not None
    assert math.isnan(distance.correct.item())


def test_rare_tokens_are_hidden_more_often() -> None:
    """N16: weights of tokens that occur 1000, 10, 1 and 0 times; and the shares that are drawn by them."""
    weights = rarity(np.array([1000, 10, 1, 0]), 0.7)
    assert weights == pytest.approx([0.00794, 0.19953, 1, 1], abs=1e-5)
    tokens, counts = np.array([0, 1, 2]), np.array([100, 10, 1])
    everywhere, rng = np.ones(3, dtype=bool), np.random.default_rng(0)
    drawn = np.mean([choose_rare(tokens, everywhere, 1, counts, 0.7, rng) for _ in range(4000)], axis=0)
    assert drawn == pytest.approx(rarity(counts, 0.7) / rarity(counts, 0.7).sum(), abs=0.03)
    assert choose_rare(tokens, everywhere, 5, counts, 0.7, rng).all()
    assert not choose_rare(tokens, np.array([True, False, True]), 2, counts, 0.7, rng)[1]


def test_a_masked_lm_hides_rare_tokens_more_often_and_no_special_ones() -> None:
    windows = some_windows(300, sentences=12)
    counts = windows.token_counts
    assert counts.sum() == windows.num_tokens
    hidden = {}
    for smoothing in (0.0, 0.7):
        objective = made(MaskedLM, **ONE_SEGMENT, smoothing=smoothing)
        corrupt = objective.corruption(VOCABULARY)
        labels = [corrupt(windows[0], key(epoch=n), windows).token_labels for n in range(100)]
        ids = np.concatenate([row[row >= 0] for row in labels])
        assert not VOCABULARY.is_special[ids].any()
        hidden[smoothing] = counts[ids].mean()
    assert hidden[0.7] < 0.95 * hidden[0.0]
    with pytest.raises(UserError, match="unit = word"):
        made(MaskedLM, **ONE_SEGMENT, smoothing=0.7, unit="word")


@pytest.mark.parametrize(
    ("number", "depth", "expected"),
    [(6, 12, [0, 2, 4, 7, 9, 11]), (2, 4, [0, 3]), (3, 3, [0, 1, 2]), (1, 12, [0]), (3, 6, [0, 3, 5])],
)
def test_a_student_begins_with_every_other_layer(number: int, depth: int, expected: list[int]) -> None:
    """Those of the reference are 0, 2, 4, 7, 9 and 11 of twelve."""
    assert spread(number, depth) == expected


# --- beside a teacher in memory ---


def pretrained_of(objective: Objective, **body: Any) -> Pretrained:
    module = built(objective, window=64, seed=7, **body)
    for parameter in module.parameters():  # beyond a first step's, so that it predicts something
        parameter.data.mul_(3)
    return Pretrained(
        origin="the teacher",
        body=module.config,
        num_blocks=module.num_blocks,
        state=dict(module.built.state_dict()),
        sha256="0" * 64,
    )


def student_of(
    monkeypatch: pytest.MonkeyPatch, teacher: Objective, *, layers: int | tuple[int, int] = 4, **settings: Any
) -> Distillation:
    pretrained = pretrained_of(teacher, layers=layers)
    monkeypatch.setattr(distillation, "open_pretrained", lambda where: pretrained)
    path = f"{type(teacher).__module__}.{type(teacher).__name__}"
    own = ONE_SEGMENT if isinstance(teacher, MaskedLM) else {}
    return Distillation(teacher="runs/teacher", objective=path, settings=own, **settings)


TEACHERS = [made(MaskedLM, **ONE_SEGMENT), made(CausalLM), made(PrefixLM), made(SpanCorruption)]
every_teacher = pytest.mark.parametrize("teacher", TEACHERS, ids=lambda one: type(one).__name__)


@every_teacher
@pytest.mark.parametrize(
    "law", [the_gradient_reaches_every_parameter, a_batch_without_labels_has_no_gradient, a_step_lowers_the_loss]
)
def test_a_student_beside_its_teacher_keeps_the_contract(
    monkeypatch: pytest.MonkeyPatch, teacher: Objective, law: Callable[[Any], None]
) -> None:
    law(module_of(student_of(monkeypatch, teacher)))


@every_teacher
def test_the_terms_are_those_of_the_formulas(monkeypatch: pytest.MonkeyPatch, teacher: Objective) -> None:
    """Over every position that is no padding, and the labels; in float64 to 1e-12."""
    student = student_of(monkeypatch, teacher)
    module = built(student, window=64).double().eval()
    batch = batch_of(student, some_windows())
    terms = module.terms(batch, count_correct=True)
    assert terms.keys() == {student.token_term, "distilled", "cosine"}
    network = module.built
    states, theirs = (network.states(batch, role).flatten(0, 1) for role in ("body", "teacher"))
    ids = batch.decoder_ids_BT if student.uses_decoder else batch.encoder_ids_BS
    assert ids is not None
    is_read = (ids != VOCABULARY.pad).flatten()
    is_read[0 :: ids.shape[1]] = True  # a T5 decoder begins with <pad>
    rows = batch.labels["distilled"].positions_N
    assert torch.equal(rows, is_read.nonzero()[:, 0])
    p, q = (
        (network.role(role).logits(one[rows]) / 2).softmax(-1) for role, one in (("teacher", theirs), ("body", states))
    )
    expected = 4 * (p * (p / q).log()).sum(dim=-1)
    torch.testing.assert_close(terms["distilled"].loss_sum, expected.sum(), rtol=1e-12, atol=1e-12)
    assert terms["distilled"].divisor == len(rows)
    torch.testing.assert_close(terms["distilled"].minimised_sum, 5 * expected.sum(), rtol=1e-12, atol=1e-12)
    a, b = states[rows], theirs[rows]
    cosines = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))
    torch.testing.assert_close(terms["cosine"].loss_sum, (1 - cosines).sum(), rtol=1e-10, atol=1e-10)


@every_teacher
def test_without_a_teachers_terms_the_loss_is_that_of_its_objective(
    monkeypatch: pytest.MonkeyPatch, teacher: Objective
) -> None:
    """Bit for bit, over the same windows under the same noise."""
    student = student_of(
        monkeypatch, teacher, hard_weight=1.0, distillation_weight=0.0, cosine_weight=0.0, begin_with_teacher=False
    )
    found = []
    for objective in (student, teacher):
        module = built(objective, window=64).eval()
        loss = mean_loss(module.terms(batch_of(objective, some_windows()), count_correct=False))
        trained = [one for one in module.parameters() if one.requires_grad]
        found.append([loss, *torch.autograd.grad(loss, trained)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_appended_padding_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """N17: a row beside a longer one has the terms that it has alone."""
    student = student_of(monkeypatch, made(MaskedLM, **ONE_SEGMENT))
    module = built(student, window=64).double().eval()
    windows = some_windows()
    pairs = examples_of(student.corruption(VOCABULARY), windows)
    together = module.terms(batch_of(student, windows, [pairs[0], pairs[-1]]), count_correct=False)
    assert len(pairs[-1][0]) < len(pairs[0][0])
    alone = [module.terms(batch_of(student, windows, [pair]), count_correct=False) for pair in (pairs[0], pairs[-1])]
    for name, term in together.items():
        assert term.divisor == sum(one[name].divisor for one in alone)
        apart = torch.stack([one[name].loss_sum for one in alone]).sum()
        torch.testing.assert_close(term.loss_sum, apart, rtol=1e-12, atol=1e-12)


def test_a_teacher_is_frozen_and_no_part_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never drops out, has no gradient, is in no checkpoint, and counts as no parameter."""
    student = student_of(monkeypatch, made(MaskedLM, **ONE_SEGMENT))
    module = built(student, window=64, dropout=0.5)
    alone = built(made(MaskedLM, **ONE_SEGMENT), window=64)
    module.train()
    network = module.built
    assert not any(one.training for one in network.role("teacher").modules())
    assert network.body.training
    assert not any(one.requires_grad for one in network.role("teacher").parameters())
    assert network.state_dict().keys() == alone.built.state_dict().keys()
    assert module.num_parameters == alone.num_parameters == sum(one.numel() for one in alone.parameters())
    assert not network.parameters_beside()
    assert module.frozen == {"teacher": {"origin": "the teacher", "sha256": "0" * 64}}
    mean_loss(module.terms(batch_of(student, some_windows()), count_correct=False)).backward()
    assert all(one.grad is None for one in network.role("teacher").parameters())


def test_flops_count_the_teachers_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is three forward passes of the body and one of the teacher; logits of all positions beside the labels'."""
    student, windows = student_of(monkeypatch, made(MaskedLM, **ONE_SEGMENT)), some_windows()
    network = built(student, window=64).built
    encoder, _, targets = student.mean_lengths(windows, VOCABULARY)
    body = network.flops(encoder=encoder, decoder=0, targets=targets + encoder)
    teacher = network.flops("teacher", encoder=encoder, decoder=0, targets=encoder)
    step = FLOPS_OF_A_STEP * student.flops_per_window(network, windows, VOCABULARY)
    assert step == pytest.approx(3 * body + teacher)
    assert teacher > 0.9 * body


def test_a_teacher_that_nothing_is_compared_with_is_not_run_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of(monkeypatch, made(MaskedLM, **ONE_SEGMENT), distillation_weight=0.0, cosine_weight=0.0)
    module, windows = built(student, window=64), some_windows()
    network = module.built

    monkeypatch.setattr(network.role("teacher"), "forward", lambda *_: pytest.fail("the teacher reads"))
    assert module.terms(batch_of(student, windows), count_correct=False).keys() == {student.token_term}
    encoder, _, targets = student.mean_lengths(windows, VOCABULARY)
    alone = network.flops(encoder=encoder, decoder=0, targets=targets)
    assert student.flops_per_window(network, windows, VOCABULARY) == alone


def test_a_student_takes_its_teachers_layers_and_all_else() -> None:
    teacher = pretrained_of(made(SpanCorruption), layers=(3, 2))
    student = every_other(teacher, (2, 1))
    assert student.num_blocks == (2, 1)
    names = built(made(SpanCorruption), window=64, layers=(2, 1)).built.state_dict().keys()
    assert student.state.keys() == names
    for name, tensor in student.state.items():
        origin = name.replace("encoder.blocks.1", "encoder.blocks.2")
        assert torch.equal(tensor, teacher.state[origin]), name
    with pytest.raises(UserError, match="begin_with_teacher"):
        every_other(teacher, (4, 1))


def test_what_cannot_be_distilled_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    masked = made(MaskedLM, **ONE_SEGMENT)
    with pytest.raises(UserError, match="Dual has losses of its own"):
        Distillation(objective="objectives.mixtures.dual.Dual")
    with pytest.raises(UserError, match="second_segment = next_sentence"):
        Distillation(settings={"second_segment": "next_sentence"})
    with pytest.raises(UserError, match="must be above 0"):
        Distillation(hard_weight=0.0, distillation_weight=0.0, cosine_weight=0.0)
    with pytest.raises(UserError, match="temperature"):
        Distillation(temperature=0.0)
    with pytest.raises(UserError, match="width = 16, and the teacher's is 32"):
        built(student_of(monkeypatch, masked), window=24, width=16)
    built(student_of(monkeypatch, masked, cosine_weight=0.0), window=24, width=16)
    student = student_of(monkeypatch, masked)
    student.uses_encoder, student.uses_decoder = False, True
    with pytest.raises(UserError, match="has an encoder, and MaskedLM reads with a decoder"):
        student.frozen(TransformerConfig(width=32))
    with pytest.raises(UserError, match="teacher = null"):
        Distillation().initial_weights((1, 0))
    members = [Member(objective="objectives.mixtures.distillation.Distillation", share=1.0)]
    with pytest.raises(UserError, match="has a teacher beside the body"):
        made(Schedule, members=members)


@pytest.mark.parametrize(("window", "fits"), [(62, True), (63, False)])
def test_a_window_is_no_longer_than_the_teachers_positions(
    monkeypatch: pytest.MonkeyPatch, window: int, fits: bool
) -> None:
    pretrained = pretrained_of(made(CausalLM), preset="gpt2", layers=2)
    short = dict(pretrained.state)
    name = "body.decoder.embeddings.position_table.weight"
    short[name] = short[name][:62]
    monkeypatch.setattr(distillation, "open_pretrained", lambda where: replace(pretrained, state=short))
    student = Distillation(teacher="x", objective="objectives.causal_lm.CausalLM")
    if fits:
        built(student, window=window, preset="gpt2")
    else:
        with pytest.raises(UserError, match="the teacher knows 62"):
            built(student, window=window, preset="gpt2")
