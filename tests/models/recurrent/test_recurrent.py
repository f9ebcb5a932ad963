"""Recurrent bodies: published numbers, padding and order of rows, steps and whole passes, and what attention can do."""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError
from models.body import Inputs
from models.generation.decoding import Decoding
from models.generation.generation import generate
from models.recurrent.attention import RecurrentAttentionLayer, Scores, weights_of
from models.recurrent.cells import make_layer, run, set_forget_bias
from models.recurrent.config import RecurrentConfig
from models.recurrent.recurrent import Recurrent
from models.transformer.initialisation import initialise

ATTENTIONS = ("none", "bahdanau", "dot", "general", "concat")
V = 20
KEYS = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]], dtype=torch.float64)
QUERY = torch.tensor([[[1.0, 2.0]]], dtype=torch.float64)


def body_of(blocks: tuple[int, int] = (2, 2), *, seed: int = 0, **settings: Any) -> Recurrent:
    config = RecurrentConfig(**{"width": 12, "initial_bound": 0.5, **settings})
    body = Recurrent(config, num_blocks=blocks, vocab_size=V, max_positions=30)
    initialise(body, seed)
    return body.double().eval()


def some_inputs(rows: int = 3, source: int = 7, target: int = 5) -> Inputs:
    generator = torch.Generator().manual_seed(3)
    ids = [torch.randint(1, V, (rows, length), generator=generator) for length in (source, target)]
    lengths = torch.tensor([source, *[2] * (rows - 1)])
    return Inputs(encoder_ids_BS=ids[0], encoder_lengths_B=lengths, decoder_ids_BT=ids[1])


def test_dot_attention_of_the_worked_example() -> None:
    """N44."""
    layer = RecurrentAttentionLayer("dot", 2).double()
    context, weights = layer(QUERY, KEYS, None)
    assert layer.scores(QUERY, KEYS).flatten().tolist() == [1, 2, 3]
    expected = torch.tensor([0.09003, 0.24473, 0.66524], dtype=torch.float64)
    torch.testing.assert_close(weights.flatten(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        context.flatten(), torch.tensor([0.75527, 0.90997], dtype=torch.float64), rtol=0, atol=1e-5
    )


def test_additive_attention_of_the_worked_example() -> None:
    """N45."""
    layer = RecurrentAttentionLayer("bahdanau", 2).double()
    scores: Scores = layer.scores
    with torch.no_grad():
        for matrix in (scores.query, scores.key):
            matrix.weight.copy_(torch.eye(2))
        scores.score.weight.fill_(1.0)
    found = scores(QUERY, KEYS).flatten()
    context, weights = layer(QUERY, KEYS, None)
    for values, expected in (
        (found, [1.92806, 1.75665, 1.95908]),
        (weights.flatten(), [0.34795, 0.29314, 0.35891]),
        (context.flatten(), [0.70686, 0.65205]),
    ):
        torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-5)


def test_the_forget_bias_stands_in_one_of_the_two_vectors() -> None:
    """N46: with all weights 0 and c = 2; in both vectors c would be 1.761594."""
    layer = make_layer("lstm", 1, 1).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    set_forget_bias(layer, 1.0)
    zero, two = torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 2.0, dtype=torch.float64)
    _, (hidden, cell) = run(layer, zero[None], (zero, two))
    assert cell.item() == pytest.approx(1.462117, abs=1e-6)
    assert hidden.item() == pytest.approx(0.449032, abs=1e-6)


def test_a_new_body_has_its_forget_bias_and_its_bound() -> None:
    body = body_of(initial_bound=0.1)
    for module in body.modules():
        if isinstance(module, nn.LSTM):
            size = module.hidden_size
            sums = module.bias_ih_l0 + module.bias_hh_l0  # pyright: ignore
            assert sums[size : 2 * size].tolist() == [1.0] * size
            assert not sums[:size].any()
    assert 0.09 < body.token_table.weight.abs().max() <= 0.1


