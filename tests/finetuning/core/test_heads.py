"""Each head against what its definition says, and each able to learn a few rows by heart."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from finetuning.body.body import states_of
from finetuning.core.heads import compared, means_of_texts
from finetuning.data.batch import collate
from finetuning.data.rows import DataWarnings, QuestionRow, TextRow, TokenRow
from finetuning.data.units import TextToTag
from finetuning.load import predictions_of
from finetuning.tasks.classification import Classification
from finetuning.tasks.token_classification import TokenClassification
from models.body import Inputs
from objectives.weights.load import load_run
from tests.finetuning.made_tasks import ANIMALS, sentences
from tests.finetuning.opened import learn_by_heart, opened, terms_of
from training.step.compilation import CompiledLayers

Command = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("task", "objective", "metric", "steps"),
    [
        ("several labels", "span_corruption", "accuracy", 30),
        ("entities", "denoising", "span_f1", 30),
        ("questions", "masked_lm", "exact_match", 40),
        ("text_to_text", "causal_lm", "chrf", 50),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("classification", "masked_lm", "accuracy", 40),
                ("classification", "causal_lm", "accuracy", 40),
                ("regression", "denoising", "pearson", 60),
                ("questions", "causal_lm", "exact_match", 80),
                ("text_to_text", "span_corruption", "chrf", 150),
            )
        ),
    ],
)
def test_every_head_learns_a_few_rows_by_heart(
    tiny_task: Command, task: str, objective: str, metric: str, steps: int
) -> None:
    module, data = opened(tiny_task(task, objective))
    torch.manual_seed(0)
    learn_by_heart(module, data, 8, steps, rate=1e-2)
    rows = data.rows["train"][:8]
    scores = module.measure_predictions(rows, predictions_of(module, rows))
    assert scores[metric].value >= 0.999


@pytest.mark.parametrize(("task", "kinds"), [("classification", 1), ("text_to_text", 2)])
def test_what_is_compiled_is_every_stack_that_a_task_uses(tiny_task: Command, task: str, kinds: int) -> None:
    """Of an encoder-decoder a head reads one stack, and a generated text takes both."""
    module, _ = opened(tiny_task(task, "denoising"))
    assert module.compiled_layers == CompiledLayers(kinds, preset="lab")


def test_each_text_has_a_mean_of_its_own_and_padding_is_in_none() -> None:
    """Against loops over the positions, in float64."""
    generator = torch.Generator().manual_seed(0)
    states_BTD = torch.randn(3, 7, 4, dtype=torch.float64, generator=generator)
    lengths, firsts = [7, 5, 2], [3, 4, 1]  # positions that are read, and how many of them are of the first text
    segments_BT = torch.tensor([[0 if place < first or place >= length else 1 for place in range(7)]
                                for first, length in zip(firsts, lengths, strict=True)])  # fmt: skip
    one, two = means_of_texts(states_BTD, torch.tensor(lengths), segments_BT, 2)
    (whole,) = means_of_texts(states_BTD, torch.tensor(lengths), torch.zeros_like(segments_BT), 1)
    for row, (first, length) in enumerate(zip(firsts, lengths, strict=True)):
        torch.testing.assert_close(one[row], sum(states_BTD[row, :first]) / first)
        torch.testing.assert_close(two[row], sum(states_BTD[row, first:length]) / (length - first))
        torch.testing.assert_close(whole[row], sum(states_BTD[row, :length]) / length)
    ours, swapped = compared(one, two).chunk(4, dim=-1), compared(two, one).chunk(4, dim=-1)
    for place, other in enumerate((1, 0, 2, 3)):
        torch.testing.assert_close(ours[place], swapped[other])


def _which_of_two(number: int, seed: int) -> list[TextRow]:
    """Pairs of sentences of which one names an animal: the first ("animal") or the second ("none")."""
    texts = sentences(4 * number, seed)
    named = [" ".join(words) for words in texts if set(words) & set(ANIMALS)]
    others = [" ".join(words) for words in texts if not set(words) & set(ANIMALS)]
    return [
        TextRow(texts=pair if place % 2 else pair[::-1], label="animal" if place % 2 else "none")
        for place, pair in enumerate(zip(named[:number], others, strict=False))
    ]


@pytest.mark.parametrize(("objective", "attention"), [("masked_lm", "as_trained"), ("causal_lm", "bidirectional")])
def test_a_head_alone_tells_which_of_two_texts_names_an_animal(
    tiny_task: Command, objective: str, attention: str
) -> None:
    """Without token types, one mean of both texts would hold the animal wherever it stood."""
    settings = ("--tuning.freeze", "true", "--tuning.attention", attention)
    module, data = opened(tiny_task("pairs", objective, *settings))
    data.examples["train"] = module.examples(_which_of_two(150, seed=0), DataWarnings())
    learn_by_heart(module, data, 150, 40, rate=4e-2)
    rows = _which_of_two(200, seed=1)
    scores = module.measure_predictions(rows, predictions_of(module, rows))
    assert scores["accuracy"].value > 0.75  # 0.84 and more; 0.5 by one mean


def test_an_untrained_head_knows_nothing(tiny_task: Command) -> None:
    module, data = opened(tiny_task("classification", "masked_lm"))
    term = terms_of(module, data, range(64))["label"]
    assert float(term.loss_sum) / term.divisor == pytest.approx(math.log(2), abs=0.02)


def test_smoothed_and_weighed_losses_are_torchs(tiny_task: Command) -> None:
    """The weights' mean over the training rows is 1, so that torch's weighted mean comes out over all of them."""
    settings = ("--tuning.label_smoothing", "0.1", "--tuning.class_weights", "balanced")
    module, data = opened(tiny_task("classification", "masked_lm", *settings))
    module = cast(Classification, module.double())
    labels = np.array([module.labels.index(row.label) for row in data.rows["train"]])
    counts = np.bincount(labels)
    np.testing.assert_allclose(module.weights_C, len(labels) / (2 * counts))
    plain = terms_of(module, data, range(64))["label"]
    batch = collate(data.examples["train"], pad=module.start.vocabulary.pad)
    with torch.no_grad():
        scores = module.scores(batch)
    targets = torch.from_numpy(labels)
    smooth = F.cross_entropy(scores, targets, label_smoothing=0.1, reduction="none")
    expected = (smooth * module.weights_C.double()[targets]).sum()
    torch.testing.assert_close(plain.minimised_sum, expected)
    torch.testing.assert_close(plain.loss_sum, F.cross_entropy(scores, targets, reduction="sum"))


@pytest.mark.parametrize("objective", ["masked_lm", "causal_lm"])
def test_the_body_reads_what_pretraining_read(tiny_task: Command, objective: str) -> None:
    """The states of a text are those of the pretrained run itself, given the text in the frame of pretraining."""
    module, data = opened(tiny_task("classification", objective))
    assert module.body is not None
    run = load_run(Path(tiny_task("classification", objective)[3]))
    text = data.rows["train"][0].texts[0]
    ids, vocabulary = run.tokenizer.encode(text, add_special_tokens=False).ids, run.vocabulary
    around = {"masked_lm": (vocabulary.cls, vocabulary.sep), "causal_lm": (vocabulary.eos, vocabulary.eos)}
    framed = [around[objective][0], *ids, around[objective][1]]
    pretrained = run.network.body
    batch = collate(data.examples["train"][:1], pad=vocabulary.pad)
    with torch.no_grad():
        if objective == "masked_lm":
            expected = pretrained.encode(Inputs(encoder_ids_BS=torch.tensor([framed])))
        else:
            expected = pretrained.decode(Inputs(decoder_ids_BT=torch.tensor([framed])))
        torch.testing.assert_close(states_of(module.body, batch), expected)


@pytest.mark.parametrize("attention", ["as_trained", "bidirectional"])
def test_a_lifted_mask_lets_the_first_token_see_the_last(tiny_task: Command, attention: str) -> None:
    module, data = opened(tiny_task("entities", "causal_lm", "--tuning.attention", attention))
    assert module.body is not None
    batch = collate(data.examples["train"][:4], pad=module.start.vocabulary.pad)
    assert batch.decoder_ids_BT is not None
    assert batch.decoder_lengths_B is not None
    with torch.no_grad():
        before = module.scores(batch)
        padded = batch.decoder_ids_BT.clone()
        padded[0, int(batch.decoder_lengths_B[0]) :] = 300
        batch.decoder_ids_BT[:, 3] = 301
        after = module.scores(batch)
        batch.decoder_ids_BT = padded
        beside = module.scores(batch)
    assert torch.equal(before[:, 0], after[:, 0]) == (attention == "as_trained")
    length = int(batch.decoder_lengths_B[0])
    torch.testing.assert_close(before[0, :length], beside[0, :length])  # padding is never seen


@pytest.mark.parametrize("objective", ["masked_lm", "causal_lm", "denoising"])
def test_a_sentence_in_parts_is_answered_for_every_word(tiny_task: Command, objective: str) -> None:
    module, _ = opened(tiny_task("entities", objective, "--data.max_length", "12"))
    module = cast(TokenClassification, module)
    words = ("the", "cat", "sees", "the", "small", "dog", "and", "the", "old", "bird", "runs", "here")
    row, warnings = TokenRow(words=words, tags=("O",) * len(words), origin="here"), DataWarnings()
    examples = module.examples([row], warnings)
    assert len(examples) > 1
    assert all(len(example) <= 12 for example in examples)
    assert sum(len(example.labels["tag"]) for example in examples) == len(words)
    (tags,) = predictions_of(module, [row])
    assert len(tags) == len(words)
    assert list(warnings.counts) == ["sentences longer than data.max_length = 12, read in parts"]


def test_entities_are_given_with_the_characters_of_the_text_that_was_given(tiny_task: Command) -> None:
    module, data = opened(tiny_task("entities", "masked_lm"))
    torch.manual_seed(0)
    learn_by_heart(module, data, 8, 40)
    known = next(row for row in data.rows["train"][:8] if any(tag != "O" for tag in row.tags))
    row = module.row_of("  " + ",   ".join(known.words).replace(",", ""))  # other white space
    fields = module.to_json(row, predictions_of(module, [row])[0])
    assert isinstance(row, TextToTag)
    assert len(fields["entities"]) == sum(tag.startswith("B-") for tag in known.tags)
    for entity in fields["entities"]:
        assert row.text[entity["start"] : entity["end"]] == entity["text"]
        assert f"animal '{entity['text']}' at {entity['start']}-{entity['end']}" in module.format(row, fields)


def test_every_token_of_a_long_context_lies_in_a_window_with_its_answer(tiny_task: Command) -> None:
    module, _ = opened(tiny_task("questions", "masked_lm", "--data.max_length", "24", "--task.stride", "5"))
    context = "the cat sees the small dog and the old bird runs here and then sleeps"
    row = QuestionRow(id="1", question="who", context=context, answers=())
    examples = module.examples([row], DataWarnings())
    assert len(examples) > 2
    length = len(module.start.tokenizer.encode(context, add_special_tokens=False).ids)
    held = set()
    for example in examples:
        assert example.encoder_ids is not None
        assert example.where is not None
        assert len(example.encoder_ids) <= 24
        held |= set(range(*example.where[:2]))
    assert held == set(range(length))
    (answer,) = predictions_of(module, [row])
    assert answer.text == context[answer.start : answer.end] != ""


def test_a_text_too_long_is_cut_and_counted(tiny_task: Command) -> None:
    module, _ = opened(tiny_task("pairs", "masked_lm", "--data.max_length", "20"))
    warnings = DataWarnings()
    rows = [TextRow(texts=("cat", "dog " * 30), label="animal", origin="row 1"), TextRow(texts=("", ""), label="none")]
    long, empty = module.examples(rows, warnings)
    assert [len(long), len(empty)] == [20, 3]
    assert warnings.lines() == ["texts longer than data.max_length = 20, their ends cut off: 1 (the first: row 1)"]
    assert long.segments is not None
    assert (long.segments == 0).sum() == 2 + len(module.start.tokenizer.encode("cat").ids)  # the shorter one is whole


def test_a_label_that_training_has_not_is_counted_and_never_right(tiny_task: Command) -> None:
    module, _ = opened(tiny_task("classification", "masked_lm"))
    warnings = DataWarnings()
    rows = [TextRow(texts=("cat",), label="plant", origin="row 1"), TextRow(texts=("cat",), label="animal")]
    examples = module.examples(rows, warnings)
    assert [len(example.labels["label"]) for example in examples] == [0, 1]
    assert "plant" in warnings.lines()[0]
    scores = module.measure_predictions(rows, predictions_of(module, rows))
    assert scores["accuracy"].items is not None
    assert scores["accuracy"].items[0] == 0


def test_bits_per_byte_are_those_of_the_pretrained_model_itself(tiny_task: Command) -> None:
    """A document said by the causal run: from the EOS before it to its own."""
    command = tiny_task("generation", "causal_lm")
    module, data = opened(command)
    module = module.double()
    rows = data.rows["test"][:3]
    found = module.measure_predictions(rows, predictions_of(module, rows))["bits_per_byte"].value
    run = load_run(Path(command[3]))
    pretrained = run.network.body
    pretrained = pretrained.double()
    nats, num_bytes = 0.0, 0
    for row in rows:
        ids = [run.vocabulary.eos, *run.tokenizer.encode(row.texts[0]).ids, run.vocabulary.eos]
        with torch.no_grad():
            states = pretrained.decode(Inputs(decoder_ids_BT=torch.tensor([ids[:-1]])))
            nats += float(F.cross_entropy(pretrained.logits(states[0]), torch.tensor(ids[1:]), reduction="sum"))
        num_bytes += len(row.texts[0].encode())
    assert found == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-9)
