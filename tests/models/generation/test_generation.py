"""Generation: the cache changes nothing, beams and chances come down to the greedy choice, and transformers agrees."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig

from models.body import Inputs
from models.generation.decoding import Decoding, candidates, draw, penalised
from models.generation.generation import beam_search, generate
from models.generation.incremental import Documents, IncrementalDecoder
from models.huggingface.families import FAMILIES
from models.presets import PRESETS, PresetName
from tests.models.huggingface.families import POSITIONS, VOCAB, Module, make_ours, make_theirs
from tests.models.transformer.test_transformer import make as make_transformer

EOS = 2
WITH_DECODER = [preset for preset, family in FAMILIES.items() if family.has_decoder]
PROMPTS = [[7, 8, 9, 10, 11], [12, 13], [14, 15, 16]]
SOURCES = [[5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15], [16]]


def calls(ours: Module, rows: int = 3) -> dict[str, Any]:
    """Prompts of unequal lengths; for an encoder-decoder, sources, and the start of the decoder alone."""
    if ours.num_blocks[0]:
        return {"prompts": [[0]] * rows, "sources": SOURCES[:rows]}
    return {"prompts": PROMPTS[:rows], "sources": None}


def generate_alone(ours: Module, rows: int = 3, **decoding: Any) -> list[Any]:
    return generate(ours.body, **calls(ours, rows), decoding=Decoding(**decoding), eos=EOS, max_positions=POSITIONS)


@torch.no_grad()
def log_probability(ours: Module, prompt: list[int], source: list[int] | None, ids: list[int], *, ends: bool) -> float:
    """Of a continuation, by one forward pass over all of it."""
    text = [*prompt, *ids, *[EOS] * ends]
    inputs = Inputs(decoder_ids_BT=torch.tensor([text[:-1]]))
    if source is not None:
        inputs = inputs._replace(encoder_ids_BS=torch.tensor([source]))
    logits_NV = ours.body.logits(ours.body(inputs)[0, len(prompt) - 1 :])
    labels_N = torch.tensor(text[len(prompt) :])
    return float(logits_NV.log_softmax(dim=-1).gather(1, labels_N[:, None]).sum())


def cut(inputs: Inputs, begin: int, end: int) -> Inputs:
    """The decoder's positions from `begin` to `end`."""
    assert inputs.decoder_ids_BT is not None
    prefixes = None if inputs.prefixes is None else inputs.prefixes[:, begin:end]
    return inputs._replace(decoder_ids_BT=inputs.decoder_ids_BT[:, begin:end], prefixes=prefixes)