@pytest.mark.parametrize(("attention", "cell", "feeds"), [*product(ATTENTIONS, ("lstm", "gru"), (True, False))])
def test_a_whole_pass_is_one_step_after_another(attention: str, cell: str, feeds: bool) -> None:
    """N47."""
    body, inputs = body_of(attention=attention, cell=cell, input_feeding=feeds), some_inputs()
    memory, cache = body.encode(inputs), body.new_cache(5)
    whole = body.decode(inputs, memory)
    assert inputs.decoder_ids_BT is not None
    steps = [
        body.decode(inputs._replace(decoder_ids_BT=inputs.decoder_ids_BT[:, n : n + 1]), memory, cache)
        for n in range(5)
    ]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=0, atol=1e-12)


def test_bahdanaus_query_is_the_last_layers_state_before_the_step_and_luongs_the_one_after_it() -> None:
    for attention, is_before in (("bahdanau", True), ("general", False)):
        body, inputs = body_of(attention=attention), some_inputs()
        memory, cache = body.encode(inputs), body.new_cache(5)
        queries: list[Tensor] = []
        assert body.decoder is not None
        assert body.decoder.attention is not None

        def keep(_: object, given: tuple[Tensor, ...], to: list[Tensor] = queries) -> None:
            to.append(given[0][:, 0])

        body.decoder.attention.scores.register_forward_pre_hook(keep)
        assert inputs.decoder_ids_BT is not None
        step = inputs._replace(decoder_ids_BT=inputs.decoder_ids_BT[:, :1])
        body.decode(step, memory, cache)
        before = cache.states[-1][0]
        body.decode(step, memory, cache)
        assert torch.equal(queries[1], before if is_before else cache.states[-1][0])


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_neither_padding_nor_the_order_of_rows_changes_anything(attention: str) -> None:
    """N48."""
    body, inputs = body_of(attention=attention), some_inputs()
    whole = body(inputs)
    assert inputs.encoder_ids_BS is not None
    assert inputs.encoder_lengths_B is not None
    other = inputs.encoder_ids_BS.clone()
    other[1, 2:] = 5
    torch.testing.assert_close(body(inputs._replace(encoder_ids_BS=other)), whole, rtol=0, atol=0)
    order = torch.tensor([2, 0, 1])
    shuffled = Inputs(
        encoder_ids_BS=inputs.encoder_ids_BS[order],
        encoder_lengths_B=inputs.encoder_lengths_B[order],
        decoder_ids_BT=inputs.decoder_ids_BT[order],  # pyright: ignore[reportOptionalSubscript]
    )
    torch.testing.assert_close(body(shuffled), whole[order], rtol=0, atol=1e-12)
    alone = Inputs(
        encoder_ids_BS=inputs.encoder_ids_BS[1:2, :2],
        decoder_ids_BT=inputs.decoder_ids_BT[1:2],  # pyright: ignore[reportOptionalSubscript]
    )
    torch.testing.assert_close(body(alone), whole[1:2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("attention", ATTENTIONS[1:])
def test_weights_sum_to_one_and_are_zero_on_padding(attention: Any) -> None:
    """N49; a row of padding alone has weights of 0 and no NaN."""
    layer = RecurrentAttentionLayer(attention, 4).double()
    keys, queries = (
        torch.randn(2, n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) for n in (5, 3)
    )
    visible = torch.arange(5) < torch.tensor([[3], [0]])
    _, weights = layer(queries, keys, visible)
    torch.testing.assert_close(weights[0].sum(-1), torch.ones(3, dtype=torch.float64))
    assert not weights[0, :, 3:].any()
    assert not weights[1].any()
    assert weights_of(torch.zeros(1, 1, 2, dtype=torch.bfloat16), None).dtype == torch.float32


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_gradient_reaches_the_first_encoder_state(attention: str) -> None:
    """N51."""
    body, inputs = body_of(attention=attention), some_inputs()
    memory: Tensor = body.encode(inputs)
    memory.retain_grad()
    body.decode(inputs, memory)[:, -1].square().sum().backward()
    assert memory.grad is not None
    assert memory.grad[:, 0].abs().sum() > 0


def copied(attention: str, *, steps: int, length: int = 10) -> float:
    """Share of 128 new texts of that length that a body generates whole, after so many steps of learning to copy."""
    config = RecurrentConfig(width=48, attention=attention, input_feeding=False)  # pyright: ignore[reportArgumentType]
    body = Recurrent(config, num_blocks=(1, 1), vocab_size=V, max_positions=30)
    initialise(body, 0)
    optimizer = torch.optim.Adam(body.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-2, steps)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        texts = torch.randint(1, V, (64, length), generator=generator)
        inputs = Inputs(encoder_ids_BS=texts, decoder_ids_BT=F.pad(texts[:, :-1], (1, 0)))
        loss = F.cross_entropy(body.logits(body(inputs).flatten(0, 1)), texts.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(body.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    new = torch.randint(1, V, (128, length), generator=generator).tolist()
    decoding = Decoding(max_new_tokens=length)
    found = generate(
        body.eval(), [[0]] * len(new), sources=new, decoding=decoding, eos=0, never=[0], max_positions=length + 1
    )
    return sum(one.ids == text for one, text in zip(found, new, strict=True)) / len(new)


def test_n50_a_text_of_ten_tokens_is_copied_with_attention_and_forgotten_by_a_context_vector() -> None:
    """Of texts never seen: all of them, but for one or two where rounding differs."""
    assert copied("general", steps=260) > 0.98
    assert copied("none", steps=100) < 0.05


def test_a_decoder_alone_looks_to_the_left() -> None:
    body, ids = body_of((0, 2)), torch.randint(1, V, (2, 6), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, 4] = (ids[:, 4] + 1) % V
    one, other = (body(Inputs(decoder_ids_BT=text)) for text in (ids, changed))
    assert torch.equal(one[:, :4], other[:, :4])
    assert not torch.equal(one[:, 4], other[:, 4])


@pytest.mark.parametrize("attention", ["none", "general", "bahdanau"])
def test_prompts_of_unequal_lengths_are_generated_from_as_alone(attention: str) -> None:
    body = body_of((0, 2)) if attention == "none" else body_of(attention=attention)
    prompts = [[3, 4, 5], [6]]
    sources = None if attention == "none" else [[7, 8], [9, 10, 11]]
    settings: Any = {"eos": 0, "max_positions": 20, "decoding": Decoding(max_new_tokens=6)}
    together = generate(body, prompts, sources=sources, **settings)
    for number, text in enumerate(together):
        source = None if sources is None else [sources[number]]
        (alone,) = generate(body, [prompts[number]], sources=source, **settings)
        assert alone.ids == text.ids
    beams: Any = {**settings, "decoding": Decoding(max_new_tokens=6, beams=3)}
    assert len(generate(body, prompts, sources=sources, **beams)) == 2


def test_flops_count_gates_attention_and_head() -> None:
    body = body_of((0, 1), width=12)
    assert body.flops(encoder=0, decoder=5, targets=3) == 2 * (8 * 12 * 12) * 5 + 2 * 12 * V * 3
    with_memory = body_of((1, 1), attention="dot", input_feeding=False)
    encoder = 2 * 2 * 4 * (6 * 12 + 6 * 6) * 7
    decoder = 2 * 8 * 12 * 12 * 5 + 5 * (4 * 12 * 12 + 4 * 12 * 7)
    assert with_memory.flops(encoder=7, decoder=5, targets=0) == encoder + decoder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 7}, "body.width = 7 must be even"),
        ({"layers": 0}, "body.layers"),
        ({"layers": 1_000_000}, "body.layers = 1000000 must be at least 1 and at most 4,096"),
        ({"layers": (1, 1_000_000)}, r"body.layers = \(1, 1000000\) must be at least 1 and at most 4,096"),
        ({"dropout": 1.0}, "body.dropout"),
        ({"document_masking": True}, "within_document"),
        ({"initial_bound": 0.0}, "body.initial_bound"),
    ],
)
def test_impossible_shapes_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RecurrentConfig(**settings)


def test_what_it_cannot_read_is_refused() -> None:
    with pytest.raises(UserError, match="reads in both directions alone"):
        body_of((1, 0))(some_inputs()._replace(decoder_ids_BT=None, is_causal=True))
    with pytest.raises(UserError, match="reads from the left alone"):
        body_of((0, 1))(Inputs(decoder_ids_BT=torch.ones(1, 3, dtype=torch.long), is_causal=False))
