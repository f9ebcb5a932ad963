"""Losses over a vocabulary in chunks: the values and gradients of all logits at once, which are never held."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from data.stream.batch import Labels
from models.bodies.make import make_body
from models.body import Body, OutputLayer
from models.presets import TransformerConfig
from models.recurrent.config import RecurrentConfig
from models.transformer.initialisation import initialise
from objectives.causal_lm import CausalLM
from objectives.core import chunks
from objectives.core.chunks import (
    LEAST_CHUNKS,
    LEAST_POSITIONS,
    LossSums,
    chunked_body,
    over_vocabulary,
    positions_at_once,
)
from objectives.core.compiled import CompiledLosses
from objectives.core.predictions import CrossEntropy, Prediction, _CrossEntropyOf, term_of
from objectives.mixtures.distances import SoftTargets
from objectives.replaced_token_detection import ReplacedTokenDetection
from tests.helpers import make_windows
from tests.objectives.exactness import train_exactly_and_go_on
from tests.objectives.texts import VOCABULARY, batch_of, built, made, mean_loss
from training.step import kernels

N, D, V = 50, 16, 300
CONFIGS = {
    "tied": TransformerConfig(width=D, num_heads=2),
    "a transform and a bias": TransformerConfig(preset="bert", width=D, num_heads=2),
    "a scale": TransformerConfig(preset="t5", width=D, num_heads=2),
    "narrow embeddings": TransformerConfig(width=D, num_heads=2, embedding_width=8),
    "recurrent": RecurrentConfig(cell="gru", width=D, layers=1),
}


def body_of(config: Any, at_once: int | None) -> Body:
    body = make_body(config, num_blocks=(0, 1), vocab_size=V, max_positions=8).double()
    initialise(body, 0)
    body.positions_at_once = at_once
    return body


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_of(number: int = N, *, weighted: bool = False) -> Labels:
    generator = torch.Generator().manual_seed(3)
    ids, weights = torch.randint(0, V, (number,), generator=generator), torch.rand(number, generator=generator)
    return Labels(torch.arange(number), ids, divisor=float(number), weights_N=weights if weighted else None)


LOSSES = {
    "cross entropy": (CrossEntropy(), False),
    "weights": (CrossEntropy(), True),
    "z-loss": (CrossEntropy(1e-2), False),
    "weights and z-loss": (CrossEntropy(1e-2), True),
    "soft targets": (SoftTargets(random(N, D, seed=5), lambda states: states @ random(D, V, seed=6), 2.0), False),
}


def found_by(body: Body, loss: Any, labels: Labels) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Sums and gradients of a term, scaled as a step scales them."""
    states = random(len(labels.ids_N), D, seed=1).requires_grad_()
    term = term_of(Prediction(states, body.logits, labels, loss=loss, weight=0.5), count_correct=True)
    (term.minimised_sum * 0.03).backward()
    assert states.grad is not None
    assert term.correct is not None
    gradients = {name: one.grad for name, one in body.named_parameters() if one.grad is not None}
    return [term.loss_sum.detach(), term.minimised_sum.detach(), term.correct], {"states": states.grad, **gradients}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("loss", "weighted"), LOSSES.values(), ids=LOSSES)
