"""What a user asks is read as training reads it: cut, marked and framed alike, and nothing else of it is special."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from data.stream.batch import IGNORE, Example
from data.stream.collate import collate
from data.stream.windows import Window
from models.body import Inputs
from models.transformer.transformer import Transformer
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.prompts import MARK
from objectives.core.strategy import InferenceStrategy
from objectives.denoising import Denoising
from objectives.inference.fill_spans import MARKS
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.helpers import made_up_documents
from tests.objectives.inference.prompting import (
    WINDOW,
    generations,
    generator_of,
    ids_of,
    prompts,
    tokenizer,
    vocabulary,
    windows_of,
)
from tests.objectives.texts import key

APART = {"keep_documents_apart": True}
LITERALS = "Write <s> or [CLS] or <pad> or </s>, [SEP] or <unk>"
DOCUMENTS = [[f"{sentence}." for sentence in text.rstrip(".").split(".")] for text in made_up_documents(24)]


@contextmanager
def recorded(network: Network) -> Iterator[list[Inputs]]:
    """What the stacks read first of all."""
    body, read = network.body, []
    encode, decode = body.encode, body.decode

    def encoding(inputs: Inputs) -> Tensor:
        read.append(inputs)
        return encode(inputs)

    def decoding(inputs: Inputs, *rest: Any) -> Tensor:
        read.append(inputs)
        return decode(inputs, *rest)

    body.encode, body.decode = encoding, decoding  # type: ignore[method-assign]
    try:
        yield read
    finally:
        del body.encode, body.decode


def spelled(ids: np.ndarray, *, space: str) -> str:
    """Ids as a user would write them: a mark for hidden text, with or without a space before it."""
    hidden = {vocabulary().mask: "[MASK]"} | {
        int(token): f"<extra_id_{k}>" for k, token in enumerate(vocabulary().sentinels)
    }
    parts, run = [], []
    for token in ids.tolist():
        if token in hidden:
            parts += [tokenizer().decode(run), space, hidden[token]]
            run = []
        else:
            run.append(token)
    return "".join([*parts, tokenizer().decode(run)])


def as_trained(objective: Objective, window: Window, example: Example) -> dict[str, Any]:
    """The batch that training makes of an example, as lists."""
    batch = collate(
        [window],
        [example],
        pad=vocabulary().pad,
        max_lengths=objective.max_lengths(WINDOW),
        keep_documents_apart=objective.keep_documents_apart,
    )
    return {name: value.tolist() for name, value in vars(batch).items() if isinstance(value, Tensor)}


def as_prompted(read: list[Inputs]) -> dict[str, Any]:
    """What was recorded, as lists; the lengths of a row alone carry nothing."""
    found: dict[str, Any] = {}
    for inputs in read[:2]:
        found |= {name: value.tolist() for name, value in inputs._asdict().items() if value is not None}
    return {name: value for name, value in found.items() if name != "encoder_lengths_B"}


def with_one_document_each() -> list[Window]:
    """Windows, each the beginning of a document, its end cut off."""
    windows = [windows_of([document]) for document in DOCUMENTS]
    return [shown[0] for shown in windows if len(shown[0]) > 8]


ONLY_MASKS = {"next_sentence": False, "mask_rate": 1.0, "random_rate": 0.0}
ENCODING = [
    (MaskedLM, ONLY_MASKS, {}),
    (MaskedLM, {**ONLY_MASKS, **APART}, {}),
    (MaskedLM, ONLY_MASKS, {"preset": "bert"}),
    (Denoising, {}, {}),
    (Denoising, {"infill_rate": 0.0, "mask_rate": 0.3, **APART}, {}),  # a mask that is inserted is of no document
    (SpanCorruption, {}, {}),
    (SpanCorruption, APART, {}),
]


@pytest.mark.parametrize("space", ["", " "], ids=["glued", "spaced"])
@pytest.mark.parametrize(
    ("objective", "knobs", "body"), ENCODING, ids=[f"{kind.__name__}-{knobs}-{more}" for kind, knobs, more in ENCODING]
)
def test_a_corrupted_text_is_read_as_training_reads_it(
    objective: type[Objective], knobs: dict[str, Any], body: dict[str, Any], space: str
) -> None:
    """Ids, segments and documents of the encoder, and the decoder's beginning, of whatever training makes of a text."""
    module = generator_of(objective, body=body, **knobs)
    corrupt, calls = module.objective.corruption(vocabulary()), 0
    for number, window in enumerate(with_one_document_each()):
        example = corrupt(window, key(number), windows_of(DOCUMENTS))
        trained = as_trained(module.objective, window, example)
        assert example.encoder_ids is not None
        before, behind = len(module.objective.template.before), len(module.objective.template.behind)
        text = spelled(example.encoder_ids[before : len(example.encoder_ids) - behind], space=space)
        if "\ufffd" in text or not MARKS.search(text):  # a mask within a character is none that a user could write
            continue
        decoding = {"max_new_tokens": 1} if module.objective.uses_decoder else {}
        with recorded(module.network) as read:
            generations(module, text, decoding=decoding)
        for name in ("decoder_ids_BT", "decoder_documents_BT"):  # the decoder reads on from its first position
            if name in trained:
                trained[name] = [row[:1] for row in trained[name]]
        assert isinstance(module.network.body, Transformer)
        if module.network.body.config.preset != "bert":
            trained.pop("segments_BS", None)
        trained.pop("encoder_documents_BS" if not module.objective.keep_documents_apart else "", None)
        assert as_prompted(read) == trained
        calls += 1
    assert calls > 12


