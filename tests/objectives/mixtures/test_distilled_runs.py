"""Runs beside a teacher: the laws, the teacher that no checkpoint holds, and the student that others read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.distilbert.modeling_distilbert import DistilBertForMaskedLM

import generate
import score
from data.stream.batch import Batch
from finetuning.body.body import start_from
from objectives.masked_lm import MaskedLM
from objectives.mixtures.distillation import Distillation
from objectives.span_corruption import SpanCorruption
from objectives.start.pretrained import open_pretrained
from objectives.weights.export import export_readiness, export_run
from objectives.weights.load import load_run
from tests.helpers import ROOT, TINY, metrics_of, train_in_process, weights_of
from tests.objectives.exactness import train_exactly_and_go_on
from tests.objectives.texts import made

Command = Callable[..., list[str]]
ONE_SEGMENT = {"second_segment": "none"}


# --- runs ---


@pytest.fixture(scope="module")
def teachers(corpus_file: Path, cache: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a masked LM with two segments over BERT's preset, and of a causal LM."""
    runs = tmp_path_factory.mktemp("teachers")
    where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(runs)]
    for name, more in {"masked_lm": ("--body.preset", "bert"), "span_corruption": ("--body.layers", "4")}.items():
        config = ["--config", str(ROOT / f"configs/{name}.yaml"), "--name", name]
        length = ["--budget.steps", "4", "--body.layers", "4", "--checkpoints.every_steps", "2"]
        assert train_in_process([*config, *TINY, *where, *length, *more]) == 0
    return runs


def test_laws_2_and_3_hold_beside_a_teacher(tiny_run: Command, teachers: Path, tmp_path: Path) -> None:
    """The same step to 1e-12 and the same resume bit by bit, with dropout of the body alone."""
    teacher = teachers / "masked_lm"
    own = ("--model.init_args.teacher", str(teacher), "--body.preset", "bert")
    own = (*own, "--model.init_args.objective", "objectives.masked_lm.MaskedLM")
    whole = train_exactly_and_go_on(
        tiny_run, tmp_path / "runs", "distillation", *own, "--data.tokenizer", str(teacher / "tokenizer.json")
    )
    assert not any("teacher" in name for name in weights_of(whole))
    info = json.loads((whole / "run.json").read_text())
    sha256 = json.loads(next((teacher / "checkpoints").glob("*4/sha256.json")).read_text())["weights.safetensors"]
    assert info["frozen"]["teacher"]["sha256"] == sha256
    assert info["initialized_from"]["sha256"] == sha256
    rows = [row for row in metrics_of(whole) if row.get("train/distilled")]
    assert rows


def refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert train_in_process(command) == 2
    return capsys.readouterr().err


