"""What a checkpoint generates is what its model predicts: by the numbers of its loss, and whole once learnt."""

import itertools
from functools import cache, partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from data.stream.batch import NOWHERE, Batch, Example
from data.stream.collate import collate
from data.stream.order import Purpose, generator
from data.tokens.decoding import decode_text
from models.body import Inputs
from models.generation.generation import GeneratedTokens
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.noise.spans import shifted
from objectives.core.prompts import Generation, Prompts
from objectives.denoising import Denoising
from objectives.inference.continue_text import continued
from objectives.inference.decoding import EncodedPrompt, generate_tokens
from objectives.inference.fill_spans import filled_in, spans_of
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.objectives.inference.prompting import (
    PROMPTS,
    WINDOW,
    Generator,
    generations,
    generator_of,
    ids_of,
    prompts,
    tokenizer,
    vocabulary,
    windows_of,
)
from tests.objectives.texts import FIXED, made, mean_loss, module_of

SENTENCE = "The old dog sees a big house."
KOREAN = "그 고양이가 별을 보고 강을 달린다."
GENERATING = list(PROMPTS.items())
NAMES = [kind.__name__ for kind in PROMPTS]


# --- the numbers ---


def decoded(*ids: Tensor) -> str:
    return tokenizer().decode([int(token) for token in ids], skip_special_tokens=False)