@pytest.mark.parametrize("knobs", [{}, APART], ids=["together", "apart"])
def test_the_beginning_of_a_document_is_read_as_training_reads_it(knobs: dict[str, Any]) -> None:
    module = generator_of(CausalLM, **knobs)
    for window in with_one_document_each():
        example = module.objective.corruption(vocabulary())(window, key(), windows_of(DOCUMENTS))
        text = tokenizer().decode(window.tokens[:-1].tolist())
        if "\ufffd" not in text:
            with recorded(module.network) as read:
                generations(module, text, decoding={"max_new_tokens": 1})
            assert as_prompted(read) == as_trained(module.objective, window, example)


@pytest.mark.parametrize("kind", [MaskedLM, Denoising, SpanCorruption, CausalLM], ids=lambda kind: kind.__name__)
def test_only_the_mark_of_the_objective_is_special(kind: type[Objective]) -> None:
    module = generator_of(kind)
    mark = [vocabulary().sentinels[0]] if kind is SpanCorruption else [vocabulary().mask]
    literal = LITERALS if kind is SpanCorruption else f"{LITERALS} <extra_id_0>"
    with recorded(module.network) as read:
        decoding = {"max_new_tokens": 1} if module.objective.uses_decoder else {}
        generations(module, f"{literal} [MASK]", decoding=decoding, max_positions=200)
    if kind is CausalLM:
        assert read[0].decoder_ids_BT is not None
        assert read[0].decoder_ids_BT.tolist() == [[vocabulary().eos, *ids_of(f"{literal} [MASK]")]]
    else:
        assert read[0].encoder_ids_BS is not None
        inner = (
            read[0]
            .encoder_ids_BS[0]
            .tolist()[len(module.objective.template.before) : -len(module.objective.template.behind)]
        )
        assert inner == [*ids_of(literal), *mark]


def test_the_space_before_a_mark_belongs_to_what_is_hidden() -> None:
    some, mask = prompts("x"), vocabulary().mask
    read = [some.encode(text, MARK, [mask]).tolist() for text in ("The cat [MASK] here.", "The cat[MASK] here.")]
    assert read[0] == read[1] == [*ids_of("The cat"), mask, *ids_of(" here.")]
    assert some.encode("The  [MASK]", MARK, [mask]).tolist() == [*ids_of("The "), mask]
    assert some.encode("The\n[MASK]", MARK, [mask]).tolist() == [*ids_of("The\n"), mask]
    assert some.encode("The cat ").tolist() == ids_of("The cat")


def test_a_text_is_cleaned_as_a_corpus_is() -> None:
    some = prompts("x")
    assert some.encode("\ufeffa\r\nb\x00c").tolist() == ids_of("a\nbc")


