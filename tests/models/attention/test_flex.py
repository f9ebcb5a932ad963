"""FlexAttention under every mask: the values and gradients of the dense form, and one compilation for all batches.

torch trains by it on GPUs alone, and its formula runs on a CPU once the check of that is taken away.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch._dynamo
import torch.nn.attention.flex_attention
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from models.attention.kernels import KernelMask, attend, attention_weights, prepare
from models.attention.masks import HIDDEN, Mask
from models.body import Inputs
from models.presets import PresetName, TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.transformer import Transformer
from tests.models.attention.formula import bias_by_formula, random
from tests.models.attention.test_masks import CAUSAL, MASKS, B, C, H, T, every_mask, inputs_of_attention

pytestmark = pytest.mark.filterwarnings(
    "ignore:flex_attention called without torch.compile",
    "ignore:The .grad attribute of a Tensor that is not a leaf",  # torch's compiler reads it of a captured bias
)


SLOW = pytest.mark.slow
# Each is traced anew, so that by default every part of a mask is tried once, and all together.
BY_DEFAULT = ("none", "padding", "causal documents", "relative", "prefix behind padding", "causal window", "everything")


@pytest.fixture(autouse=True)
def trains_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.nn.attention.flex_attention, "_validate_device", lambda *tensors: None)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def check_values_and_gradients(mask: Mask, dtype: torch.dtype, tolerance: float) -> None:
    """By queries, keys, values and the bias, where a query sees any key."""
    bias = None if mask.bias_1HTS is None else mask.bias_1HTS.to(dtype, copy=True).requires_grad_()
    hidden = torch.from_numpy(np.broadcast_to(bias_by_formula(mask, B, T, T), (B, H, T, T)).copy()) < HIDDEN / 2
    sees = ~hidden.all(dim=-1, keepdim=True)
    found = []
    for is_formula in (True, False):
        query, key, value = (tensor.detach().to(dtype).requires_grad_() for tensor in inputs_of_attention())
        if is_formula:
            scores = 0.3 * query @ key.mT + (0.0 if bias is None else bias)
            mixed = torch.where(hidden, HIDDEN, scores).softmax(dim=-1) @ value
        else:
            prepared = prepare(mask._replace(bias_1HTS=bias), T, T, like=query, kernel="flex")
            assert (prepared.flex is None) == (mask == Mask())
            mixed = attend(query, key, value, prepared, scale=0.3)
        upstream = random(B, H, T, C, seed=9).to(dtype) * sees
        wanted = [query, key, value, *([] if bias is None else [bias])]
        found.append([mixed * sees, *torch.autograd.grad((mixed * upstream).sum(), wanted)])
    for expected, actual in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "mask",
    [pytest.param(mask, marks=[] if name in BY_DEFAULT else SLOW, id=name) for name, mask in MASKS.items()],
)
def test_values_and_gradients_are_those_of_the_dense_formula(mask: Mask) -> None:
    check_values_and_gradients(mask, torch.float64, 1e-12)


def test_values_and_gradients_in_float32_are_within_its_rounding() -> None:
    check_values_and_gradients(MASKS["everything"], torch.float32, 1e-5)


@pytest.mark.parametrize("key_heads", [2, pytest.param(1, marks=SLOW)])
def test_query_heads_share_keys_and_values(key_heads: int) -> None:
    query, key, value = random(B, H, T, C), random(B, key_heads, T, C, seed=1), random(B, key_heads, T, C, seed=2)
    mask = MASKS["causal documents"]
    by_blocks, dense = (
        attend(query, key, value, prepare(mask, T, T, like=query, kernel=kernel), scale=0.3)
        for kernel in ("flex", "dense")
    )
    torch.testing.assert_close(by_blocks, dense, rtol=1e-12, atol=1e-12)


def test_a_query_that_sees_no_key_has_finite_gradients() -> None:
    query, key, value = inputs_of_attention()
    mask = prepare(Mask(key_lengths_B=torch.tensor([0, 3])), T, T, like=query, kernel="flex")
    gradients = torch.autograd.grad(attend(query, key, value, mask, scale=1.0).square().sum(), (query, key, value))
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_mask
def test_the_weights_beside_the_kernel_are_the_dense_ones(mask: Mask) -> None:
    query, key = random(B, H, T, C), random(B, H, T, C, seed=1)
    by_blocks, dense = (
        attention_weights(query, key, prepare(mask, T, T, like=query, kernel=kernel), scale=0.3)
        for kernel in ("flex", "dense")
    )
    assert torch.equal(by_blocks, dense)


def test_what_hides_nothing_or_reads_one_query_needs_no_blocks() -> None:
    like = random(1)
    assert prepare(Mask(), T, T, like=like, kernel="flex") == KernelMask()
    assert prepare(CAUSAL, 1, T, like=like, kernel="flex") == KernelMask()
    assert prepare(MASKS["padding"], 1, T, like=like, kernel="flex").flex is None


def test_another_batch_is_not_compiled_anew() -> None:
    """Masks are made within the compiled function, as in a compiled body, of other documents each time."""

    def attention(query: Tensor, documents_BT: Tensor, lengths_B: Tensor, bias_1HTS: Tensor) -> Tensor:
        mask = Mask(True, None, None, lengths_B, None, documents_BT, documents_BT, bias_1HTS)
        return attend(query, query, query, prepare(mask, T, T, like=query, kernel="flex"), scale=0.3)

    counter = CompileCounter()
    compiled = torch.compile(attention, backend=counter, fullgraph=True)
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        documents_BT = torch.randint(1, 4, (B, T), generator=generator).sort(dim=1).values
        lengths_B = torch.randint(1, T + 1, (B,), generator=generator)
        query, bias = random(B, H, T, C, seed=seed).requires_grad_(), random(1, H, T, T, seed=seed).requires_grad_()
        found = compiled(query, documents_BT, lengths_B, bias)
        found.sum().backward()
        assert bias.grad is not None
        assert bias.grad.abs().sum() > 0
    assert counter.frame_count == 1


def body_of(preset: PresetName, blocks: tuple[int, int]) -> Transformer:
    config = TransformerConfig(preset=preset, width=32, num_heads=2)
    body = Transformer(config, num_blocks=blocks, vocab_size=20, max_positions=12).double()
    initialise(body, 0)
    return body


@pytest.mark.parametrize(
    ("preset", "blocks"),
    [("t5", (1, 1)), pytest.param("lab", (2, 0), marks=SLOW), pytest.param("gpt2", (0, 2), marks=SLOW)],
)
def test_a_body_has_the_same_states_and_gradients(preset: PresetName, blocks: tuple[int, int]) -> None:
    """Documents, padding, and T5's bias with the gradient of its table; 1e-12."""
    ids = torch.randint(0, 20, (2, 12), generator=torch.Generator().manual_seed(0))
    documents = torch.tensor([[1] * 5 + [2] * 7, [1] * 3 + [2] * 3 + [0] * 6])
    lengths = torch.tensor([12, 6])
    inputs = Inputs(
        encoder_ids_BS=ids, encoder_lengths_B=lengths, encoder_documents_BS=documents,
        decoder_ids_BT=ids, decoder_lengths_B=lengths, decoder_documents_BT=documents,
    )  # fmt: skip
    found = []
    for kernel in ("dense", "flex"):
        body = body_of(preset, blocks)
        body.use_attention(kernel)
        states = body(inputs)[documents > 0]
        states.square().sum().backward()
        gradients = {name: value.grad for name, value in body.named_parameters() if value.grad is not None}
        found.append((states, gradients))
    (states, gradients), (by_blocks, gradients_by_blocks) = found
    torch.testing.assert_close(by_blocks, states, rtol=1e-12, atol=1e-12)
    assert gradients.keys() == gradients_by_blocks.keys()
    assert preset != "t5" or "encoder.relative_table.weight" in gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_by_blocks[name], gradient, rtol=1e-11, atol=1e-12, msg=name)
