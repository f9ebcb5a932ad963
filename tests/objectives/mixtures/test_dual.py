"""The dual objective: shares of 1 and 0 are the pure forms, draws follow from windows, causal rows stay causal."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import generate
import score
from common.errors import UserError
from data.stream.batch import IGNORE
from data.stream.windows import Windows
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.masked_diffusion import MaskedDiffusion
from objectives.mixtures.dual import Dual
from tests.helpers import make_windows, metrics_of, train_in_process, weights_of
from tests.objectives.exactness import train_exactly, train_exactly_and_go_on
from tests.objectives.texts import FIRST, VOCABULARY, batch_of, built, examples_of, key, made, mean_loss, standard_error

Command = Callable[..., list[str]]
WINDOWS = make_windows(VOCABULARY, length=24)


def losses_and_gradients(objective: Objective) -> tuple[Pretraining, list[torch.Tensor]]:
    module = built(objective, window=24).double().eval()
    loss = mean_loss(module.terms(batch_of(objective, WINDOWS), count_correct=False))
    return module, [loss, *torch.autograd.grad(loss, list(module.parameters()))]


@pytest.mark.parametrize(
    ("share", "pure"), [(1.0, made(CausalLM)), (0.0, made(MaskedDiffusion, predicts="next"))], ids=["causal", "hidden"]
)
def test_n52_a_share_of_one_or_none_is_the_pure_form_bit_for_bit(share: float, pure: Objective) -> None:
    dual = made(Dual, causal_share=share)
    assert dual.token_term == pure.token_term
    assert dual.max_lengths(24) == pure.max_lengths(24)
    (one, mine), (other, theirs) = losses_and_gradients(dual), losses_and_gradients(pure)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_n52_a_whole_run_of_one_share_is_a_causal_run(tiny_run: Command, tmp_path: Path) -> None:
    steps = ("--budget.steps", "3")
    assert train_in_process(tiny_run("causal_lm", "causal", *steps)) == 0
    assert train_in_process(tiny_run("dual", "dual", *steps, "--model.init_args.causal_share", "1")) == 0
    one, other = (weights_of(tmp_path / "runs" / name) for name in ("dual", "causal"))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_n53_the_share_of_the_windows_follows_from_their_keys_alone() -> None:
    dual = made(Dual, causal_share=0.3)
    corrupt = dual.corruption(VOCABULARY)
    shares = [corrupt(WINDOWS[0], key(0, epoch=epoch), WINDOWS).measures["causal share"] for epoch in range(3000)]
    assert np.mean(shares) == pytest.approx(0.3, abs=2 * standard_error(0.3, 3000))
    alone = [corrupt(WINDOWS[i], key(i), WINDOWS).measures["causal share"] for i in range(20)]
    backwards = [corrupt(WINDOWS[i], key(i), WINDOWS).measures["causal share"] for i in reversed(range(20))]
    assert alone == backwards[::-1]


def test_each_window_is_corrupted_as_in_a_run_of_its_own() -> None:
    dual, causal, hidden = made(Dual), made(CausalLM), made(MaskedDiffusion, predicts="next")
    for window, example in examples_of(dual.corruption(VOCABULARY), WINDOWS):
        pure = causal if example.measures["causal share"] else hidden
        expected = pure.corrupt(window, key(window.index), WINDOWS, vocabulary=VOCABULARY)
        assert np.array_equal(example.decoder_ids, expected.decoder_ids)  # pyright: ignore[reportArgumentType]
        assert np.array_equal(example.labels[pure.token_term], expected.token_labels)
        other = "hidden" if pure is causal else "next_token"
        assert (example.labels[other] == IGNORE).all()


def test_means_are_taken_apart_and_then_weighted() -> None:
    dual = made(Dual, causal_share=0.25)
    module = built(dual, window=24).double().eval()
    with torch.no_grad():
        terms = module.terms(batch_of(dual, WINDOWS), count_correct=False)
    pairs = examples_of(dual.corruption(VOCABULARY), WINDOWS)
    lengths = {True: 0, False: 0}
    for window, example in pairs:
        lengths[bool(example.measures["causal share"])] += len(window)
    assert terms["next_token"].divisor == lengths[True]
    assert terms["hidden"].divisor == lengths[False]
    for name, weight in (("next_token", 0.25), ("hidden", 0.75)):
        assert terms[name].minimised_sum.item() == pytest.approx(weight * terms[name].loss_sum.item(), rel=1e-12)


def test_n54_causal_windows_do_not_react_to_what_follows_and_the_others_do() -> None:
    dual = made(Dual)
    module = built(dual, window=24).double().eval()
    pairs = examples_of(dual.corruption(VOCABULARY), WINDOWS)

    def states(windows: Windows, last: int) -> torch.Tensor:
        changed = []
        for window, example in pairs:
            assert example.decoder_ids is not None
            ids = example.decoder_ids.copy()
            ids[len(ids) - 1] = last
            changed.append((window, replace(example, decoder_ids=ids)))
        return module.built.states(batch_of(dual, windows, changed)).detach()

    moved = (states(WINDOWS, FIRST) != states(WINDOWS, FIRST + 1)).any(dim=2)
    kinds = set()
    for row, (_, example) in enumerate(pairs):
        assert example.decoder_ids is not None
        is_causal = bool(example.measures["causal share"])
        kinds.add(is_causal)
        assert bool(moved[row, : len(example.decoder_ids) - 1].any()) != is_causal or len(example.decoder_ids) < 2
    assert kinds == {True, False}


@pytest.mark.slow
def test_it_goes_on_bit_by_bit(tiny_run: Command, tmp_path: Path) -> None:
    train_exactly_and_go_on(tiny_run, tmp_path / "runs", "dual")


def test_it_trains_exactly_generates_both_ways_and_is_scored(
    tiny_run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train_exactly(tiny_run, tmp_path / "runs", "dual")
    assert any(row.get("train/hidden") for row in metrics_of(whole))
    run = str(whole)
    capsys.readouterr()
    assert generate.main([run, "the [MASK] sees [MASK]", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["masks"]) == 2
    assert generate.main([run, "the old cat", "--json", "--max_new_tokens", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == "the old cat" + found["continuation"]
    assert score.main([run, "--passages", "4", "--bytes", "24", "--json"]) == 0
    metric = json.loads(capsys.readouterr().out)["metrics"]["continuation"]
    assert 1 < metric["mean"] < 20
    assert not metric["is_bound"]
    assert list(made(Dual).inference.scorers(made(Dual), VOCABULARY)) == ["log_likelihood", "diffusion_bound"]


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(UserError, match=r"causal_share = 1\.5"):
        made(Dual, causal_share=1.5)