@pytest.mark.parametrize("stacks", ["decoder", "both"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("prefixes", [None, [6, 2, 0]])
@torch.no_grad()
def test_logits_from_the_cache_equal_those_of_the_whole(
    preset: PresetName, stacks: str, prefixes: list[int] | None
) -> None:
    """Every preset, with padding on the left and a source of another length in each row; causal, and a prefix LM."""
    model = make_transformer(preset, stacks)
    assert model.decoder is not None
    ids_BT = torch.randint(3, 60, (3, 12), generator=torch.Generator().manual_seed(3))
    starts_B = torch.tensor([0, 3, 5])
    inputs, memory = Inputs(decoder_ids_BT=ids_BT, decoder_starts_B=starts_B), None
    if prefixes is not None:
        places = torch.arange(12) - starts_B[:, None]
        inputs = inputs._replace(prefixes=((places >= 0) & (places < torch.tensor(prefixes)[:, None])).long())
    if stacks == "both":
        encoder = Inputs(encoder_ids_BS=ids_BT[:, :7], encoder_lengths_B=torch.tensor([7, 2, 5]))
        memory = model.encode(encoder)
        inputs = inputs._replace(encoder_lengths_B=encoder.encoder_lengths_B)
    whole_BTV = model.logits(model.decode(inputs, memory))
    cache = model.new_cache(12)
    parts = [
        model.logits(model.decode(cut(inputs, begin, end), memory, cache))
        for begin, end in [(0, 6), *((place, place + 1) for place in range(6, 12))]
    ]
    cached_BTV = torch.cat(parts, dim=1)
    for row, start in enumerate(starts_B.tolist()):
        assert (cached_BTV[row, start:] - whole_BTV[row, start:]).abs().max() <= 1e-10


@pytest.mark.parametrize("stacks", ["decoder", "both"])
@pytest.mark.parametrize("preset", PRESETS)
@torch.no_grad()
def test_padding_on_the_left_changes_nothing(preset: PresetName, stacks: str) -> None:
    model = make_transformer(preset, stacks)
    ids_BT = torch.randint(3, 60, (1, 9), generator=torch.Generator().manual_seed(4))
    memory = model.encode(Inputs(encoder_ids_BS=ids_BT)) if stacks == "both" else None
    alone_BTV = model.logits(model.decode(Inputs(decoder_ids_BT=ids_BT), memory))
    padded = Inputs(decoder_ids_BT=torch.cat([ids_BT[:, :4], ids_BT], dim=1), decoder_starts_B=torch.tensor([4]))
    padded_BTV = model.logits(model.decode(padded, memory))
    assert (padded_BTV[:, 4:] - alone_BTV).abs().max() <= 1e-12


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("preset", WITH_DECODER)
def test_a_batch_generates_what_each_prompt_generates_alone(preset: PresetName, seed: int) -> None:
    ours = make_ours(preset, seed)
    together = generate_alone(ours, max_new_tokens=12)
    for number, one_text in enumerate(together):
        alone = {name: value and [value[number]] for name, value in calls(ours).items()}
        settings = {"decoding": Decoding(max_new_tokens=12), "eos": EOS, "max_positions": POSITIONS}
        (single,) = generate(ours.body, **alone, **settings)
        assert single.ids == one_text.ids
        assert single.log_probability == pytest.approx(one_text.log_probability, abs=1e-10)


@pytest.mark.parametrize("decoding", [{}, {"beams": 3}], ids=str)
@pytest.mark.parametrize("preset", WITH_DECODER)
def test_documents_are_apart_in_a_batch_as_they_are_alone(preset: PresetName, decoding: dict[str, Any]) -> None:
    """Of prompts that begin with another document's end, and sources that begin and end with no document's tokens."""
    ours, texts = make_ours(preset), calls(make_ours(preset))
    begins = 0 if texts["sources"] else -1
    of_prompts = [[begins, *[1] * (len(prompt) - 1)] for prompt in texts["prompts"]]
    of_sources = [[0, *[1] * (len(source) - 2), 0][: len(source)] for source in texts["sources"] or []] or None
    settings = {"decoding": Decoding(max_new_tokens=6, **decoding), "eos": EOS, "max_positions": POSITIONS}
    together = generate(ours.body, **texts, documents=Documents(of_prompts, of_sources), **settings)
    for number, one_text in enumerate(together):
        alone = {name: value and [value[number]] for name, value in texts.items()}
        documents = Documents([of_prompts[number]], of_sources and [of_sources[number]])
        (single,) = generate(ours.body, **alone, documents=documents, **settings)
        assert single.ids == one_text.ids
        assert single.log_probability == pytest.approx(one_text.log_probability, abs=1e-10)
    assert together != generate(ours.body, **texts, **settings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("preset", WITH_DECODER)
def test_one_beam_is_greedy(preset: PresetName, seed: int) -> None:
    ours = make_ours(preset, seed)
    greedy = generate_alone(ours, max_new_tokens=10)
    settings = {"decoding": Decoding(max_new_tokens=10), "eos": EOS, "max_positions": POSITIONS}
    searched = [found[0] for found in beam_search(ours.body, **calls(ours), **settings)]
    assert [one_text.ids for one_text in searched] == [one_text.ids for one_text in greedy]
    assert [one_text.log_probability for one_text in searched] == pytest.approx(
        [one_text.log_probability for one_text in greedy]
    )


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("preset", WITH_DECODER)
def test_a_score_is_the_log_probability_of_what_was_generated(preset: PresetName, beams: int) -> None:
    ours = make_ours(preset, 5)
    texts = calls(ours)
    one_text = generate_alone(ours, max_new_tokens=9, beams=beams)
    for number, (prompt, one) in enumerate(zip(texts["prompts"], one_text, strict=True)):
        source = texts["sources"][number] if texts["sources"] else None
        expected = log_probability(ours, prompt, source, one.ids, ends=one.is_finished)
        assert one.log_probability == pytest.approx(expected, abs=1e-10)


@torch.no_grad()
def test_many_beams_find_the_likeliest_text_of_all() -> None:
    """With as many beams as there are beginnings, the search is exhaustive."""
    ours = make_ours("gpt2", 1)
    decoding = Decoding(max_new_tokens=2, beams=VOCAB, length_penalty=0.0)
    best = beam_search(ours.body, [PROMPTS[0]], decoding=decoding, eos=EOS, max_positions=POSITIONS)[0][0]
    beginnings = torch.tensor([[*PROMPTS[0], first] for first in range(VOCAB)])
    states_VTD = ours.body(Inputs(decoder_ids_BT=beginnings))
    first_V, second_VV = ours.body.logits(states_VTD[:, -2:]).log_softmax(dim=-1).unbind(dim=1)
    every_VV = first_V[0, :, None] + second_VV
    every_VV[EOS] = first_V[0, EOS]  # a text that ends there has no second token
    assert best.log_probability == pytest.approx(float(every_VV.max()), abs=1e-10)


def theirs_generated(ours: Module, seed: int, **settings: Any) -> list[list[int]]:
    """What transformers' generate says to the same prompts, without EOS and padding."""
    theirs, texts = cast(Any, make_theirs(ours)), calls(ours)
    ids = {"pad_token_id": 0, "eos_token_id": EOS, "bos_token_id": None, "decoder_start_token_id": 0}
    config = GenerationConfig(**ids, do_sample=False, **settings)
    found = []
    for row in texts["sources"] or texts["prompts"]:  # alone: 5.17 counts padding among the tokens that were there
        begins = 1 if texts["sources"] else len(row)
        new = theirs.generate(torch.tensor([row]), generation_config=config)[0, begins:].tolist()
        found.append(new[: new.index(EOS)] if EOS in new else new)
    return found


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize("preset", WITH_DECODER)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"repetition_penalty": 1.7},
        {"num_beams": 3},
        {"num_beams": 4, "length_penalty": 2.0},
        {"num_beams": 3, "repetition_penalty": 1.3, "length_penalty": -0.5},
    ],
    ids=lambda settings: ",".join(settings) or "greedy",
)
def test_the_tokens_are_those_of_transformers(preset: PresetName, seed: int, settings: dict[str, Any]) -> None:
    ours = make_ours(preset, seed).float()
    named = {("beams" if name == "num_beams" else name): value for name, value in settings.items()}
    one_text = generate_alone(ours, max_new_tokens=11, **named)
    assert [one.ids for one in one_text] == theirs_generated(ours, seed, max_new_tokens=11, **settings)


