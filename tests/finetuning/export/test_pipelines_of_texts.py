"""Transformers says the answers and texts of predict.py of an exported folder: 50 inputs, every family.

Of beams, of which each step costs several, every third input.
"""

import itertools
from typing import Any, cast

import numpy as np
import pytest
import torch

from finetuning.data.rows import DataWarnings
from models.generation.decoding import candidates, without
from tests.finetuning.export.pipelines import (
    KOREAN_TEXTS,
    LONG,
    TEXTS,
    TOLERANCE,
    Export,
    cases,
    pipeline,
    predicted,
    readable,
)
from tests.finetuning.made_tasks import sentences

# --- answers ---


def official_answer(
    model: Any, tokenizer: Any, question: str, context: str, *, step: int, length: int
) -> tuple[str, float]:
    """The best answer as BERT's run_squad.py finds it: of all spans of all windows, by the sum of their logits.

    None begins or ends at white space. Windows hold `length` tokens of the context, and begin `step` tokens apart.
    """
    encoded = tokenizer(
        question,
        context,
        truncation="only_second",
        stride=length - step,
        padding=True,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    kept = {name: encoded[name] for name in tokenizer.model_input_names}
    with torch.no_grad():
        logits = model(**kept)
    windows = [
        [place for place, text in enumerate(encoded.sequence_ids(number)) if text == 1]
        for number in range(len(encoded["input_ids"]))
    ]

    def around(number: int, token: int) -> float:
        """How much context a token of the text has in a window."""
        place, size = token - number * step, len(windows[number])
        return min(place, size - 1 - place) + 0.01 * size if 0 <= place < size else -1.0

    best = ("", -np.inf)
    for number, places in enumerate(windows):
        starts, ends = logits.start_logits[number].tolist(), logits.end_logits[number].tolist()
        offsets = encoded["offset_mapping"][number].tolist()
        for first, last in itertools.product(range(len(places)), repeat=2):
            begin, stop = offsets[places[first]], offsets[places[last]]
            score, token = starts[places[first]] + ends[places[last]], number * step + first
            if not first <= last < first + 30 or not all(context[slice(*ends)].strip() for ends in (begin, stop)):
                continue
            most = max(range(len(windows)), key=lambda other: around(other, token))
            if most == number and score > best[1]:
                best = (context[begin[0] : stop[1]], score)
    return best


@pytest.mark.parametrize("name", cases("bert", "bert wordpiece", "gpt2"))
def test_an_answer_is_the_same(exported: Export, name: str) -> None:
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    tuned, folder = exported("questions", name, "--data.max_length", "32", "--task.stride", "9")
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    contexts = [" ".join(words) for words in sentences(25, 4)]
    contexts += [f"{one} {two} {three}" for one, two, three in zip(KOREAN_TEXTS, TEXTS[30:], contexts, strict=False)]
    contexts += [" ".join(contexts[number : number + 9]) for number in range(8)]
    questions = ["what follows the", "?", "어디 강을", "who", ""]
    inputs = [
        {"question": question, "context": context}
        for question, context in zip(itertools.cycle(questions), contexts, strict=False)
    ]
    assert len(inputs) == 50
    num_special = len(tuned.module.start.template.around((), ())[0])
    num_windows = 0
    for row, mine in zip(inputs, predicted(tuned, inputs), strict=True):
        length = len(tuned.module.start.tokenizer.encode(row["question"], add_special_tokens=False).ids)
        text, score = official_answer(model, tokenizer, *row.values(), step=9, length=32 - num_special - length)
        assert (mine["answer"], mine["score"]) == (text, pytest.approx(score, abs=10 * TOLERANCE))
        assert row["context"][mine["place"]["start"] : mine["place"]["end"]] == text
        num_windows += len(tuned.module.examples([tuned.module.row_of(row)], DataWarnings())) > 1
    assert num_windows >= 4
    assert len({mine["answer"] for mine in predicted(tuned, inputs)}) > 10


# --- texts ---

SAYINGS = {
    "greedy": ((), TEXTS),
    "beams": (("--task.beams", "3", "--task.length_penalty", "2.0"), TEXTS[::3]),
}


@pytest.mark.parametrize("decoding_name", SAYINGS)
@pytest.mark.parametrize("name", cases("bart", "t5", "t5_v1_1"))
def test_an_encoder_decoder_generates_the_same_without_further_settings(
    exported: Export, name: str, decoding_name: str
) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    settings, texts = SAYINGS[decoding_name]
    tuned, folder = exported("text_to_text", name, "--task.prefix", "reverse: ", *settings)
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ours = [mine["text"] for mine in predicted(tuned, texts)]
    for text, mine in zip(texts, ours, strict=True):
        ids = model.generate(**tokenizer(model.config.prefix + text, truncation=True, return_tensors="pt"))
        assert readable(tokenizer.decode(ids[0], skip_special_tokens=True)) == mine
    assert len(set(ours)) > 5


@pytest.mark.slow
def test_a_mixture_generates_the_same_without_further_settings(exported: Export) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tuned, folder = exported("mixture", "t5")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    inputs = [f"tiny text: {text}" for text in TEXTS]
    ours = [mine["text"] for mine in predicted(tuned, inputs)]
    for text, mine in zip(inputs, ours, strict=True):
        ids = model.generate(**tokenizer(text, truncation=True, return_tensors="pt"))
        assert readable(tokenizer.decode(ids[0], skip_special_tokens=True)) == mine
    assert len(set(ours)) > 5


@pytest.mark.parametrize("decoding_name", SAYINGS)
@pytest.mark.parametrize("name", cases("gpt2", "lab"))
def test_a_causal_decoder_generates_the_same_of_a_source(exported: Export, name: str, decoding_name: str) -> None:
    """The pipeline puts the task's prefix before a text by itself."""
    settings, texts = SAYINGS[decoding_name]
    tuned, folder = exported("text_to_text", name, "--task.prefix", "reverse: ", *settings)
    pipe = pipeline("text-generation", folder, return_full_text=False, truncation=True)
    ours = [mine["text"] for mine in predicted(tuned, texts)]
    assert [readable(answer[0]["generated_text"]) for answer in pipe(texts)] == ours
    assert len(set(ours)) > 5


@pytest.mark.parametrize("name", cases("gpt2 plain", "gpt2", "lab"))
def test_a_text_is_continued_alike(exported: Export, name: str) -> None:
    tuned, folder = exported("generation", name, "--task.temperature", "0", "--task.longest_text", "12")
    pipe = pipeline("text-generation", folder, return_full_text=False)
    started = [text for text in TEXTS if text not in LONG]
    started += [f"{one} {two}" for one, two in zip(started[-2:], started[-4:], strict=False)]
    ours = [mine["text"] for mine in predicted(tuned, started)]
    assert [readable(answer[0]["generated_text"]) for answer in pipe(started)] == ours
    assert len(set(ours)) > 5


def test_a_continuation_is_drawn_from_the_same_probabilities(exported: Export) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tuned, folder = exported("generation", "gpt2", "--task.temperature", "3.0", "--task.top_p", "0.9")
    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer("the cat", return_tensors="pt")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generated = model.generate(**encoded, max_new_tokens=4, output_scores=True, return_dict_in_generate=True)
    with torch.no_grad():
        logits = model(generated.sequences).logits[0]
    module = cast(Any, tuned.module)
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    assert set(module.never.tolist()) == special - {tokenizer.eos_token_id} != set()  # EOS alone was a target
    for step, scores in enumerate(generated.scores):
        logits_1V = logits[encoded["input_ids"].shape[1] - 1 + step][None]
        expected = candidates(without(logits_1V, module.never), module.decoding)
        torch.testing.assert_close(scores.softmax(dim=-1), expected)
        assert 1 < int((expected > 0).sum()) < expected.shape[1]
