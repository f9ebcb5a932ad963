"""finetune.py and predict.py as a user meets them: grids, answers in every form, and mistakes in one line."""

import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import finetune
import generate
import predict
import score
import summarize
from finetuning.cli import FineTuningCLI
from finetuning.grid import Grid, grid_of, spread, table_of
from tests.helpers import ROOT, UNMEASURED, run_script
from training.monitoring.next_command import command
from training.storage.run_dir import RunFolder
from training.storage.scores import FineTuningResult

Command = Callable[..., list[str]]
Capture = pytest.CaptureFixture[str]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGS = sorted((ROOT / "configs/tasks").glob("*.yaml"))


def status_of(main: Callable[[list[str]], int], arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as left:
        return int(left.code or 0)


# --- configs ---


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.name != "base.yaml"], ids=lambda path: path.stem)
def test_every_shipped_task_is_valid(path: Path, pretrained: dict[str, Path]) -> None:
    cli = FineTuningCLI(
        ["--config", str(path), "--checkpoint", str(pretrained["causal_lm"]), "--name", "valid", *UNMEASURED]
    )
    task = cli.config_init["task"]
    assert task.name == path.stem
    assert cli.datamodule.batch_size % 8 == 0
    text = path.read_text(encoding="utf-8")
    assert f"python finetune.py --config configs/tasks/{path.name}" in text.split("\ntask:")[0]
    for split in ("train", "development", "test"):
        assert not str(getattr(task, split)).startswith(("/", "..", "~"))  # a user's own paths are theirs to give


README_COMMANDS = list(re.findall(r"^python finetune\.py .*$", README.replace("\\\n", " "), flags=re.MULTILINE))