def test_a_run_goes_on_with_its_own_teacher_alone(
    tiny_run: Command, teachers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(teachers / "masked_lm", teacher)
    own = ("--body.preset", "bert", "--budget.steps", "4", "--model.init_args.teacher")
    early, newest = (next((teacher / "checkpoints").glob(f"*{step}")) for step in (2, 4))
    assert train_in_process(tiny_run("distillation", "own", *own, str(early))) == 0
    (tmp_path / "runs/own/summary.json").unlink()
    assert "was begun beside another teacher" in refused(tiny_run("distillation", "own", *own, str(teacher)), capsys)
    shutil.rmtree(newest)  # the other one is the newest then, and a teacher's place may change
    assert train_in_process(tiny_run("distillation", "own", *own, str(teacher))) == 0
    (tmp_path / "runs/own/summary.json").unlink()
    shutil.rmtree(teacher)
    assert "neither a folder" in refused(tiny_run("distillation", "own", *own, str(teacher)), capsys)
    assert "teacher = null" in refused(tiny_run("distillation", "none"), capsys)
    assert "was trained for" in refused(
        tiny_run("distillation", "x", "--model.init_args.teacher", str(teachers / "masked_lm"),
                 "--model.init_args.objective", "objectives.causal_lm.CausalLM"), capsys,
    )  # fmt: skip


def test_a_student_is_distilbert_in_transformers_and_back(
    tiny_run: Command,
    teachers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is used without its teacher: it fills masks, and has the logits of its export, padded rows too."""
    teacher = tmp_path / "teacher"
    shutil.copytree(teachers / "masked_lm", teacher)
    own = ("--model.init_args.teacher", str(teacher), "--body.preset", "bert", "--budget.steps", "4")
    assert train_in_process(tiny_run("distillation", "own", *own)) == 0
    assert "the student's objective is its teacher's, MaskedLM" in caplog.text
    capsys.readouterr()
    shutil.rmtree(teacher)
    folder = tmp_path / "runs/own"
    run = load_run(folder)
    assert isinstance(run.objective, Distillation)
    assert isinstance(run.objective.student, MaskedLM)
    assert export_readiness(run.objective, run.body, (2, 0)).endswith("as DistilBertForMaskedLM")
    assert generate.main([str(folder), "A [MASK] .", "--json"]) == 0
    assert "masks" in capsys.readouterr().out
    assert start_from(str(folder))[1].num_blocks == (2, 0)  # it is fine-tuned as any run is
    assert run.scorers.keys() == made(MaskedLM, **ONE_SEGMENT).inference.scorers(run.objective, run.vocabulary).keys()

    assert export_run(run, tmp_path / "folder") == "DistilBertForMaskedLM"
    cls: Any = DistilBertForMaskedLM
    model, loading = cls.from_pretrained(tmp_path / "folder", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(0, run.vocabulary.size, (2, 12), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([12, 7])
    is_read = torch.arange(12) < lengths[:, None]
    tables: Any = run.network.body.stacks[0]
    positions, types = tables.embeddings.position_table.weight, tables.embeddings.segment_table.weight
    positions.add_(types[0])  # their sum is one table there, rounded to float32 as both are
    types.zero_()
    network = run.network.double()
    batch = batch_of_ids(ids, lengths)
    with torch.no_grad():
        ours = network.body.logits(network.states(batch).flatten(0, 1)).unflatten(0, ids.shape)
        theirs = model.double().eval()(input_ids=ids, attention_mask=is_read.long()).logits
    torch.testing.assert_close(ours[is_read], theirs[is_read], rtol=0, atol=1e-10)
    back = open_pretrained(str(tmp_path / "folder"))
    assert back.num_blocks == (2, 0)
    weights = weights_of(folder)
    name = "body.encoder.blocks.1.feed_forward.up.weight"
    assert torch.equal(back.state[name], weights[name])
    again = ("--model.init_args.teacher", str(tmp_path / "folder"), "--body.preset", "bert", "--budget.steps", "2")
    assert train_in_process(tiny_run("distillation", "again", *again)) == 0  # a folder of transformers as teacher


def batch_of_ids(ids_BS: Tensor, lengths_B: Tensor) -> Any:
    return Batch(
        encoder_ids_BS=ids_BS, encoder_lengths_B=lengths_B, segments_BS=torch.zeros_like(ids_BS),
        labels={}, token_term="masked", indices=[0, 1], raw_tokens=0,
    )  # fmt: skip


def test_a_student_of_span_corruption_fills_spans_and_scores(
    tiny_run: Command, teachers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two and two layers begin with one and one; nothing but the teacher is named."""
    own = ("--model.init_args.teacher", str(teachers / "span_corruption"), "--budget.steps", "4")
    assert train_in_process(tiny_run("distillation", "spans", *own)) == 0
    run = load_run(tmp_path / "runs/spans")
    assert isinstance(run.objective, Distillation)
    assert isinstance(run.objective.student, SpanCorruption)
    assert run.network.body.num_blocks == (1, 1)
    capsys.readouterr()
    assert generate.main([str(tmp_path / "runs/spans"), "The old [MASK] .", "--json", "--max_new_tokens", "4"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])
    assert score.main([str(tmp_path / "runs/spans"), "--passages", "2"]) == 0
