"""generate.py as a user runs it: texts from anywhere, answers as text, JSON or piece by piece, mistakes in one line."""

import inspect
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import generate
import show
from models.generation.decoding import Decoding
from objectives.core.prompts import Prompts
from tests.helpers import OBJECTIVES, ROOT, TINY, run_script, train_in_process
from training.storage.checkpoint import checkpoint_name

Runs = Callable[[str], str]
SHORT = ("--max_new_tokens", "6")


@pytest.fixture(scope="module")
def runs(corpus_file: Path, cache: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The folder of a run of each objective that has seen next to nothing, with its last two checkpoints."""
    folder = tmp_path_factory.mktemp("runs")

    def run(objective: str) -> str:
        if not (folder / objective).exists():
            where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(folder)]
            length = ["--budget.steps", "4", "--checkpoints.every_steps", "1"]
            config = ["--config", str(ROOT / f"configs/{objective}.yaml"), "--name", objective]
            assert train_in_process([*config, *TINY, *where, *length]) == 0
        return str(folder / objective)

    return run


def calls(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints."""
    capsys.readouterr()
    assert generate.main(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a mistake ends in."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        generate.main(list(arguments))
    assert left.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "Traceback" not in message
    return message


DETAILS = {
    "masked_lm": {"masks"},
    "causal_lm": {"continuation", "is_finished", "log_probability"},
    "denoising": {"is_finished", "log_probability"},
    "span_corruption": {"spans", "is_finished", "log_probability"},
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_answers_what_it_was_trained_for(
    objective: str, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same text as JSON and as lines to be read."""
    options = SHORT if objective != "masked_lm" else ("--candidates", "3")
    text = "그 고양이가 [MASK] 달린다."
    answer = json.loads(printed := calls(capsys, runs(objective), text, "--json", *options))
    assert "그 고양이가" in printed  # and no escapes
    assert answer.pop("prompt") == text
    assert set(answer) == {"text", *DETAILS[objective]}
    lines = calls(capsys, runs(objective), text, *options)
    assert lines.startswith(f"{answer['text']}\n")
    if objective == "masked_lm":
        assert len(answer["masks"][0]) == 3
        assert all(f"{named['probability']:.1%}" in lines for named in answer["masks"][0])
    if objective == "causal_lm":
        assert answer["text"] == text + answer["continuation"]


def test_texts_come_from_the_command_line_a_file_or_standard_input(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One a line, whatever ends the lines, an empty one among them; in the order in which they came."""
    run, texts = runs("causal_lm"), ["The cat", "", "A tree\u2028here"]
    (tmp_path / "texts.txt").write_text("The cat\r\n\r\nA tree\u2028here\r\n", encoding="utf-8", newline="")
    printed = [calls(capsys, run, *texts, "--json", *SHORT)]
    printed.append(calls(capsys, run, "--file", str(tmp_path / "texts.txt"), "--json", *SHORT))
    for source in (["-"], ["--file", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(texts).encode())))
        printed.append(calls(capsys, run, *source, "--json", *SHORT))
    assert len(set(printed)) == 1
    assert [json.loads(line)["prompt"] for line in printed[0].removesuffix("\n").split("\n")] == texts


def test_texts_in_another_encoding_are_refused_by_its_name_wherever_they_come_from(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, content = runs("causal_lm"), "철수는 학교에서 책을 읽었다".encode("cp949")
    (tmp_path / "a.txt").write_bytes(content)
    for main, source in ((generate.main, [run]), (show.main, [])):
        for origin in (["--file", str(tmp_path / "a.txt")], ["-"]):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            with pytest.raises(SystemExit) as ended:
                main([*source, *origin])
            assert ended.value.code == 2
            name = "standard input" if origin == ["-"] else r".*a\.txt"
            assert re.search(rf"{name}, line 1: is not UTF-8 and looks like cp949", capsys.readouterr().err)
    (tmp_path / "b.txt").write_bytes("The cat\r\n".encode("utf-16"))
    printed = [
        calls(capsys, run, *words, "--json", *SHORT) for words in (["The cat"], ["--file", str(tmp_path / "b.txt")])
    ]
    assert printed[0] == printed[1]


def test_options_may_stand_anywhere(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    run, options = runs("causal_lm"), ("--temperature=1.0", "--length_penalty", "-0.5", *SHORT)
    printed = {
        calls(capsys, run, "The cat", *options),
        calls(capsys, *options, run, "The cat"),
        calls(capsys, run, *options, "The cat"),
        calls(capsys, run, *options, "--", "The cat"),
    }
    assert len(printed) == 1
    assert calls(capsys, run, *SHORT, "--", "--The cat").startswith("--The cat")


def test_every_setting_of_the_decoding_is_an_option(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        generate.main(["--help"])
    message = capsys.readouterr().out
    assert all(f"--{name} " in message for name in inspect.signature(Decoding).parameters)
    run = runs("causal_lm")
    drawn = [calls(capsys, run, "The", *SHORT, "--temperature", "2", "--seed", seed) for seed in ("1", "1", "2")]
    assert drawn[0] == drawn[1] != drawn[2]
    lines = calls(capsys, run, "The", *SHORT, "--temperature", "2", "--samples", "3", "--json").splitlines()
    assert len({json.loads(line)["text"] for line in lines}) == 3


def test_samples_without_a_temperature_are_drawn_at_a_named_one_and_stand_apart(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs("causal_lm")
    capsys.readouterr()
    assert generate.main([run, "The cat", "The dog", *SHORT, "--samples", "2"]) == 0
    printed = capsys.readouterr()
    assert "2 samples are drawn at --temperature 0.8" in printed.err
    headings = [line for line in printed.out.splitlines() if line.startswith("---")]
    assert headings == [f"--- text {text}, sample {sample} of 2 ---" for text in (1, 2) for sample in (1, 2)]
    given = calls(capsys, run, "The cat", "The dog", *SHORT, "--samples", "2", "--temperature", "0.8")
    assert given == printed.out
    assert calls(capsys, run, "The cat", *SHORT, "--samples", "2").startswith("--- sample 1 of 2 ---\n")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_terminal_reads_piece_by_piece_what_a_pipe_reads_at_once(
    objective: str, runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The young [MASK] sees a big house."
    whole = calls(capsys, runs(objective), text)
    pieces: list[str] = []
    write = sys.stdout.write
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "write", lambda piece: [pieces.append(piece), write(piece)][1])
    assert calls(capsys, runs(objective), text) == whole
    assert "".join(pieces) == whole
    if objective == "causal_lm":
        assert len([piece for piece in pieces if piece.strip()]) >= 3


def test_an_earlier_checkpoint_can_be_named(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs("masked_lm")
    newest, same, earlier = (calls(capsys, run, "[MASK]", "--json", *step) for step in ([], ["--step=4"], ["--step=3"]))
    assert newest == same != earlier


def test_a_damaged_checkpoint_is_passed_over_and_the_answer_stays_json(
    runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = shutil.copytree(runs("causal_lm"), tmp_path / "damaged")
    weights = folder / "checkpoints" / checkpoint_name(4) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    capsys.readouterr()
    assert generate.main([str(folder), "The cat", "--json", *SHORT]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["prompt"] == "The cat"
    assert "damaged" in printed.err


@pytest.mark.parametrize(
    ("objective", "arguments", "message"),
    [
        ("masked_lm", ["no mask"], "the text has no [MASK]"),
        ("masked_lm", ["[MASK]", "none"], "text 2 of 2 has no [MASK]"),
        ("masked_lm", ["[MASK]", "--temperature", "1"], "temperature = 1.0: a masked LM"),
        ("span_corruption", ["none"], "the text has no [MASK] or <extra_id_0>"),
        ("denoising", [""], "the text is empty"),
        ("causal_lm", ["a" * 200], "and this model reads at most 32: shorten it"),
        ("causal_lm", [], "give a text"),
        ("causal_lm", ["x", "--file", "y"], "give one of them"),
        ("causal_lm", ["--file", "nowhere.txt"], "nowhere.txt"),
        ("causal_lm", ["x", "--step", "1"], "has no checkpoint of step 1; it has 4, 3"),
        ("causal_lm", ["x", "--temprature", "1"], "did you mean 'temperature'?"),
        ("causal_lm", ["x", "--temperature", "warm"], "temperature"),
        ("causal_lm", ["x", "--temperature", "-1"], "temperature = -1.0 must be at least 0 and at most"),
        ("causal_lm", ["x", "--samples", "2", "--beams", "2"], "samples = 2 need a temperature above 0"),
        ("causal_lm", ["x", "--candidates", "2"], "candidates = 2: a causal LM"),
    ],
)
def test_a_mistake_is_one_line(
    objective: str, arguments: list[str], message: str, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, runs(objective), *arguments)


def test_what_is_no_run_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert f"'{tmp_path / 'none'}' is not a run" in refused(capsys, str(tmp_path / "none"), "x")


def test_nothing_is_printed_before_every_text_is_found_sound(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs("causal_lm")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        generate.main([run, "The cat", "a" * 200, *SHORT])
    assert not capsys.readouterr().out


def test_an_interruption_ends_it_quietly(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> Prompts:
        raise KeyboardInterrupt

    monkeypatch.setattr(generate, "Prompts", interrupt)
    assert generate.main([runs("causal_lm"), "The cat"]) == 130


def test_the_script_runs_in_a_process_of_its_own(runs: Runs) -> None:
    done = run_script("generate.py", runs("span_corruption"), "-", "--json", stdin="The [MASK] here.\n그 [MASK]\n")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert [json.loads(line)["prompt"] for line in done.stdout.splitlines()] == ["The [MASK] here.", "그 [MASK]"]