@pytest.mark.parametrize("body", [{}, {"preset": "bert"}], ids=["lab", "bert"])
def test_the_probabilities_of_a_mask_are_the_softmax_of_the_logits(body: dict[str, Any]) -> None:
    """In float64, of two texts of unequal lengths side by side."""
    module, known = generator_of(MaskedLM, body=body, next_sentence=True), vocabulary()
    texts = ("The [MASK] cat sees[MASK] house.", "[MASK]")
    found = generations(module, *texts, candidates=7)
    read = [
        [known.cls, *ids_of("The"), known.mask, *ids_of(" cat sees"), known.mask, *ids_of(" house."), known.sep],
        [known.cls, known.mask, known.sep],
    ]
    for generation, ids in zip(found, read, strict=True):
        row = torch.tensor([ids])
        segments = torch.zeros_like(row) if cast(Any, module.network.body).config.parts.num_segments else None
        places = (row[0] == known.mask).nonzero()[:, 0]
        states_BSD = module.network.body(Inputs(encoder_ids_BS=row, segments_BS=segments))
        logits_MV = module.network.body.logits(states_BSD[0, places])
        expected = logits_MV.softmax(dim=-1).topk(7)
        assert len(generation.details["masks"]) == len(places)
        for named, values, tokens in zip(generation.details["masks"], *expected, strict=True):
            assert [each["probability"] for each in named] == pytest.approx(values.tolist(), abs=1e-12)
            assert [each["token"] for each in named] == [decoded(token) for token in tokens]
        row[0, places] = expected.indices[:, 0]
        assert generation.text == decode_text(tokenizer(), row[0, 1:-1].tolist())


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize(("kind", "text"), GENERATING, ids=NAMES)
def test_what_is_generated_is_as_likely_as_the_loss_has_it(
    kind: type[Objective], text: str, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch that training would make of prompt and generation gives the generation the same log-probability."""
    module, known = generator_of(kind, keep_documents_apart=apart), vocabulary()
    kept: list[tuple[EncodedPrompt, GeneratedTokens]] = []

    def keep(_: Prompts, encoded: EncodedPrompt, generated: GeneratedTokens, **details: Any) -> Generation:
        kept.append((encoded, generated))
        return Generation(prompt=encoded.text, text="")

    strategy = type(module.objective.inference).__module__
    monkeypatch.setattr(f"{strategy}.generation_of", keep)
    for prompt in [text] if kind is not CausalLM else [text, ""]:
        generations(module, prompt, decoding={"max_new_tokens": 8, "temperature": 1.0, "seed": 5})
        encoded, generated = kept.pop()
        targets = [*generated.ids, *[known.eos] * generated.is_finished]
        batch, first = trained_batch(module.objective, encoded, targets)
        logits_NV, ids_N = module.network.logits(batch, batch.token_term), batch.labels[batch.token_term].ids_N
        log_probabilities = logits_NV.log_softmax(dim=-1).gather(1, ids_N[:, None])
        assert ids_N[first:].tolist() == targets
        assert generated.log_probability == pytest.approx(float(log_probabilities[first:].sum()), abs=1e-9)


def trained_batch(objective: Objective, encoded: EncodedPrompt, targets: list[int]) -> tuple[Batch, int]:
    """A text with its generation as training has them, and the number of labels before the generation's."""
    known, some = vocabulary(), prompts("x")
    if isinstance(objective, CausalLM):
        window = some.window(np.array([*encoded.prefix[1:], *targets]))
        example = objective.corruption(known)(window, generator(0, Purpose.NOISE, 0, 0), windows_of([[SENTENCE]]))
        first = len(encoded.prefix) - 1
    else:
        source = np.array(encoded.source)
        window = some.window(np.arange(max(len(source), len(targets))))
        before = len(objective.template.before)
        inner = len(source) - before - 1
        places = np.arange(len(targets))
        start, origins = (known.eos, places - 1) if isinstance(objective, Denoising) else (known.pad, places)
        example = Example(
            encoder_ids=source,
            encoder_origins=np.array([*[NOWHERE] * before, *range(inner), NOWHERE]),
            decoder_ids=shifted(np.array(targets), start),
            decoder_origins=origins,
            labels={objective.token_term: np.array(targets)},
            token_term=objective.token_term,
        )
        first = 0
    batch = collate(
        [window],
        [example],
        pad=known.pad,
        max_lengths=objective.max_lengths(WINDOW),
        keep_documents_apart=objective.keep_documents_apart,
    )
    return batch, first


# --- what has been learnt ---


@cache
def taught(kind: type[Objective], sentence: str, *, steps: int = 60, **knobs: Any) -> Generator:
    """An objective whose network has seen one document, and nothing else, until it knows it."""
    module, windows = module_of(made(kind, **knobs)), windows_of([[sentence]], end=kind is CausalLM)
    module.build(vocab_size=vocabulary().size, window=WINDOW)
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3, betas=(0.9, 0.95), weight_decay=0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    corrupt, window = module.objective.corruption(vocabulary()), windows[0]
    draw = itertools.count()
    for _ in range(steps):
        examples = [corrupt(window, generator(0, Purpose.NOISE, 0, next(draw)), windows) for _ in range(8)]
        batch = collate(
            [window] * 8,
            examples,
            pad=vocabulary().pad,
            max_lengths=module.objective.max_lengths(WINDOW),
            keep_documents_apart=False,
        )
        loss = mean_loss(module.terms(batch, count_correct=False))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return Generator(module.objective, module.eval().requires_grad_(False).built)


LEARNT = [
    (MaskedLM, {"next_sentence": False, "noise_density": 0.3, "steps": 160}, "The [MASK] dog sees a [MASK] house."),
    (CausalLM, {}, "The old"),
    (CausalLM, {}, ""),
    (Denoising, {"permute_rate": 0.0}, "The [MASK] a big[MASK]."),
    (SpanCorruption, {"noise_density": 0.4, "mean_span_length": 2.0, "steps": 100}, "The old [MASK] sees a big [MASK]"),
]


@pytest.mark.parametrize(("kind", "knobs", "text"), LEARNT, ids=[f"{kind.__name__}-{text}" for kind, _, text in LEARNT])
def test_a_model_that_knows_one_sentence_generates_it(kind: type[Objective], knobs: dict[str, Any], text: str) -> None:
    module = taught(kind, SENTENCE, **knobs)
    (answer,) = generations(module, text)
    assert answer.text == SENTENCE
    if kind is MaskedLM:
        assert [named[0]["token"] for named in answer.details["masks"]] == [" old", " big"]
        return
    assert answer.details["is_finished"]
    if kind is CausalLM:
        assert text + answer.details["continuation"] == SENTENCE
    if kind is SpanCorruption:
        assert answer.details["spans"] == [" dog", " house."]
        assert answer.notes == ["  <extra_id_0>   dog", "  <extra_id_1>   house."]


def test_characters_are_passed_on_when_they_are_whole() -> None:
    """No token holds the one letter of this sentence that three of them make."""
    assert len(ids_of("별")) == 3
    module, pieces = taught(CausalLM, KOREAN), []
    (answer,) = generations(module, "그", on_text=pieces.append)
    assert "".join(pieces) == answer.text == KOREAN
    assert len(pieces) > 5
    assert not any("\ufffd" in piece for piece in pieces)


# --- one after another ---


@pytest.mark.parametrize("decoding", [{}, {"temperature": 1.5, "seed": 4}, {"beams": 3}], ids=str)
@pytest.mark.parametrize(("kind", "text"), GENERATING, ids=NAMES)
def test_what_is_passed_on_piece_by_piece_is_what_is_generated(
    kind: type[Objective], text: str, decoding: dict[str, Any]
) -> None:
    """Random weights say random bytes, few of which make a character."""
    module, pieces = generator_of(kind), []
    (silent,) = generations(module, text, decoding=decoding)
    (passed_on,) = generations(module, text, decoding=decoding, on_text=pieces.append)
    assert passed_on == silent
    assert passed_on.text.startswith("".join(pieces))
    assert bool(pieces) == ("beams" not in decoding)


@pytest.mark.parametrize(("kind", "text"), GENERATING, ids=NAMES)
def test_a_text_among_others_is_continued_as_it_is_alone(kind: type[Objective], text: str) -> None:
    """Whatever room the others leave."""
    module = generator_of(kind)
    texts = (text, f"{text} {text}", f"{text} [MASK]", text)
    together = generations(module, *texts)
    for prompt, answer in zip(texts, together, strict=True):
        (alone,) = generations(module, prompt)
        assert (alone.prompt, alone.text, alone.notes) == (answer.prompt, answer.text, answer.notes)
        assert alone.details["log_probability"] == pytest.approx(answer.details["log_probability"], abs=1e-9)


def test_as_much_is_generated_as_there_are_positions_for() -> None:
    """Three tokens and EOS before them are read, and all that is said but the last; this model says no EOS itself."""
    module, three = generator_of(CausalLM), np.arange(200, 203)
    for settings, length in [({}, WINDOW - 1), ({"decoding": {"max_new_tokens": 5}}, 5), ({"max_positions": 6}, 3)]:
        prompts_of = prompts("any", **settings)
        read = EncodedPrompt.of(
            "any",
            prompts_of.window(three),
            decoder=prompts_of.with_special_tokens(three, ["eos"]),
            complete=partial(continued, []),
        )
        ((_, generated_text),) = generate_tokens(module.network.body, prompts_of, [read], keep_documents_apart=False)
        assert len(generated_text.ids) == length


def test_samples_differ_and_come_again_with_their_seed() -> None:
    module, decoding = generator_of(CausalLM), {"temperature": 2.0, "seed": 7, "max_new_tokens": 8}
    drawn = [generations(module, "The", "A big", decoding=decoding, samples=3) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert [answer.prompt for answer in drawn[0]] == ["The"] * 3 + ["A big"] * 3
    assert len({answer.text for answer in drawn[0]}) == 6
    assert drawn[0][3:] == generations(module, "A big", decoding={**decoding, "seed": 10}, samples=3)


# --- spans ---

SENTINELS = [40, 39, 38, 37]
TEXT = [1, 40, 2, 39, 3]  # two marks


def test_the_papers_example_is_filled() -> None:
    assert filled_in(TEXT, SENTINELS, 2, [40, 11, 12, 39, 13, 38], is_all=True) == [1, 11, 12, 2, 13, 3]


@pytest.mark.parametrize(
    ("generated_text", "whole"),
    [
        ([], TEXT),
        ([11], TEXT),
        ([40, 39, 38], [1, 2, 3]),
        ([39, 13], [1, 40, 2, 13, 3]),
        ([40, 11], [1, 11, 2, 39, 3]),
        ([39, 13, 40, 11, 38], [1, 40, 2, 13, 3]),
        ([40, 11, 40, 12, 39], [1, 11, 2, 3]),
        ([40, 11, 37, 39, 12], [1, 11, 2, 39, 3]),
    ],
)
def test_a_sentinel_without_a_span_stays(generated_text: list[int], whole: list[int]) -> None:
    assert filled_in(TEXT, SENTINELS, 2, generated_text, is_all=True) == whole


@FIXED
@given(generated_text=st.lists(st.sampled_from([11, 12, *SENTINELS]), max_size=12))
def test_further_tokens_extend_the_end_of_the_text(generated_text: list[int]) -> None:
    states = [
        filled_in(TEXT, SENTINELS, 2, generated_text[:length], is_all=False)
        for length in range(len(generated_text) + 1)
    ]
    states.append(filled_in(TEXT, SENTINELS, 2, generated_text, is_all=True))
    for before, after in itertools.pairwise(states):
        assert after[: len(before)] == before
    assert set(spans_of(generated_text, SENTINELS)) <= {
        SENTINELS.index(token) for token in generated_text if token in SENTINELS
    }