def test_chunks_have_the_sums_and_gradients_of_all_logits(config: Any, loss: Any, weighted: bool) -> None:
    """In float64 to 1e-12; of states, embeddings or a head's own weights, biases and transforms."""
    labels = labels_of(weighted=weighted)
    (sums, gradients), (sums_of_chunks, gradients_of_chunks) = (
        found_by(body_of(config, at_once), loss, labels) for at_once in (None, 6)
    )
    torch.testing.assert_close(sums_of_chunks, sums, rtol=1e-12, atol=0)
    assert gradients_of_chunks.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_of_chunks[name], gradient, rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_chunks_are_as_exact_as_all_logits_in_lower_precision(dtype: torch.dtype, tolerance: float) -> None:
    """Autocast's products; weights gather their gradient in their own precision."""
    found = []
    for at_once in (None, 6):
        body = body_of(CONFIGS["a transform and a bias"], at_once).float()
        states = random(N, D, seed=1).float().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            term = term_of(Prediction(states, body.logits, labels_of()), count_correct=False)
        term.minimised_sum.backward()
        assert term.loss_sum.dtype == torch.float32
        gradients = [one.grad for one in (states, *body.parameters()) if one.grad is not None]
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        found.append([term.loss_sum.detach(), *gradients])
    for whole, by_chunks in zip(*found, strict=True):
        torch.testing.assert_close(by_chunks, whole, rtol=tolerance, atol=tolerance * float(whole.abs().max()))


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_the_loss_of_a_label_without_any_share_in_float32_is_exact(offset: float) -> None:
    """Its share is 0 there, whose logarithm is infinite; and one number added to all logits changes nothing."""
    logits_nV = random(3, V).float() + offset
    logits_nV[:, 7] -= 200.0
    labels = Labels(torch.arange(3), torch.tensor([7, 8, 7]), divisor=3.0)
    (loss, minimised, _), gradient_nV = _CrossEntropyOf(labels, 1e-2, False).with_gradient(logits_nV, slice(0, 3))
    exact_nV = logits_nV.double().requires_grad_()
    expected = _CrossEntropyOf(labels, 1e-2, False)(exact_nV, slice(0, 3))
    (exact,) = torch.autograd.grad(expected.minimised, exact_nV)
    torch.testing.assert_close(loss.double(), expected.loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(minimised.double(), expected.minimised, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient_nV.double(), exact, rtol=1e-5, atol=1e-6)


class Largest(TorchDispatchMode):
    """The most numbers of a tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        sizes = [one.numel() for one in tree_leaves(found) if isinstance(one, Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return found


@pytest.mark.parametrize("count_correct", [False, True])
def test_logits_are_never_held_whole(count_correct: bool) -> None:
    """Neither they nor their gradient; what is held is no more than a chunk, or the weights."""
    number, at_once, largest = 100 * V // D, 6, Largest()
    for limit, most in ((None, number * V), (at_once, max(at_once * V, V * D, number * D))):
        body, states = body_of(CONFIGS["tied"], limit), random(number, D).requires_grad_()
        with largest:
            term = term_of(Prediction(states, body.logits, labels_of(number)), count_correct=count_correct)
            term.minimised_sum.backward()
        assert largest.numbers == most
        largest.numbers = 0


def chunk_sizes(number: int, at_once: int | None, head: Any = None) -> list[int]:
    sizes: list[int] = []

    def formula(logits_nV: Tensor, rows: slice) -> LossSums:
        sizes.append(len(logits_nV))
        return LossSums(logits_nV.sum(), logits_nV.sum())

    body = body_of(CONFIGS["tied"], at_once)
    over_vocabulary(random(number, D), head or body.logits, formula)
    return sizes


@pytest.mark.parametrize(("device", "least"), [("cpu", 1), ("meta", 5 * LEAST_CHUNKS)])
def test_few_logits_are_computed_at_once_on_a_gpu(device: str, least: int) -> None:
    """A chunk may be the only one on a CPU, as its gradient is written out."""
    body = body_of(CONFIGS["tied"], 5)
    for number, is_chunked in ((least, True), (least - 1, False)):
        assert (chunked_body(body.logits, torch.empty(number, D, device=device)) is body) is is_chunked


def test_logits_are_taken_in_chunks_and_those_of_other_heads_at_once() -> None:
    assert chunk_sizes(5 * LEAST_CHUNKS + 3, 5) == [5] * LEAST_CHUNKS + [3]
    assert chunk_sizes(3, 5) == [3]
    assert chunk_sizes(80, None) == [80]
    assert chunk_sizes(0, 5) == [0]
    assert positions_at_once(2**21, 8192) == 256
    assert positions_at_once(2**21, 10**6) == LEAST_POSITIONS  # smaller products are slow
    assert positions_at_once(None, 8192) is None
    assert chunk_sizes(80, 5, head=lambda states: states @ random(D, V)) == [80]


def test_weights_that_are_not_trained_and_validation_get_no_gradient() -> None:
    body, states = body_of(CONFIGS["tied"], 6 * V), random(N, D)
    body.requires_grad_(False)
    prediction = Prediction(states.requires_grad_(), body.logits, labels_of())
    term_of(prediction, count_correct=False).minimised_sum.backward()
    assert states.grad is not None
    assert body.get_parameter("token_table.weight").grad is None
    with torch.no_grad():
        assert not term_of(prediction, count_correct=True).minimised_sum.requires_grad


@pytest.mark.parametrize("objective", [CausalLM, ReplacedTokenDetection])
def test_an_objective_has_the_same_gradient_in_chunks(objective: Any) -> None:
    """Of every parameter, in float64, embeddings that are tied to the head included."""
    found = []
    for at_once in (None, 2):
        module = built(made(objective), window=32).double()
        for body in module.built.bodies:
            body.positions_at_once = at_once
        batch = batch_of(module.objective, make_windows(VOCABULARY, length=32))
        loss = mean_loss(module.terms(batch, count_correct=False))
        gradients = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
        found.append([loss.detach(), *(one for one in gradients if one is not None)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-11, atol=1e-13)


def test_a_step_in_chunks_is_exact_and_goes_on_bit_by_bit(
    tiny_run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laws 2 and 3, with an encoder-decoder whose labels vary in number."""
    sizes: list[int] = []
    monkeypatch.setattr(chunks, "LEAST_POSITIONS", 7)
    monkeypatch.setattr(kernels, "LOGITS_AT_ONCE", {"cpu": 1})
    in_chunks = chunks._in_chunks

    def counted(layer: OutputLayer, *others: Any) -> LossSums:
        sizes.append(len(layer.features_NE))
        return in_chunks(layer, *others)

    monkeypatch.setattr(chunks, "_in_chunks", counted)
    train_exactly_and_go_on(tiny_run, tmp_path / "runs", "span_corruption")
    assert sizes


@pytest.mark.parametrize("writes_gradient", [False, True])
def test_compiled_sums_of_chunks_are_the_same_and_compiled_once(
    monkeypatch: pytest.MonkeyPatch, writes_gradient: bool
) -> None:
    """Of any number of labels; the products are as they are, and on a CPU so is a gradient that is written out."""
    torch._dynamo.reset()
    if not writes_gradient:
        monkeypatch.delattr(_CrossEntropyOf, "with_gradient")
    counter, compile_function = CompileCounter(), torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: compile_function(function, backend=counter, **options)
    )
    chunks._compiled_sums.cache_clear()
    body, graphs = body_of(CONFIGS["a transform and a bias"], 6), []
    for number in (6 * LEAST_CHUNKS, 71, 90, 113, 57):
        labels = labels_of(number, weighted=True)
        body.compiles_losses = False
        expected = found_by(body, CrossEntropy(1e-2), labels)
        body.zero_grad()
        body.compiles_losses = True
        found = found_by(body, CompiledLosses().loss_of(CrossEntropy(1e-2)), labels)
        body.zero_grad()
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
        graphs.append(counter.frame_count)
    chunks._compiled_sums.cache_clear()
    assert graphs[1] == graphs[-1]
    assert (graphs[-1] == 0) is writes_gradient
