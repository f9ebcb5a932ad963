"""score.py as a user meets it."""

import json
import shlex
from pathlib import Path

import pytest

import score
from evaluation.scoring.tasks.continuation import Continuation
from evaluation.scoring.tasks.minimal_pairs import MinimalPairs
from tests.docs.test_documents import commands
from tests.evaluation.scorers import write_run
from tests.helpers import ROOT, run_script, write_jsonl
from tests.test_layers import imported
from tests.training.monitoring.test_wandb import records
from training.storage.run_dir import RunFolder

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


def test_a_run_is_measured_by_all_that_is_declared(
    run: Path, pairs: Path, passages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--continuation", "--bytes", "64", "--passages", "5", "--last_word", str(passages)]
    assert score.main([str(run), *options, "--minimal_pairs", str(pairs), "--scorer", "one_span", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["metrics"]) == [
        *("continuation", "minimal_pairs", "minimal_pairs/one_span", "last_word", "last_word/nats"),
    ]
    (continuation,) = Continuation(bytes=64, passages=5)(run)
    primary, one_span = MinimalPairs(files=(str(pairs),), scorers=("one_span",))(run)
    assert printed["metrics"]["continuation"]["mean"] == continuation.mean
    assert printed["metrics"]["minimal_pairs"]["mean"] == primary.mean
    assert printed["metrics"]["minimal_pairs"]["strata"] == {"x/a": primary.scores[0], "y/b": primary.scores[1]}
    assert printed["metrics"]["minimal_pairs/one_span"]["mean"] == one_span.mean


def test_the_table_says_what_stands_beside_a_score(run: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main([str(run), "--minimal_pairs", str(pairs), "--scorer", "all"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "minimal_pairs: chance 50.0%, length only" in printed
    assert "unigram" in printed
    assert "phenomenon minimal_pairs minimal_pairs/one_span minimal_pairs/eos_encoder x" in printed
    assert "a negative control, not to be ranked across objectives" in printed
    assert "the span is longer than those of training" in printed


def test_without_an_evaluation_the_held_out_text_is_continued(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main([str(run), "--passages", "3"]) == 0
    printed = capsys.readouterr().out
    assert "bits a byte" in printed
    assert "minimal_pairs" not in printed


def test_the_predictions_are_a_table_of_the_runs_own_run_in_wandb(run: Path, pairs: Path, passages: Path) -> None:
    RunFolder(run).write_info(wandb_id="abcd1234")
    options = ["--minimal_pairs", str(pairs), "--last_word", str(passages), "--continuation", str(passages)]
    done = run_script("score.py", str(run), *options, "--bytes", "16", "--wandb", "offline")
    assert done.returncode == 0, done.stderr
    found = records(run)
    assert {record.run_id for record in found["run"]} == {"abcd1234"}
    summary = {item.key or item.nested_key[0] for record in found["summary"] for item in record.update}
    assert {"score/minimal_pairs", "score/last_word", "score/last_word/nats", "score/continuation"} <= summary
    tables = {}
    for path in run.glob("wandb/offline-run-*/files/media/table/**/*.table.json"):
        table = json.loads(path.read_text(encoding="utf-8"))
        tables[path.name.partition("_")[0] + path.parent.name] = [
            dict(zip(table["columns"], row, strict=True)) for row in table["data"]
        ]
    rows = [row for table in tables.values() for row in table]
    assert len(tables) == 3
    assert [row["good"] for row in rows if "good" in row] == [pair["sentence_good"] for pair in PAIRS]
    assert {row["word"] for row in rows if "word" in row} == {"dog", "보고"}
    assert all(row["bits a byte"] > 0 for row in rows if "bits" in row)


def test_nothing_is_sent_where_the_run_logged_nothing(run: Path, pairs: Path) -> None:
    RunFolder(run).write_info(wandb_id="abcd1234")
    assert RunFolder(run).read_config()["logging"]["wandb"] == "off"
    assert score.main([str(run), "--minimal_pairs", str(pairs)]) == 0
    assert not (run / "wandb").exists()


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_files_in_another_encoding_are_scored_as_they_are_in_utf8(
    encoding: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["그 고양이가 집을 보고 새가 강을 본다", "철수는 학교에서 책을 읽었다"]
    pair = json.dumps({"sentence_good": texts[0], "sentence_bad": texts[1]}, ensure_ascii=False)
    scored = []
    for name in ("utf-8", encoding):
        (tmp_path / "a.txt").write_bytes("\n".join(texts).encode(name))
        (tmp_path / "a.jsonl").write_bytes(f"{pair}\n".encode(name))
        files = {"--continuation": "a.txt", "--last_word": "a.txt", "--minimal_pairs": "a.jsonl"}
        options = [word for flag, file in files.items() for word in (flag, str(tmp_path / file))]
        assert score.main([str(run), *options, "--bytes", "16", "--json", "--encoding", name]) == 0
        scored.append(json.loads(capsys.readouterr().out)["metrics"])
    assert scored[0] == scored[1]
    with pytest.raises(SystemExit):
        score.main([str(run), *options, "--encoding", "euc_jp" if encoding == "utf-16" else "utf-16"])
    assert ", line 1: is not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--encoding", "utf-9"], "--encoding = 'utf-9' is no encoding that Python knows"),
        (
            ["--minimal_pairs", "nowhere"],
            ".parquet, or Zorro's .txt) at 'nowhere'",
        ),
        (["--last_word", "nowhere.jsonl"], "--last_word: no file at 'nowhere.jsonl'"),
        (["--last_word", "last_word.files.txt"], "--last_word: no file at 'last_word.files.txt'"),
        (["--scorer", "pll"], "--scorer pll needs --minimal_pairs"),
        (["--precision", "half"], "--precision: 'half' is none of auto, float32"),
        (["--passages", "0"], "--passages = 0 must be at least 1"),
        (["--bytes", "7"], "--bytes = 7 must be at least 8"),
        (["--continuation", "nowhere.txt"], "--continuation: no file at 'nowhere.txt'"),
        (["--minimal_pair", "nowhere"], "minimal_pair"),
    ],
)
def test_a_mistake_ends_in_one_line(
    arguments: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        score.main([str(run), *arguments])
    printed = capsys.readouterr().err.strip()
    assert left.value.code == 2
    assert message in printed
    assert "evaluations:" not in printed
    assert len(printed.splitlines()) == 1


def test_a_mistake_that_the_text_reveals_names_the_option(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        score.main([str(run), "--bytes", "20000"])
    *_, line = capsys.readouterr().err.splitlines()
    assert line.endswith("/run was validated on has no document of 10000 bytes and a word behind them: lower --bytes")


def test_what_is_no_run_is_named() -> None:
    ended = run_script("score.py", "nowhere")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.strip() == "score.py: error: 'nowhere' is not a run: it has no config.yaml"


@pytest.mark.parametrize("command", commands("score.py"))
def test_every_score_of_the_readme_is_valid(command: str) -> None:
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
    above = ("outcome", "findings", "execution/runner", "execution/scheduler")
    assert not modules & {f"evaluation/{name}" for name in above}
