"""Fine-tuned runs in transformers: the same answers from the exported folder, by its own pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from finetuning.data.batch import collate
from finetuning.data.rows import DataWarnings, TextRow
from finetuning.export import export_tuned
from finetuning.grid import fine_tune
from finetuning.load import FineTunedRun, load_fine_tuned, predictions_of
from tests.finetuning.made_tasks import sentences
from tests.helpers import ROOT, TINY, train_in_process

Command = Callable[..., list[str]]
TEXTS = [" ".join(words) for words in sentences(50, 9)]
SHORT = [" ".join(words[:2]) for words in sentences(10, 9)]  # of which two fit into 35 positions
OBJECTIVE_OF = {
    "bert": "masked_lm",
    "gpt2": "causal_lm",
    "lab": "causal_lm",
    "bart": "denoising",
    "t5": "span_corruption",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def of_preset(corpus_file: Path, cache: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """`of_preset(preset)` is the folder of a run of two steps of that preset."""
    runs, made = tmp_path_factory.mktemp("presets"), {}

    def run(preset: str) -> Path:
        if preset not in made:
            config = ["--config", str(ROOT / f"configs/{OBJECTIVE_OF[preset]}.yaml"), "--name", preset, *TINY]
            where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(runs)]
            steps = ["--budget.steps", "2", "--body.preset", preset]
            assert train_in_process([*config, *where, *steps]) == 0
            made[preset] = runs / preset
        return made[preset]

    return cast(Command, run)


@pytest.fixture
def exported(tiny_task: Command, of_preset: Any, tmp_path: Path) -> Callable[..., tuple[FineTunedRun, Path, str]]:
    """A fine-tuned run of that task and preset, its folder for transformers, and the name of its class."""

    def make(task: str, preset: str, *more: str) -> tuple[FineTunedRun, Path, str]:
        settings = ("--optimizer.learning_rate", "3e-3", "--budget.steps", "12", "--name", f"{preset}-tuned", *more)
        command = tiny_task(task, OBJECTIVE_OF[preset], *settings)
        command[command.index("--checkpoint") + 1] = str(of_preset(preset))
        tuned = load_fine_tuned(fine_tune(command).folder)
        return tuned, tmp_path / "exported", export_tuned(tuned, tmp_path / "exported")

    return make


@pytest.mark.parametrize(
    ("task", "preset", "settings", "name"),
    [
        ("classification", "bert", ("--tuning.pooling", "cls"), "BertForSequenceClassification"),
        ("several labels", "bert", ("--tuning.pooling", "cls"), "BertForSequenceClassification"),
        ("classification", "gpt2", (), "GPT2ForSequenceClassification"),
        ("classification", "lab", (), "LlamaForSequenceClassification"),
    ],
)
def test_a_pipeline_classifies_as_predict_does(
    exported: Callable[..., Any], task: str, preset: str, settings: tuple[str, ...], name: str
) -> None:
    from transformers import pipeline

    tuned, folder, found = exported(task, preset, *settings)
    assert found == name
    pipe = pipeline("text-classification", model=str(folder), top_k=None)
    assert type(pipe.model).__name__ == name
    for text, (_, predicted) in zip(TEXTS, tuned.predict(TEXTS), strict=True):
        theirs = {answer["label"]: answer["score"] for answer in cast(Any, pipe([text]))[0]}
        assert theirs == pytest.approx(predicted["probabilities"], abs=1e-5)


def test_numbers_and_pairs_come_out_on_their_own_scale(exported: Callable[..., Any]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tuned, folder, _ = exported("regression", "bert", "--tuning.pooling", "cls", "--task.texts", "[text, other]")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [(text, " ".join(reversed(text.split()))) for text in SHORT]
    ours = [predicted["number"] for _, predicted in tuned.predict([{"text": one, "other": two} for one, two in pairs])]
    with torch.no_grad():
        theirs = [float(model(**tokenizer(*pair, return_tensors="pt")).logits) for pair in pairs]
    assert np.mean(ours) > 5  # numbers are of about 14
    assert theirs == pytest.approx(ours, abs=1e-4)


@pytest.mark.parametrize("preset", ["bert", "gpt2", "lab"])
def test_tags_have_the_same_logits(exported: Callable[..., Any], preset: str) -> None:
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    tuned, folder, _ = exported("entities", preset)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    assert [model.config.id2label[number] for number in range(3)] == tuned.module.labels
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS[:10]:
        examples = tuned.module.examples([tuned.module.row_of(text)], DataWarnings())
        batch = collate(examples, pad=tuned.module.start.vocabulary.pad)
        with torch.no_grad():
            theirs = model(**tokenizer(text, return_tensors="pt")).logits
            torch.testing.assert_close(tuned.module.scores(batch), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("preset", ["bert", "gpt2"])
def test_spans_have_the_same_logits(exported: Callable[..., Any], preset: str) -> None:
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    tuned, folder, _ = exported("questions", preset)
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in SHORT:
        row = tuned.module.row_of({"question": "what", "context": text})
        (example,) = tuned.module.examples([row], DataWarnings())
        assert example.where is not None
        begin, stop, first, _ = example.where.tolist()
        here = slice(first, first + stop - begin)
        with torch.no_grad():
            ours = tuned.module.scores(collate([example], pad=tuned.module.start.vocabulary.pad))[0, :, here]
            theirs = model(**tokenizer("what", text, return_tensors="pt"))
        torch.testing.assert_close(ours[0], theirs.start_logits[0, here], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours[1], theirs.end_logits[0, here], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("preset", ["bart", "t5"])
def test_a_model_that_writes_writes_the_same(exported: Callable[..., Any], preset: str) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tuned, folder, _ = exported("text_to_text", preset, "--budget.steps", "40")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for text, (_, predicted) in zip(TEXTS[:10], tuned.predict(TEXTS[:10]), strict=True):
        start = list(tuned.module.start.template.start + tuned.module.start.template.target_before)
        with torch.no_grad():
            ids = model.generate(
                **tokenizer(text, return_tensors="pt"),
                decoder_input_ids=torch.tensor([start]),
                max_new_tokens=16,
                do_sample=False,
            )
        generated = tokenizer.decode(ids[0], skip_special_tokens=True)
        assert generated.strip() == predicted["text"]


@pytest.mark.parametrize(
    ("task", "preset", "settings", "expected"),
    [
        ("classification", "bert", (), "fine-tune with --tuning.pooling cls to export"),
        ("classification", "gpt2", ("--tuning.attention", "bidirectional"), "are causal"),
        ("classification", "bart", (), "fine-tune with --tuning.pooling last to export"),
        ("entities", "bart", (), "no class of transformers is a TokenClassification"),
        ("questions", "t5", (), "no class of transformers is a QuestionAnswering"),
        ("regression", "gpt2", (), "has no bias, which a number needs"),
        ("questions", "lab", (), "no class of transformers is a QuestionAnswering"),
    ],
)
def test_what_no_class_is_is_refused_with_the_reason(
    exported: Callable[..., Any], task: str, preset: str, settings: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        exported(task, preset, *settings)


def test_an_answer_that_was_exported_is_that_of_the_best_weights(exported: Callable[..., Any]) -> None:
    tuned, folder, _ = exported("classification", "gpt2")
    rows = [TextRow(texts=(text,)) for text in TEXTS[:3]]
    assert len(predictions_of(tuned.module, rows)) == 3
    with pytest.raises(ValueError, match="is not empty: name a new folder"):
        export_tuned(tuned, folder)