@pytest.mark.parametrize("command", README_COMMANDS)
def test_every_command_of_the_readme_is_valid(
    command: str, pretrained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(command)[2:]
    arguments[arguments.index("--checkpoint") + 1] = str(pretrained["masked_lm"])
    grid = grid_of(arguments)
    cli = FineTuningCLI([*(arguments if grid is None else grid.arguments), *UNMEASURED])
    assert cli.folder.parent == Path("runs")


# --- mistakes ---


def without(name: str, command: list[str]) -> list[str]:
    place = command.index(name)
    return [*command[:place], *command[place + 2 :]]


MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "a misspelt setting of the task": (("--task.txts", "[text]"), "did you mean 'task.texts'"),
    "a misspelt setting of the tuning": (("--tuning.layer_decy", "0.9"), "did you mean 'tuning.layer_decay'"),
    "a column that there is not": (("--task.texts", "[txt]"), "has no column 'txt'"),
    "a label column that there is not": (("--task.label", "lable"), "did you mean 'label'"),
    "a file that is not there": (("--task.train", "no/such.tsv"), "no file at 'no/such.tsv'"),
    "a checkpoint that is not there": (("--checkpoint", "no/run/here"), "neither a folder nor a name on the hub"),
    "a metric that there is not": (("--task.metric", "bleu"), "task.metric = 'bleu' is none of accuracy"),
    "labels that were left out": (("--task.label_names", "[animal, plant]"), "none of animal, plant"),
    "a batch that does not split": (("--data.micro_batch_size", "3"), "do not split over"),
    "a strategy that copies nothing": (("--trainer.strategy", "fsdp"), "choose ddp"),
    "an optimizer that knows no layers": (("--optimizer.name", "muon"), "choose adamw"),
    "a grid of nothing": (("--grid.seeds", "[]"), "grid.seeds = [] must be different numbers, at least one"),
    "a grid of words": (("--grid.learning_rates", "fast"), "a grid is --grid.learning_rates [1e-4,3e-4]"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_before_training_in_one_line(
    tiny_task: Command, tmp_path: Path, capsys: Capture, mistake: str
) -> None:
    arguments, expected = MISTAKES[mistake]
    assert status_of(finetune.main, tiny_task("classification", "masked_lm", *arguments)) == 2
    message = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(message) == 1
    assert expected in message[0]
    assert not (tmp_path / "runs/tuned/checkpoints").exists()


@pytest.mark.parametrize(
    ("left_out", "expected"), [("--config", "which task? Name its config"), ("--checkpoint", "which checkpoint?")]
)
def test_what_is_missing_is_named(tiny_task: Command, capsys: Capture, left_out: str, expected: str) -> None:
    assert status_of(finetune.main, without(left_out, tiny_task("classification", "masked_lm"))) == 2
    assert expected in capsys.readouterr().err


# --- grids ---


def test_a_grid_is_learning_rates_by_seeds_and_takes_up_what_is_there(tiny_task: Command, tmp_path: Path) -> None:
    command = tiny_task("classification", "masked_lm", "--budget.steps", "2")
    grid = grid_of([*command, "--grid.learning_rates", "[1e-4,1e-2]", "--grid.seeds=[1]"])
    assert grid is not None
    assert grid == Grid(learning_rates=(1e-4, 1e-2), seeds=(1,), arguments=tuple(command))
    runs = list(grid.run())
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    assert names == {f"tuned-s1-lr{rate}" for rate in ("0.0001", "0.01")}
    times = [(run.folder / "summary.json").stat().st_mtime_ns for run in runs]
    assert [run.scores for run in grid.run()] == [run.scores for run in runs]
    assert [(run.folder / "summary.json").stat().st_mtime_ns for run in runs] == times
    assert grid_of(command) is None


def test_a_grid_is_computed_in_the_precision_of_its_first_run(
    tiny_task: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([{"32-true": 1.0, "bf16-mixed": 2.0}])  # there is no second measurement
    monkeypatch.setattr("training.setup.precision.measured_rates", lambda products, accelerator: next(found))
    command = tiny_task("classification", "masked_lm", "--budget.steps", "1", "--trainer.precision", "auto")
    runs = list(Grid(seeds=(0, 1), arguments=tuple(command)).run())
    assert [RunFolder(run.folder).read_config()["trainer"]["precision"] for run in runs] == ["bf16-mixed"] * 2


def test_the_table_of_a_grid_has_medians_and_marks_what_the_development_split_chose() -> None:
    def run(rate: float, seed: int, development: float, test: float) -> FineTuningResult:
        scores = {"development/accuracy": development, "test/accuracy": test}
        return FineTuningResult(folder=Path(), learning_rate=rate, seed=seed, metric="accuracy", scores=scores)

    runs = [run(1e-4, seed, 0.5 + seed / 10, 0.9) for seed in range(3)]
    runs += [run(1e-3, seed, 0.7, 0.1 + seed / 10) for seed in range(3)]
    console = Console(file=io.StringIO(), width=200)
    console.print(table_of(runs))
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert re.search(r"0\.0001 +3 +0\.6000 \[0\.5000, 0\.7000\] +0\.9000 \[0\.9000, 0\.9000\]", printed)
    assert re.search(r"0\.001 \* +3 +0\.7000 \[0\.7000, 0\.7000\] +0\.2000 \[0\.1000, 0\.3000\]", printed)
    assert "median [least, greatest]" in printed
    assert spread([0.25]) == "0.2500"


# --- answers ---


def predictions(capsys: Capture, *arguments: str) -> list[Any]:
    capsys.readouterr()
    assert status_of(predict.main, [*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_arguments_files_and_standard_input_are_answered_alike(
    tuned: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["the cat sees", "", "a big river 강을 보고"]
    from_arguments = predictions(capsys, str(tuned), *texts)
    assert [set(line) for line in from_arguments] == [{"input", "label", "probabilities"}] * 3
    assert [line["input"] for line in from_arguments] == texts
    assert all(sum(line["probabilities"].values()) == pytest.approx(1) for line in from_arguments)
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    rows = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    (tmp_path / "texts.jsonl").write_text(rows, encoding="utf-8")
    for more in ((), ("--batch_size", "1")):
        for name in ("texts.txt", "texts.jsonl"):
            found = predictions(capsys, str(tuned), "--file", str(tmp_path / name), *more)
            assert [line["input"] for line in found] == [
                text if name == "texts.txt" else {"text": text} for text in texts
            ]
            for line, expected in zip(found, from_arguments, strict=True):
                assert line["label"] == expected["label"]
                assert line["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(texts).encode())))
    assert [line["label"] for line in predictions(capsys, str(tuned), "-")] == [
        line["label"] for line in from_arguments
    ]


def test_a_person_reads_the_label_and_how_likely_it_is(tuned: Path, capsys: Capture) -> None:
    assert status_of(predict.main, [str(tuned), "the cat sees"]) == 0
    share = r"(animal|none) \d\d?\.\d%"
    assert re.fullmatch(rf"(animal|none)  \({share}, {share}\)\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "there is nothing to predict"),
        (("text", "--file", "texts.txt"), "give texts or --file, not both"),
        (("--file", "not_there.txt"), "not_there.txt: there is no such file"),
        (("text", "--batch_size", "0"), "--batch_size = 0 must be at least 1"),
        (("no json", "--jsonl"), "text, line 1: not JSON on one line"),
        (('{"txt": "a"}', "--jsonl"), "input: this row has no column 'text' (it has: txt)"),
    ],
)
def test_what_is_no_input_is_refused_in_one_line(
    tuned: Path, capsys: Capture, arguments: tuple[str, ...], expected: str
) -> None:
    assert status_of(predict.main, [str(tuned), *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_a_run_that_was_only_pretrained_is_refused(pretrained: dict[str, Path], capsys: Capture) -> None:
    assert status_of(predict.main, [str(pretrained["masked_lm"]), "text"]) == 2
    assert "was pretrained, not fine-tuned: finetune.py takes it to a task" in capsys.readouterr().err
    assert status_of(predict.main, ["no/such/run", "text"]) == 2
    assert "is not a run" in capsys.readouterr().err


def test_a_fine_tuned_run_is_neither_continued_nor_scored_and_the_message_names_what_is_meant(
    tuned: Path, capsys: Capture
) -> None:
    for main, arguments in ((generate.main, ["text"]), (score.main, [])):
        assert status_of(main, [str(tuned), *arguments]) == 2
        assert f"'{tuned}' was fine-tuned" in capsys.readouterr().err


def test_the_first_and_the_last_line_are_whether_it_exports_and_the_next_command(
    tiny_task: Command, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status_of(finetune.main, tiny_task("classification", "causal_lm")) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "runs/tuned will export to transformers, as LlamaForSequenceClassification"
    script = command("predict.py", Path("runs/tuned"), "It was a pleasure .")
    assert lines[-1] == f"next: {script}"
    assert status_of(finetune.main, tiny_task("classification", "masked_lm", "--name", "other")) == 0
    assert "will not export to transformers (no class of transformers is" in capsys.readouterr().err.splitlines()[0]


def test_a_fine_tuned_run_is_no_checkpoint_to_begin_with(tuned: Path, tiny_task: Command, capsys: Capture) -> None:
    command = [*without("--checkpoint", tiny_task("classification", "masked_lm")), "--checkpoint", str(tuned)]
    assert status_of(finetune.main, command) == 2
    assert "was fine-tuned" in capsys.readouterr().err


def test_a_fine_tuned_run_stands_in_the_table_of_runs(
    tuned: Path, pretrained: dict[str, Path], capsys: Capture
) -> None:
    assert status_of(summarize.main, [str(tuned), str(pretrained["masked_lm"])]) == 0
    headings, first, second = [line.split() for line in capsys.readouterr().out.splitlines()][:3]
    assert first[:3] == ["tuned", "tiny", "finished"]
    assert first[-4:-2] == ["-", "-"]
    assert first[-2].startswith("test/")
    assert second[-2:] == ["6.174", "-"]
    assert headings[-1] == "score"


@pytest.mark.slow
def test_the_scripts_run_as_a_user_runs_them(tiny_task: Command, tmp_path: Path) -> None:
    command = tiny_task("entities", "causal_lm", "--tuning.attention", "bidirectional")
    done = run_script("finetune.py", *command)
    assert done.returncode == 0, done.stderr
    assert "test/span_f1" in done.stdout
    assert "Traceback" not in done.stderr
    done = run_script("predict.py", str(tmp_path / "runs/tuned"), "-", "--json", stdin="the cat\nthe river\n")
    assert [set(json.loads(line)) for line in done.stdout.splitlines()] == [{"input", "entities"}] * 2