def test_sampling_near_temperature_zero_is_greedy() -> None:
    ours = make_ours("lab", 2)
    assert generate_alone(ours, max_new_tokens=12, temperature=1e-6) == generate_alone(ours, max_new_tokens=12)


def test_the_same_seed_draws_the_same_text_and_another_one_another() -> None:
    ours = make_ours("lab", 2)
    drawn = [
        [one.ids for one in generate_alone(ours, max_new_tokens=12, temperature=3.0, seed=seed)] for seed in (5, 5, 6)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_draws_are_as_frequent_as_they_are_likely() -> None:
    probabilities = torch.tensor([[0.5, 0.0, 0.3, 0.2]])
    chances = (torch.arange(1000) + 0.5) / 1000
    drawn = draw(probabilities.expand(1000, -1), chances)
    assert drawn.bincount(minlength=4).tolist() == [500, 0, 300, 200]


def test_the_least_and_the_greatest_chance_draw_what_is_possible() -> None:
    probabilities = torch.tensor([[0.0, 0.7, 0.3, 0.0]]).expand(2, -1)
    assert draw(probabilities, torch.tensor([0.0, 1 - 2**-24])).tolist() == [1, 2]


def of(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities]).log()


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 0.51}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.85}, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        ({"top_k": 3, "top_p": 0.6}, [0.5 / 0.8, 0.3 / 0.8, 0, 0]),
        ({"top_k": 99}, [0.5, 0.3, 0.15, 0.05]),
        ({}, [0.5, 0.3, 0.15, 0.05]),
    ],
)
def test_only_the_likeliest_tokens_are_drawn(settings: dict[str, Any], kept: list[float]) -> None:
    probabilities = candidates(of(0.5, 0.3, 0.15, 0.05), Decoding(temperature=1.0, **settings))
    assert probabilities[0].tolist() == pytest.approx(kept)


def test_a_temperature_sharpens_or_flattens() -> None:
    logits = of(0.8, 0.2)
    assert candidates(logits, Decoding(temperature=0.5))[0].tolist() == pytest.approx([16 / 17, 1 / 17])
    assert candidates(logits, Decoding(temperature=2.0))[0].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_what_was_generated_is_penalised_whatever_its_sign() -> None:
    scores = torch.tensor([[2.0, -2.0, 1.0]])
    assert penalised(scores, torch.tensor([[0, 1, 0]]), 2.0).tolist() == [[1.0, -4.0, 1.0]]


def test_padding_is_not_what_was_generated() -> None:
    ours = make_ours("lab")
    reader = IncrementalDecoder(ours.body, PROMPTS, None, copies=2, num_steps=1, pad=EOS)
    assert all(EOS not in row for row in reader.previous_BT.tolist())
    assert [set(row) for row in reader.previous_BT.tolist()] == [set(prompt) for prompt in PROMPTS for _ in range(2)]


def test_no_more_is_generated_than_the_model_has_positions_for() -> None:
    ours = make_ours("gpt2", 3)
    prompt = list(range(3, 23))
    settings = {"decoding": Decoding(max_new_tokens=50), "eos": VOCAB, "max_positions": POSITIONS}
    (one_text,) = generate(ours.body, [prompt], **settings)
    assert len(one_text.ids) == POSITIONS - len(prompt) + 1
    assert not one_text.is_finished


def test_a_prompt_longer_than_the_model_reads_is_refused() -> None:
    ours = make_ours("gpt2")
    with pytest.raises(ValueError, match="a prompt has 25 tokens, and the model reads at most 24"):
        generate(ours.body, [[5] * 25], decoding=Decoding(), eos=EOS, max_positions=POSITIONS)


@pytest.mark.parametrize(
    ("settings", "one_text"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"beams": 0}, "beams = 0"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p = 0.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty = 0.0"),
        ({"beams": 2, "temperature": 1.0}, "beam search draws nothing"),
        ({"top_k": 5}, "need a temperature above 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], one_text: str) -> None:
    with pytest.raises(ValueError, match=one_text):
        Decoding(**settings)
