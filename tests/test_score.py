"""score.py as a user meets it."""

import json
import shlex
from pathlib import Path

import pytest

import score
from evaluation.scoring.tasks.continuation import Continuation
from evaluation.scoring.tasks.minimal_pairs import MinimalPairs
from tests.evaluation.scorers import write_run
from tests.helpers import ROOT, run_script, write_jsonl
from tests.test_documents import commands
from tests.test_layers import imported

PAIRS = [
    {"sentence_good": "The cats see Tim.", "sentence_bad": "The cats sees Tim.", "UID": "a", "linguistics_term": "x"},
    {"sentence_good": "The cat sees Tim.", "sentence_bad": "The cat see Tim.", "UID": "b", "linguistics_term": "y"},
]


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", "span_corruption", store)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{json.dumps(pair)}\n" for pair in PAIRS), encoding="utf-8")
    return path


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "passages.jsonl", ["The old cat sees the dog", "새가 집을 보고"])


def test_a_run_is_measured_by_all_that_is_asked(
    run: Path, pairs: Path, passages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--continuation", "--bytes", "64", "--passages", "5", "--last_word", str(passages)]
    assert score.main([str(run), *asked, "--minimal_pairs", str(pairs), "--scorer", "one_span", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said["metrics"]) == [
        *("continuation", "minimal_pairs", "minimal_pairs/one_span", "last_word", "last_word/nats"),
    ]
    (continuation,) = Continuation(bytes=64, passages=5)(run)
    primary, one_span = MinimalPairs(files=(str(pairs),), scorers=("one_span",))(run)
    assert said["metrics"]["continuation"]["mean"] == continuation.mean
    assert said["metrics"]["minimal_pairs"]["mean"] == primary.mean
    assert said["metrics"]["minimal_pairs"]["strata"] == {"x/a": primary.scores[0], "y/b": primary.scores[1]}
    assert said["metrics"]["minimal_pairs/one_span"]["mean"] == one_span.mean


def test_the_table_says_what_stands_beside_a_score(run: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main([str(run), "--minimal_pairs", str(pairs), "--scorer", "all"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "minimal_pairs: chance 50.0%, length only" in said
    assert "unigram" in said
    assert "phenomenon minimal_pairs minimal_pairs/one_span minimal_pairs/eos_encoder x" in said
    assert "a negative control, not to be ranked across objectives" in said
    assert "the span is longer than those of training" in said


def test_without_an_evaluation_the_held_out_text_is_continued(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main([str(run), "--passages", "3"]) == 0
    said = capsys.readouterr().out
    assert "bits a byte" in said
    assert "minimal_pairs" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minimal_pairs", "nowhere"], "minimal_pairs.files: no pairs (JSON lines, or Zorro's .txt) at 'nowhere'"),
        (["--last_word", "nowhere.jsonl"], "last_word.files: no file at 'nowhere.jsonl'"),
        (["--scorer", "pll"], "--scorer pll needs --minimal_pairs"),
        (["--precision", "half"], "continuation.precision: 'half' is none of auto, float32"),
        (["--passages", "0"], "continuation.passages = 0 must be at least 1"),
        (["--minimal_pair", "nowhere"], "minimal_pair"),
    ],
)
def test_a_mistake_ends_in_one_line(
    arguments: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        score.main([str(run), *arguments])
    said = capsys.readouterr().err.strip()
    assert left.value.code == 2
    assert message in said
    assert len(said.splitlines()) == 1


def test_what_is_no_run_is_named() -> None:
    ended = run_script("score.py", "nowhere")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.strip() == "score.py: error: 'nowhere' is not a run: it has no config.yaml"


@pytest.mark.parametrize("command", commands("score.py"))
def test_every_score_of_the_readme_can_be_asked_for(command: str) -> None:
    parsed = score.parse(shlex.split(command)[2:])
    assert parsed.run.parent == Path("runs")
    assert score.declared(parsed)


def test_there_are_commands_to_check() -> None:
    assert len(commands("score.py")) >= 3


def test_one_run_is_scored_without_the_means_of_a_study() -> None:
    """Going by imports alone, from the script and from every evaluation that it can name."""
    tasks = ROOT / "evaluation/scoring/tasks"
    ahead = [ROOT / "score.py", *(tasks / f"{name}.py" for name in ("continuation", "minimal_pairs", "last_word"))]
    reached: set[Path] = set()
    while ahead:
        path = ahead.pop()
        if path.is_file() and path not in reached:
            reached.add(path)
            ahead += [ROOT / f"{name.replace('.', '/')}.py" for name in imported(path)]
    modules = {path.relative_to(ROOT).with_suffix("").as_posix() for path in reached}
    assert {"evaluation/scoring/evaluate", "evaluation/scoring/likelihood"} <= modules
    rooms = ("evaluation/report/", "evaluation/statistics/", "evaluation/record/files")
    assert not [name for name in modules if name.startswith(rooms)]
    assert not modules & {f"evaluation/{name}" for name in ("outcome", "findings", "study/runner", "study/scheduler")}