def test_marks_of_either_kind_are_sentinels_in_their_order() -> None:
    sentinels = vocabulary().sentinels.tolist()
    read = prompts("x").encode("a <extra_id_7> b [MASK] c <extra_id_0>", MARKS, sentinels).tolist()
    a, b, c = ids_of("a"), ids_of(" b"), ids_of(" c")
    assert read == [*a, sentinels[0], *b, sentinels[1], *c, sentinels[2]]


def refused(kind: type[Objective], *texts: str, knobs: dict[str, Any] | None = None, **more: Any) -> str:
    """The message that a question ends in."""
    module = generator_of(kind, **(knobs or {}))
    with pytest.raises(ValueError, match=r"\w") as caught:
        generations(module, *texts, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [MaskedLM, Denoising, SpanCorruption, CausalLM], ids=lambda kind: kind.__name__)
def test_a_text_longer_than_the_model_reads_is_refused_with_both_numbers(kind: type[Objective]) -> None:
    module = generator_of(kind)
    frame = len(module.objective.template.before) + len(module.objective.template.behind)
    text = "[MASK]" + " the" * 4
    marks = 5 if kind is not CausalLM else len(ids_of(text))
    assert refused(kind, "[MASK]", text, max_positions=marks + frame - 1) == (
        f"text 2 of 2 takes {marks + frame} positions, and this model reads at most {marks + frame - 1}: shorten it"
    )
    decoding = {"max_new_tokens": 1} if kind is not MaskedLM else {}
    assert len(generations(module, text, max_positions=marks + frame, decoding=decoding)) == 1


def test_a_text_without_a_mark_is_refused_where_marks_are_filled() -> None:
    assert refused(MaskedLM, "no <mask>") == "the text has no [MASK]: write it where text is hidden"
    message = "text 1 of 2 has no [MASK] or <extra_id_0>: write it where text is hidden"
    assert refused(SpanCorruption, "none", "[MASK]") == message


def test_more_marks_than_sentinels_are_refused_with_both_numbers() -> None:
    assert refused(SpanCorruption, "[MASK]" * 129, max_positions=200) == (
        "the text has 129 marks, and there are 128 sentinels"
    )


def test_an_empty_text_is_refused_where_there_is_nothing_to_predict() -> None:
    assert refused(Denoising, " ") == "the text is empty: there is nothing to restore"
    message = refused(CausalLM, "", knobs={"predict_across_documents": False})
    assert "predict_across_documents = false" in message
    assert "begin the text" in message


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (MaskedLM, {"decoding": {"temperature": 0.5, "seed": 3}}, "temperature = 0.5, seed = 3: a masked LM names"),
        (CausalLM, {"candidates": 3}, "candidates = 3: a causal LM continues"),
        (Denoising, {"candidates": 3}, "candidates = 3: a denoiser generates"),
        (SpanCorruption, {"candidates": 3}, "candidates = 3: span corruption generates"),
    ],
)
def test_settings_that_an_answer_has_no_use_for_are_refused(
    kind: type[Objective], settings: dict[str, Any], message: str
) -> None:
    assert message in refused(kind, "[MASK]", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples = 0 must be at least 1"),
        ({"candidates": 0}, "candidates = 0 must be at least 1"),
        ({"samples": 2}, "samples = 2 need a temperature above 0"),
        ({"samples": 2, "decoding": {"beams": 2}}, "samples = 2 need a temperature above 0"),
    ],
)
def test_impossible_questions_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prompts("x", **settings)


def test_an_objective_without_a_strategy_is_refused() -> None:
    class Mute(MaskedLM):
        inference = InferenceStrategy()

    with pytest.raises(ValueError, match="Mute generates no text: it names no inference strategy"):
        generations(generator_of(Mute), "x")


def test_masks_are_labelled_and_nothing_else() -> None:
    module = generator_of(MaskedLM, next_sentence=True)
    with recorded(module.network) as read:
        (answer,) = generations(module, "The [MASK] cat [MASK]")
    assert read[0].encoder_ids_BS is not None
    assert (read[0].encoder_ids_BS == vocabulary().mask).sum() == len(answer.details["masks"]) == 2
    assert IGNORE not in read[0].encoder_ids_BS
