"""The nine laws of the house (ARCHITECTURE.md), each over all objectives; the details are tested room by room."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from data.datamodule import DataModule
from data.store.recipe import Recipe
from data.store.store import TokenStore, find_or_build, read_tokenizer
from data.stream.batch import IGNORE, Batch, Example
from data.stream.collate import collate
from data.stream.loader import CorruptedWindows, StepCollator, StepLoader
from data.stream.order import Purpose, generator
from data.stream.sharding import BatchSharding
from data.stream.windows import Window, Windows
from data.text.corpora import Corpus
from data.tokens.tokenizer import Vocabulary
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.helpers import (
    OBJECTIVES,
    TWO_BY_DEFAULT,
    made_up_documents,
    make_cli,
    make_vocabulary,
    make_windows,
    metrics_of,
    opened,
    run_script,
    several_processes,
    shared,
    train_in_process,
    weights_of,
    write_jsonl,
)
from tests.processes import Script
from training.storage.checkpoint import checkpoints_in, damage
from training.storage.run_dir import RunFolder

Command = Callable[..., list[str]]
CLASSES: dict[str, type[Objective]] = {
    "masked_lm": MaskedLM,
    "causal_lm": CausalLM,
    "denoising": Denoising,
    "span_corruption": SpanCorruption,
}


def batches(objective: Objective, windows: Windows, vocabulary: Vocabulary, steps: int, **loader: Any) -> list[Batch]:
    """The micro-batches of the first steps."""
    sharding = BatchSharding(batch_size=8, micro_batch_size=4)
    collator = StepCollator(
        micro_batch_size=4, pad=vocabulary.pad, max_lengths=objective.max_lengths(32), keep_documents_apart=False
    )
    examples = CorruptedWindows(windows, objective.corruption(vocabulary), seed=5)
    return list(StepLoader(examples, map(sharding.positions, range(steps)), collator, length=steps, **loader))


def test_law_1_every_objective_reads_the_same_windows_in_the_same_order(store: Path) -> None:
    windows, vocabulary = opened(store)
    steps = 2 * len(windows) // 8  # beyond an epoch
    read = {
        name: [batch.indices for batch in batches(objective(), windows, vocabulary, steps)]
        for name, objective in CLASSES.items()
    }
    assert all(indices == read["causal_lm"] for indices in read.values())
    first_epoch = [index for step in read["causal_lm"] for index in step][: len(windows)]
    assert sorted(first_epoch) == list(range(len(windows)))


@pytest.mark.parametrize("name", TWO_BY_DEFAULT)
def test_law_1_any_number_of_workers_gives_the_same_batches(store: Path, name: str) -> None:
    windows, vocabulary = opened(store)
    objective = CLASSES[name]()
    alone, *others = [batches(objective, windows, vocabulary, 6, num_workers=workers) for workers in (0, 1, 2)]
    for other in others:
        for mine, theirs in zip(alone, other, strict=True):
            assert mine.indices == theirs.indices
            for entry in ("encoder_ids_BS", "decoder_ids_BT"):
                left, right = getattr(mine, entry), getattr(theirs, entry)
                assert left is right is None or np.array_equal(left, right)
            for term, labels in mine.labels.items():
                assert torch.equal(labels.ids_N, theirs.labels[term].ids_N)
                assert torch.equal(labels.positions_N, theirs.labels[term].positions_N)


def relative_errors(run: Path, reference: Path) -> float:
    found, expected = weights_of(run), weights_of(reference)
    errors = [(found[name] - expected[name]).norm() / expected[name].norm().clamp(min=1e-9) for name in expected]
    return float(torch.stack(errors).max())


@pytest.mark.parametrize("name", TWO_BY_DEFAULT)
def test_law_2_a_run_is_the_same_however_its_batches_are_split(tiny_run: Command, tmp_path: Path, name: str) -> None:
    double = ("--budget.steps", "3", "--trainer.precision", "64-true", "--data.window", "12")
    for micro in (8, 1):
        assert train_in_process(tiny_run(name, f"micro-{micro}", *double, "--data.micro_batch_size", str(micro))) == 0
    assert relative_errors(tmp_path / "runs/micro-1", tmp_path / "runs/micro-8") < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_law_2_two_processes_are_one_run(tiny_run: Command, tmp_path: Path, name: str) -> None:
    """tests/training/step/test_distributed.py does this for the masked LM by default."""
    double = ("--budget.steps", "3", "--trainer.precision", "64-true", "--data.window", "12")
    assert train_in_process(tiny_run(name, "one", *double)) == 0
    done = several_processes(*tiny_run(name, "two", *double, "--data.micro_batch_size", "1"))
    assert done.returncode == 0, done.stderr
    assert relative_errors(tmp_path / "runs/two", tmp_path / "runs/one") < 1e-12


@pytest.mark.parametrize("name", TWO_BY_DEFAULT)
def test_law_3_a_run_goes_on_bit_by_bit_after_kill_9_at_any_moment(
    tiny_run: Command, tmp_path: Path, name: str
) -> None:
    long = ("--budget.steps", "60", "--checkpoints.every_steps", "3", "--validation.every_steps", "20")
    command = tiny_run(name, "killed", *long, "--body.dropout", "0.1")
    folder = RunFolder(tmp_path / "runs/killed")
    with Script("train.py", *command) as process:
        while not checkpoints_in(folder.checkpoints):
            assert process.is_running, process.stderr
            time.sleep(0.005)
        time.sleep(np.random.default_rng().uniform(0, 0.2))  # any moment: another one in every run of this test
        process.signal(signal.SIGKILL)
        process.wait()
    assert folder.read_summary() is None, "the run was over before it was killed"
    assert train_in_process(command) == 0
    assert train_in_process(tiny_run(name, "whole", *long, "--body.dropout", "0.1")) == 0
    killed, whole = weights_of(folder.path), weights_of(tmp_path / "runs/whole")
    assert all(torch.equal(killed[parameter], whole[parameter]) for parameter in whole)
    assert metrics_of(folder.path) == metrics_of(tmp_path / "runs/whole")


def hidden_and_predicted(name: str, example: Example, vocabulary: Vocabulary) -> dict[int, int]:
    """For every place of the window that is hidden from the model, the position of the label that says it."""
    labels = next(iter(example.labels.values()))
    if name == "causal_lm":
        return {place: place for place in range(len(labels))}
    assert example.encoder_origins is not None
    if name == "masked_lm":
        calls = np.flatnonzero(labels != IGNORE)
        return {int(example.encoder_origins[at]): int(at) for at in calls if example.encoder_origins[at] >= 0}
    assert example.decoder_origins is not None
    shown = set(example.encoder_origins[example.encoder_ids != vocabulary.mask].tolist())
    is_text = (example.decoder_origins >= 0) & ~np.isin(labels, vocabulary.sentinels)
    places = {int(example.decoder_origins[at]): int(at) for at in np.flatnonzero(is_text)}
    return {place: at for place, at in places.items() if name == "span_corruption" or place not in shown}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_law_4_no_token_helps_to_predict_itself(name: str) -> None:
    """Another token in a hidden place changes no logit where it is to be said."""
    vocabulary = make_vocabulary()
    windows = make_windows(vocabulary, length=32)
    no_kept_tokens: dict[str, Any] = {"mask_rate": 1.0, "random_rate": 0.0} if name == "masked_lm" else {}
    objective = CLASSES[name](**no_kept_tokens)
    module = Pretraining(objective, **shared(width=32, layers=2, num_heads=2)).double()
    network = module.build(vocab_size=vocabulary.size, window=32).double().eval()
    corrupt, max_lengths = objective.corruption(vocabulary), objective.max_lengths(32)

    @torch.no_grad()
    def logits(window: Window) -> tuple[Example, dict[int, Tensor]]:
        example = corrupt(window, generator(0, Purpose.NOISE, 0, window.index), windows)
        batch = collate([window], [example], pad=vocabulary.pad, max_lengths=max_lengths, keep_documents_apart=False)
        rows = network.logits(batch, objective.token_term)
        return example, dict(zip(batch.labels[objective.token_term].positions_N.tolist(), rows, strict=True))

    tested = 0
    for window in (windows[index] for index in range(4)):
        example, logits_before = logits(window)
        for place, at in hidden_and_predicted(name, example, vocabulary).items():
            if vocabulary.is_special[window.tokens[place]]:
                continue
            tokens = window.tokens.copy()
            tokens[place] = vocabulary.ordinary[(int(tokens[place]) + 1) % len(vocabulary.ordinary)]
            _, otherwise = logits(replace(window, tokens=tokens))
            assert torch.equal(logits_before[at], otherwise[at]), (window.index, place)
            tested += 1
    assert tested >= 8


@pytest.mark.parametrize("name", OBJECTIVES)
def test_law_5_input_and_labels_together_hold_every_token_of_every_window(name: str, store: Path) -> None:
    windows, vocabulary = opened(store)
    objective = CLASSES[name]()
    corrupt = objective.corruption(vocabulary)
    for index in range(len(windows)):
        window = windows[index]
        example = corrupt(window, generator(0, Purpose.NOISE, 0, index), windows)
        labels = example.token_labels
        restored = np.full(len(window), -1, dtype=np.int64)
        if name == "causal_lm":
            restored = labels
        elif name == "denoising":
            restored = labels[1:-1]
        else:
            read, origins = example.encoder_ids, example.encoder_origins
            assert read is not None
            assert origins is not None
            text = (origins >= 0) & ~vocabulary.is_special[read] | (read == vocabulary.eos) & (origins >= 0)
            restored[origins[text]] = read[text]
            if name == "masked_lm":
                restored[origins[labels != IGNORE]] = labels[labels != IGNORE]
                replaced = (example.segments == 1).sum() - 1 if example.labels["next_sentence"][0] == 1 else 0
                restored[len(window) - replaced :] = window.tokens[len(window) - replaced :]  # a stranger's place
            else:
                assert example.decoder_origins is not None
                logits_before = ~np.isin(labels, vocabulary.sentinels) & (example.decoder_origins >= 0)
                restored[example.decoder_origins[logits_before]] = labels[logits_before]
        assert np.array_equal(restored, window.tokens), index


def test_law_6_text_never_becomes_a_special_token(tmp_path: Path) -> None:
    spelt = "[MASK] [CLS] [SEP] <s> </s> <pad> <unk> <extra_id_0> <extra_id_99> <mask> [PAD]"
    source = write_jsonl(tmp_path / "text.jsonl", [f"{text} {spelt} {text}" for text in made_up_documents(40)])
    recipe = Recipe(corpus=Corpus(source=(str(source),)), vocab_size=480, end_of_document=False)
    folder = find_or_build(recipe, tmp_path, report=lambda line: None)
    tokenizer, vocabulary = read_tokenizer(folder)
    tokens = TokenStore(folder, "train").tokens
    assert len(tokens)
    assert not vocabulary.is_special[tokens].any()
    assert spelt in tokenizer.decode(tokens.tolist(), skip_special_tokens=False)


def test_law_7_losses_of_different_objectives_are_shown_and_never_ranked(tiny_run: Command, tmp_path: Path) -> None:
    names = ("span_corruption", "masked_lm", "causal_lm")
    for name in names:
        assert train_in_process(tiny_run(name, name, "--budget.steps", "2")) == 0
    shown = run_script("summarize.py", *(str(tmp_path / "runs" / name) for name in names), COLUMNS="160")
    assert shown.returncode == 0, shown.stderr
    places = [shown.stdout.index(name) for name in names]
    assert places == sorted(places)  # as they were named, whatever their losses
    assert "not with the others" in " ".join(shown.stdout.split())
    for landmark in ("unigram", "ln V"):
        assert landmark in shown.stdout


@pytest.mark.parametrize("name", OBJECTIVES)
def test_law_8_the_signature_is_the_schema(
    tiny_run: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    """Every objective refuses what no signature names, and what its own signature makes impossible."""
    wrong = {
        "masked_lm": ("noise_density", "1.0"),
        "causal_lm": ("z_loss", "-1"),
        "denoising": ("permute_rate", "2"),
        "span_corruption": ("mean_span_length", "0.5"),
    }
    key, value = wrong[name]
    for arguments, expected in {
        ("--model.init_args.no_such_setting", "1"): "no_such_setting",
        (f"--model.init_args.{key}", value): f"model.init_args.{key} = {value}",
        ("--model.init_args.z_loss", "much"): "z_loss",
        ("--body.widht", "64"): "did you mean 'body.width'",
    }.items():
        assert train_in_process(tiny_run(name, "wrong", *arguments)) == 2
        (logits_before,) = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
        assert expected in logits_before
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", TWO_BY_DEFAULT)
def test_law_9_a_run_folder_tells_its_whole_story(tiny_run: Command, tmp_path: Path, store: Path, name: str) -> None:
    assert train_in_process(tiny_run(name, "whole", "--budget.steps", "4", "--logging.examples", "1")) == 0
    run = tmp_path / "runs/whole"
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    manifest = json.loads((store / "manifest.json").read_text(encoding="utf-8"))
    assert info["data"] == {"store": store.name, **manifest}
    assert (run / "tokenizer.json").read_bytes() == (store / "tokenizer.json").read_bytes()
    assert {"versions", "python", "platform", "commit", "parameters", "flops_per_step", "total_steps"} <= set(info)
    assert (run / "metrics.csv").stat().st_size
    assert (run / "examples.html").stat().st_size
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["steps"] == 4
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert config["model"]["class_path"].endswith(CLASSES[name].__name__)
    # The folder alone gives back the model.
    cli = make_cli(["--config", str(run / "config.yaml")])
    _, vocabulary = read_tokenizer(run)
    assert isinstance(cli.datamodule, DataModule)
    assert isinstance(cli.model, Pretraining)
    cli.model.build(vocab_size=vocabulary.size, window=cli.datamodule.window)
    cli.model.built.load_state_dict(weights_of(run))
    newest = checkpoints_in(run / "checkpoints")[0]
    assert damage(newest) is None
    assert {path.suffix for path in newest.iterdir()} == {".safetensors", ".json"}
