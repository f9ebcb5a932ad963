"""What a checkpoint answers is what its model says: by the numbers of its loss, and whole once it has learnt it."""

import itertools
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from data.stream.batch import NOWHERE, Batch, Example, collate
from data.stream.order import Purpose, generator
from models.body import Inputs
from models.generation.generation import GeneratedTokens
from objectives.causal_lm import CausalLM, continued
from objectives.core.base import Objective
from objectives.core.noise import shifted
from objectives.core.prompts import Generation, Prompts
from objectives.denoising import Denoising
from objectives.inference.generation import EncodedPrompt, generate_texts
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption, filled, spans_said
from tests.objectives.inference.asked import (
    SPEAKERS,
    WINDOW,
    answers,
    ids_of,
    questions,
    speaker,
    tokenizer,
    vocabulary,
    windows_of,
)
from tests.objectives.texts import FIXED, made

SENTENCE = "The old dog sees a big house."
KOREAN = "그 고양이가 별을 보고 강을 달린다."
SPEAKING = list(SPEAKERS.items())
NAMES = [kind.__name__ for kind in SPEAKERS]


# --- the numbers ---


def decoded(*ids: Tensor) -> str:
    return tokenizer().decode([int(token) for token in ids], skip_special_tokens=False)


@pytest.mark.parametrize("body", [{}, {"preset": "bert"}], ids=["lab", "bert"])
def test_the_probabilities_of_a_mask_are_the_softmax_of_the_logits(body: dict[str, Any]) -> None:
    """In float64, of two texts of unequal lengths side by side."""
    module, known = speaker(MaskedLM, body=body, next_sentence=True), vocabulary()
    assert module.body is not None
    texts = ("The [MASK] cat sees[MASK] house.", "[MASK]")
    found = answers(module, *texts, candidates=7)
    read = [
        [known.cls, *ids_of("The"), known.mask, *ids_of(" cat sees"), known.mask, *ids_of(" house."), known.sep],
        [known.cls, known.mask, known.sep],
    ]
    for answer, ids in zip(found, read, strict=True):
        row = torch.tensor([ids])
        segments = torch.zeros_like(row) if module.config.parts.num_segments else None
        places = (row[0] == known.mask).nonzero()[:, 0]
        logits_MV, _ = module.body(Inputs(encoder_ids_BS=row, segments_BS=segments), places)
        expected = logits_MV.softmax(dim=-1).topk(7)
        assert len(answer.details["masks"]) == len(places)
        for named, values, tokens in zip(answer.details["masks"], *expected, strict=True):
            assert [each["probability"] for each in named] == pytest.approx(values.tolist(), abs=1e-12)
            assert [each["token"] for each in named] == [decoded(token) for token in tokens]
        row[0, places] = expected.indices[:, 0]
        assert answer.text == decoded(*row[0, 1:-1])


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize(("kind", "text"), SPEAKING, ids=NAMES)
def test_what_is_said_is_as_likely_as_the_loss_has_it(
    kind: type[Objective], text: str, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch that training would make of text and answer gives the answer the same log-probability."""
    module, known = speaker(kind, body={"document_masking": apart}), vocabulary()
    heard: list[tuple[EncodedPrompt, GeneratedTokens]] = []

    def hear(_: Prompts, reading: EncodedPrompt, said: GeneratedTokens, **details: Any) -> Generation:
        heard.append((reading, said))
        return Generation(asked=reading.asked, text="")

    monkeypatch.setattr(f"{kind.__module__}.said_in_turn", hear)
    for asked in [text] if kind is not CausalLM else [text, ""]:
        answers(module, asked, decoding={"max_new_tokens": 8, "temperature": 1.0, "seed": 5})
        reading, said = heard.pop()
        told = [*said.ids, *[known.eos] * said.is_finished]
        batch, first = trained_batch(module, reading, told)
        logits_NV, _ = module.run_transformer(batch)
        log_probabilities = logits_NV.log_softmax(dim=-1).gather(1, batch.labels[module.token_term].ids_N[:, None])
        assert batch.labels[module.token_term].ids_N[first:].tolist() == told
        assert said.log_probability == pytest.approx(float(log_probabilities[first:].sum()), abs=1e-9)


def trained_batch(module: Objective, reading: EncodedPrompt, told: list[int]) -> tuple[Batch, int]:
    """A text with its answer as training has them, and the number of labels before the answer's."""
    known, asked = vocabulary(), questions("x")
    if isinstance(module, CausalLM):
        window = asked.window(np.array([*reading.prompt[1:], *told]))
        example = module.corruption(known)(window, generator(0, Purpose.NOISE, 0, 0), windows_of([[SENTENCE]]))
        first = len(reading.prompt) - 1
    else:
        source = np.array(reading.source)
        window = asked.window(np.arange(max(len(source), len(told))))
        framed = len(module.template.before)
        inner = len(source) - framed - 1
        places = np.arange(len(told))
        start, said = (known.eos, places - 1) if isinstance(module, Denoising) else (known.pad, places)
        example = Example(
            encoder_ids=source,
            encoder_origins=np.array([*[NOWHERE] * framed, *range(inner), NOWHERE]),
            decoder_ids=shifted(np.array(told), start),
            decoder_origins=said,
            labels={module.token_term: np.array(told)},
        )
        first = 0
    batch = collate(
        [window],
        [example],
        pad=known.pad,
        max_lengths=module.max_lengths(WINDOW),
        keep_documents_apart=module.keep_documents_apart,
    )
    return batch, first


# --- what has been learnt ---


@cache
def taught(kind: type[Objective], sentence: str, *, steps: int = 100, **knobs: Any) -> Objective:
    """An objective that has seen one document, and nothing else, until it knows it."""
    module, windows = made(kind, **knobs), windows_of([[sentence]], end=kind is CausalLM)
    module.build(vocab_size=vocabulary().size, window=WINDOW)
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3, betas=(0.9, 0.95), weight_decay=0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    corrupt, window = module.corruption(vocabulary()), windows[0]
    draw = itertools.count()
    for _ in range(steps):
        examples = [corrupt(window, generator(0, Purpose.NOISE, 0, next(draw)), windows) for _ in range(8)]
        batch = collate(
            [window] * 8,
            examples,
            pad=vocabulary().pad,
            max_lengths=module.max_lengths(WINDOW),
            keep_documents_apart=False,
        )
        terms = module.terms(batch, count_correct=False).values()
        loss = torch.stack([term.minimised_sum / term.count for term in terms]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return module.eval().requires_grad_(False)


LEARNT = [
    (MaskedLM, {"next_sentence": False, "noise_density": 0.3, "steps": 200}, "The [MASK] dog sees a [MASK] house."),
    (CausalLM, {}, "The old"),
    (CausalLM, {}, ""),
    (Denoising, {"permute_rate": 0.0}, "The [MASK] a big[MASK]."),
    (SpanCorruption, {"noise_density": 0.4, "mean_span_length": 2.0}, "The old [MASK] sees a big [MASK]"),
]


@pytest.mark.parametrize(("kind", "knobs", "text"), LEARNT, ids=[f"{kind.__name__}-{text}" for kind, _, text in LEARNT])
def test_a_model_that_knows_one_sentence_says_it(kind: type[Objective], knobs: dict[str, Any], text: str) -> None:
    module = taught(kind, SENTENCE, **knobs)
    (answer,) = answers(module, text)
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


def test_characters_are_told_when_they_are_whole() -> None:
    """No token holds the one letter of this sentence that three of them make."""
    assert len(ids_of("별")) == 3
    module, pieces = taught(CausalLM, KOREAN), []
    (answer,) = answers(module, "그", listen=pieces.append)
    assert "".join(pieces) == answer.text == KOREAN
    assert len(pieces) > 5
    assert not any("\ufffd" in piece for piece in pieces)


# --- one after another ---


@pytest.mark.parametrize("decoding", [{}, {"temperature": 1.5, "seed": 4}, {"beams": 3}], ids=str)
@pytest.mark.parametrize(("kind", "text"), SPEAKING, ids=NAMES)
def test_what_is_told_piece_by_piece_is_what_is_answered(
    kind: type[Objective], text: str, decoding: dict[str, Any]
) -> None:
    """Random weights say random bytes, few of which make a character."""
    for seed in range(2):
        module, pieces = speaker(kind, seed=seed), []
        (silent,) = answers(module, text, decoding=decoding)
        (told,) = answers(module, text, decoding=decoding, listen=pieces.append)
        assert told == silent
        assert told.text.startswith("".join(pieces))
        assert bool(pieces) == ("beams" not in decoding)


@pytest.mark.parametrize(("kind", "text"), SPEAKING, ids=NAMES)
def test_a_text_among_others_is_answered_as_it_is_alone(kind: type[Objective], text: str) -> None:
    """Whatever room the others leave."""
    module = speaker(kind)
    texts = (text, f"{text} {text}", f"{text} [MASK]", text)
    together = answers(module, *texts)
    for asked, answer in zip(texts, together, strict=True):
        (alone,) = answers(module, asked)
        assert (alone.asked, alone.text, alone.notes) == (answer.asked, answer.text, answer.notes)
        assert alone.details["log_probability"] == pytest.approx(answer.details["log_probability"], abs=1e-9)


def test_as_much_is_said_as_there_are_positions_for() -> None:
    """Three tokens and EOS before them are read, and all that is said but the last; this model says no EOS itself."""
    module, three = speaker(CausalLM), np.arange(200, 203)
    assert module.body is not None
    for settings, length in [({}, WINDOW - 1), ({"decoding": {"max_new_tokens": 5}}, 5), ({"max_positions": 6}, 3)]:
        asked = questions("any", **settings)
        read = EncodedPrompt.of(
            "any", asked.window(three), decoder=asked.framed(three, ["eos"]), complete=partial(continued, [])
        )
        ((_, said),) = generate_texts(module.body, asked, [read], keep_documents_apart=False)
        assert len(said.ids) == length


def test_samples_differ_and_come_again_with_their_seed() -> None:
    module, decoding = speaker(CausalLM), {"temperature": 2.0, "seed": 7, "max_new_tokens": 8}
    drawn = [answers(module, "The", "A big", decoding=decoding, samples=3) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert [answer.asked for answer in drawn[0]] == ["The"] * 3 + ["A big"] * 3
    assert len({answer.text for answer in drawn[0]}) == 6
    assert drawn[0][3:] == answers(module, "A big", decoding={**decoding, "seed": 10}, samples=3)


# --- spans ---

SENTINELS = [40, 39, 38, 37]
TEXT = [1, 40, 2, 39, 3]  # two marks


def test_the_papers_example_is_filled() -> None:
    assert filled(TEXT, SENTINELS, 2, [40, 11, 12, 39, 13, 38], is_all=True) == [1, 11, 12, 2, 13, 3]


@pytest.mark.parametrize(
    ("said", "whole"),
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
def test_a_sentinel_without_a_span_stays(said: list[int], whole: list[int]) -> None:
    assert filled(TEXT, SENTINELS, 2, said, is_all=True) == whole


@FIXED
@given(said=st.lists(st.sampled_from([11, 12, *SENTINELS]), max_size=12))
def test_what_more_is_said_adds_to_the_end_of_the_text(said: list[int]) -> None:
    states = [filled(TEXT, SENTINELS, 2, said[:length], is_all=False) for length in range(len(said) + 1)]
    states.append(filled(TEXT, SENTINELS, 2, said, is_all=True))
    for before, after in itertools.pairwise(states):
        assert after[: len(before)] == before
    assert set(spans_said(said, SENTINELS)) <= {SENTINELS.index(token) for token in said if token in SENTINELS}
