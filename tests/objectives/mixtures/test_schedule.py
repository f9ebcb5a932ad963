"""Schedules: objectives one after another or mixed, on one set of weights; each is what it is alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from data.stream.batch import Batch
from data.stream.mixture import MixedBatch
from data.stream.windows import Windows
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.masked_lm import MaskedLM
from objectives.mixtures.schedule import Schedule
from objectives.weights.load import load_run
from tests.helpers import OBJECTIVES, make_cli, metrics_of, several_processes, shared, train_in_process, weights_of
from tests.objectives.contract.contract import some_windows
from tests.objectives.mixtures.schedules import CAUSAL, DENOISING, MASKED, PATHS, SPANS, config_of, member, schedule
from tests.objectives.texts import batch_of, built, made, mean_loss
from tests.training.stopped import At, Killed, assert_same_run, assert_same_state, killed
from training.session import train
from training.storage.checkpoint import checkpoints_in, read_checkpoint

Command = Callable[..., list[str]]
MIXED: dict[str, Any] = {"order": "mixed"}
DOUBLE = ("--trainer.precision", "64-true", "--data.window", "12")


# --- each is what it is alone ---


SLOW = pytest.mark.slow


@pytest.mark.parametrize("order", ["stages", pytest.param("mixed", marks=SLOW)])
@pytest.mark.parametrize("name", ["masked_lm", *(pytest.param(name, marks=SLOW) for name in OBJECTIVES[1:])])
def test_a_schedule_of_one_is_that_objective_bit_by_bit(
    tiny_run: Command, tmp_path: Path, name: str, order: str
) -> None:
    """Weights, moments, counters and every loss, with dropout; only the curves have a longer name."""
    steps = ("--budget.steps", "4", "--body.dropout", "0.1", "--data.micro_batch_size", "4")
    one = config_of(tmp_path / "one.yaml", member(PATHS[name], 1.0), order=order)
    assert train_in_process(tiny_run(name, "alone", *steps)) == 0
    assert train_in_process(tiny_run("masked_lm", "scheduled", *one, *steps)) == 0
    runs = [tmp_path / f"runs/{run}" for run in ("scheduled", "alone")]
    found, expected = (read_checkpoint(checkpoints_in(run / "checkpoints")[0]) for run in runs)
    for state in (found, expected):
        del state["progress"]["sums"]
    for kept in (kept for kept in found["callbacks"].values() if "best" in kept):
        kept["best"] = {key.replace(f"/{name}/", "/"): value for key, value in kept["best"].items()}
    assert_same_state(found, expected)
    renamed = [{key.replace(f"/{name}/", "/"): value for key, value in row.items()} for row in metrics_of(runs[0])]
    assert renamed == metrics_of(runs[1])


def test_the_first_stage_is_its_objective_alone_and_flops_are_those_of_all_stages(
    tiny_run: Command, tmp_path: Path
) -> None:
    """On float64; the share of 0.5 ends it behind step 4."""
    steps = ("--budget.steps", "8", *DOUBLE)
    two = config_of(tmp_path / "two.yaml", member(DENOISING), member(SPANS))
    assert train_in_process(tiny_run("masked_lm", "both", *two, *steps)) == 0
    for name in ("denoising", "span_corruption"):
        assert train_in_process(tiny_run(name, name, *steps)) == 0
    logged = [row for row in metrics_of(tmp_path / "runs/both") if row["train/loss"]]
    alone = [row for row in metrics_of(tmp_path / "runs/denoising") if row["train/loss"]]
    for place, (row, expected) in enumerate(zip(logged, alone, strict=True)):
        if place < 2:
            assert (row["train/loss"], row["train/denoising/token"]) == (expected["train/loss"],) * 2
            assert row["train/gradient_norm"] == expected["train/gradient_norm"]
            assert row["target_tokens"] == expected["target_tokens"]
            assert not row["train/span_corruption/span"]
        else:
            assert row["train/span_corruption/span"]
            assert not row["train/denoising/token"]
        assert row["raw_tokens"] == expected["raw_tokens"]
        assert row["train/learning_rate"] == expected["train/learning_rate"]
    flops = {
        name: json.loads((tmp_path / f"runs/{name}/run.json").read_text(encoding="utf-8"))["flops_per_step"]
        for name in ("both", "denoising", "span_corruption")
    }
    assert flops["both"] == pytest.approx((flops["denoising"] + flops["span_corruption"]) / 2, rel=1e-12)
    hashes = {
        json.loads((tmp_path / f"runs/{name}/summary.json").read_text(encoding="utf-8"))["windows_sha256"]
        for name in ("both", "denoising")
    }
    assert len(hashes) == 1


def in_float64(objective: Objective) -> Pretraining:
    return built(objective, window=24).double().eval()


def moved(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(f".{old}.", f".{new}."): value for name, value in state.items()}


def mixed_batch(parts: dict[str, Batch], windows: Windows) -> MixedBatch:
    return MixedBatch(parts=parts, indices=list(range(len(windows))), raw_tokens=windows.num_tokens)


@pytest.mark.parametrize("document_masking", [False, True])
@pytest.mark.parametrize("last", ["causal_lm", "masked_lm"])
def test_one_stack_is_both_models_with_the_same_weights(last: str, document_masking: bool) -> None:
    """Losses and gradients, times the share, are those of the two models that have these weights."""
    apart = {"keep_documents_apart": document_masking}
    members = [member(CAUSAL, 0.25), member(MASKED, 0.75, next_sentence=False)]
    both = in_float64(schedule(*(members if last == "masked_lm" else members[::-1]), **apart, **MIXED))
    causal, masked = in_float64(made(CausalLM, **apart)), in_float64(made(MaskedLM, next_sentence=False, **apart))
    own, stacks = both.state_dict(), {"causal_lm": "decoder", "masked_lm": "encoder"}
    causal.load_state_dict(moved(own, stacks[last], "decoder"))
    masked.load_state_dict(moved(own, stacks[last], "encoder"))
    windows = some_windows()
    parts = {"causal_lm": batch_of(causal.objective, windows), "masked_lm": batch_of(masked.objective, windows)}
    terms = both.terms(mixed_batch(parts, windows), count_correct=True)
    losses = []
    for name, alone, share in (("causal_lm", causal, 0.25), ("masked_lm", masked, 0.75)):
        (expected,) = alone.terms(parts[name], count_correct=True).values()
        found = terms[f"{name}/{alone.objective.token_term}"]
        assert (found.divisor, found.loss_sum) == (expected.divisor, expected.loss_sum)
        assert found.correct == expected.correct
        losses.append(share * expected.minimised_sum / expected.divisor)
    torch.stack(losses).sum().backward()
    mean_loss(terms).backward()
    apart = dict(causal.named_parameters())
    for name, parameter in masked.named_parameters():
        other = apart[name.replace(".encoder.", ".decoder.")]
        assert parameter.grad is not None
        assert other.grad is not None
        mine = dict(both.named_parameters())[name.replace(".encoder.", f".{stacks[last]}.")].grad
        torch.testing.assert_close(mine, parameter.grad + other.grad, rtol=1e-10, atol=1e-14)


def test_members_with_a_head_of_one_name_share_it() -> None:
    much, little = {**member(MASKED, 0.5, noise_density=0.4), "name": "much"}, {**member(MASKED), "name": "little"}
    both, alone = in_float64(schedule(much, little, **MIXED)), in_float64(MaskedLM())
    assert [name for name, _ in both.built.named_children()] == ["body", "next_sentence_head"]
    assert both.state_dict().keys() == alone.state_dict().keys()
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in both.state_dict().items())


# --- the laws of a run ---


def relative_error(run: Path, reference: Path) -> float:
    found, expected = weights_of(run), weights_of(reference)
    errors = [(found[name] - expected[name]).norm() / expected[name].norm().clamp(min=1e-9) for name in expected]
    return float(torch.stack(errors).max())


WITH_SENTENCES = (member(CAUSAL, 0.4), member(MASKED, 0.6))  # and with a head that one of them has


@pytest.mark.parametrize("order", ["mixed", pytest.param("stages", marks=SLOW)])
def test_a_run_is_the_same_however_its_batches_are_split(tiny_run: Command, tmp_path: Path, order: str) -> None:
    both = config_of(tmp_path / "both.yaml", *WITH_SENTENCES, order=order)
    for micro in (8, 1):
        options = ("--budget.steps", "3", *DOUBLE, "--data.micro_batch_size", str(micro))
        assert train_in_process(tiny_run("masked_lm", f"micro-{micro}", *both, *options)) == 0
    assert relative_error(tmp_path / "runs/micro-1", tmp_path / "runs/micro-8") < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "precision", "bound"), [("ddp", "64-true", 1e-12), ("fsdp", "32-true", 1e-4)])
@pytest.mark.parametrize("order", ["stages", "mixed"])
def test_two_processes_are_one_run(
    tiny_run: Command, tmp_path: Path, order: str, strategy: str, precision: str, bound: float
) -> None:
    """In micro-batches of one window each process serves another member than the other does."""
    both = config_of(tmp_path / "both.yaml", *WITH_SENTENCES, order=order)
    options = ("--budget.steps", "5", "--data.window", "12", "--trainer.precision", precision)
    assert train_in_process(tiny_run("masked_lm", "one", *both, *options)) == 0
    split = ("--data.micro_batch_size", "1", "--trainer.strategy", strategy)
    done = several_processes(*tiny_run("masked_lm", "two", *both, *options, *split))
    assert done.returncode == 0, done.stderr
    assert relative_error(tmp_path / "runs/two", tmp_path / "runs/one") < bound


# At the change of stage, before it, and behind it.
@pytest.mark.parametrize("step", [4, pytest.param(3, marks=SLOW), pytest.param(5, marks=SLOW)])
def test_a_run_goes_on_bit_by_bit_across_the_change_of_stage(tiny_run: Command, tmp_path: Path, step: int) -> None:
    both = config_of(tmp_path / "both.yaml", member(CAUSAL), member(MASKED))
    options = ("--budget.steps", "8", "--body.dropout", "0.1", "--checkpoints.every_steps", "1")
    assert train_in_process(tiny_run("masked_lm", "whole", *both, *options)) == 0
    broken = tiny_run("masked_lm", "broken", *both, *options)
    with pytest.raises(Killed):
        train(make_cli(broken), [At(step, killed)])
    assert train_in_process(broken) == 0
    assert_same_run(tmp_path / "runs/broken", tmp_path / "runs/whole")


@pytest.mark.parametrize(("shares", "expected"), [((0.25, 0.75), [2, 8]), ((0.5, 0.25, 0.25), [4, 6, 8])])
def test_stages_have_their_shares_of_the_steps(shares: tuple[float, ...], expected: list[int]) -> None:
    names = ["a", "b", "c"][: len(shares)]
    members = [{**member(CAUSAL, share), "name": name} for name, share in zip(names, shares, strict=True)]
    assert schedule(*members)._ends(8) == expected


def test_what_a_run_becomes_is_its_last_member(tiny_run: Command, tmp_path: Path) -> None:
    """Its weights are those of a masked LM, which says of text what the run says; validation asks both members."""
    command = tiny_run("schedules/causal_then_masked", "both", "--budget.steps", "4")
    assert train_in_process(command) == 0
    run = load_run(tmp_path / "runs/both")
    assert isinstance(run.objective, Schedule)
    masked = Pretraining(MaskedLM(next_sentence=False), **{**shared(), "body": run.body})
    network = masked.build(vocab_size=run.vocabulary.size, window=run.window).eval()
    network.load_state_dict(run.network.state_dict())
    windows = some_windows(run.window)
    batch = batch_of(masked.objective, windows)
    assert torch.equal(run.network.logits(batch, "masked"), network.logits(batch, "masked"))
    found = run.objective.predictions(run.network, batch)["masked"]
    assert torch.equal(found.head(found.states_ND), network.logits(batch, "masked"))
    assert run.objective.inference is masked.objective.inference
    assert run.objective.template == masked.objective.template
    names = {name for row in metrics_of(run.folder) for name in row if name.startswith("validation/")}
    assert names >= {"validation/causal_lm/next_token", "validation/masked_lm/masked"}


def test_labels_of_all_members_are_target_tokens(tiny_run: Command, tmp_path: Path) -> None:
    """A causal LM says every raw token and a masked one its share of them."""
    assert train_in_process(tiny_run("schedules/causal_and_masked", "both", "--budget.steps", "6")) == 0
    summary = json.loads((tmp_path / "runs/both/summary.json").read_text(encoding="utf-8"))
    draws = schedule(member(CAUSAL, 0.25), member(MASKED, 0.75), **MIXED).choice(batch_size=8, seed=0, total_steps=6)
    causal = sum(draws(position) == "causal_lm" for position in range(48))
    assert 0 < causal < 48
    assert summary["target_tokens"] == causal * 32 + (48 - causal) * 5  # round(0.15 * 34)
    assert summary["raw_tokens"] == 48 * 32
