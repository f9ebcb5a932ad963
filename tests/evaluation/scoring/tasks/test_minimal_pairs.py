"""Minimal pairs: the acceptance tests of the protocol on accuracies, and what files may hold."""

import json
import lzma
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from data.store.store import TokenStore
from evaluation.scoring.cached import CachedScorer
from evaluation.scoring.evaluate import make_evaluation
from evaluation.scoring.likelihood import Likelihoods
from evaluation.scoring.results import macro_mean
from evaluation.scoring.tasks.minimal_pairs import MinimalPairs, Pair, read_pairs, unigram_log_likelihoods, verdicts
from objectives.weights.load import load_run
from tests.evaluation.scorers import write_run
from tests.helpers import TWO_BY_DEFAULT, made_up_documents

AGREEMENT = {"UID": "number", "linguistics_term": "agreement"}
ROWS = [
    {"sentence_good": "The cats see Tim.", "sentence_bad": "The cats sees Tim.", **AGREEMENT},
    {"sentence_good": "The cat sees Tim.", "sentence_bad": "The cat see Tim.", **AGREEMENT},
    {"sentence_good": "Who sees the old cat?", "sentence_bad": "Sees who the cat?", "UID": "order"},
]


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> str:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return str(path)


def turned(row: dict[str, str]) -> dict[str, str]:
    return {**row, "sentence_good": row["sentence_bad"], "sentence_bad": row["sentence_good"]}


def shuffled_pairs(number: int) -> list[dict[str, str]]:
    """Sentences, and the same with their inner words in another order: of the same tokens."""
    rng = np.random.default_rng(0)
    sentences = [part.split() for text in made_up_documents(number) for part in text.split(".")]
    sentences = [words for words in sentences if len(set(words[1:-1])) > 2][:number]
    rows = []
    for place, (first, *inner, last) in enumerate(sentences):
        bad = " ".join([first, *rng.permutation(inner), last])
        rows.append({"sentence_good": " ".join([first, *inner, last]), "sentence_bad": bad, "UID": f"p{place % 5}"})
    return rows


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", "causal_lm", store)


def constant(_reader: CachedScorer, _name: str, passages: Sequence[object], *_advance: object) -> Likelihoods:
    ones = np.ones(len(passages))
    return Likelihoods(
        log_likelihoods=-7 * ones,
        tokens=ones.astype(np.int64),
        are_likeliest=ones > 0,
        are_longer=ones < 0,
        standard_errors=0 * ones,
    )


def test_a_tie_counts_one_half() -> None:
    assert verdicts(np.array([-1.0, -2.0, -3.0]), np.array([-2.0, -1.0, -3.0])).tolist() == [1, 0, 0.5]


def test_the_mean_is_of_the_paradigms_means() -> None:
    assert macro_mean(np.array([1.0, 1, 1, 0]), ["many", "many", "many", "few"]) == 0.5


def test_a_constant_score_is_right_in_just_half_of_the_pairs(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CachedScorer, "score", constant)
    (result,) = MinimalPairs(files=(write_rows(tmp_path / "pairs.jsonl", ROWS),))(run)
    assert (result.mean, result.chance, result.beside["ties"]) == (0.5, 0.5, 1)


@pytest.mark.parametrize("name", TWO_BY_DEFAULT)
def test_pairs_that_are_turned_round_turn_accuracy_round(name: str, store: Path, tmp_path: Path) -> None:
    run, rows = write_run(tmp_path / "run", name, store), [*ROWS, *shuffled_pairs(6)]
    files = [write_rows(tmp_path / f"{side}.jsonl", side_rows) for side, side_rows in
             {"as they are": rows, "turned": [turned(row) for row in rows]}.items()]  # fmt: skip
    for there, back in zip(*(MinimalPairs(files=(file,), scorers="all")(run) for file in files), strict=True):
        assert np.array_equal(there.scores, 1 - back.scores), there.metric
        assert there.mean == pytest.approx(1 - back.mean, rel=1e-12)
        for baseline in ("length only", "unigram"):
            assert there.beside[baseline] == pytest.approx(1 - back.beside[baseline])


@pytest.mark.parametrize("name", TWO_BY_DEFAULT)
def test_a_model_that_knows_nothing_is_right_in_about_half_of_the_pairs(name: str, store: Path, tmp_path: Path) -> None:
    """Within four standard errors of 120 pairs."""
    run = write_run(tmp_path / "run", name, store)
    (result,) = MinimalPairs(files=(write_rows(tmp_path / "pairs.jsonl", shuffled_pairs(120)),))(run)
    assert len(result.scores) == 120
    assert abs(result.mean - 0.5) < 4 * 0.5 / np.sqrt(120)


def test_the_order_of_pairs_changes_no_score(run: Path, tmp_path: Path) -> None:
    rows = shuffled_pairs(50)
    there, back = (
        MinimalPairs(files=(write_rows(tmp_path / f"{number}.jsonl", some),))(run)[0]
        for number, some in enumerate((rows, rows[::-1]))
    )
    assert np.array_equal(there.scores, back.scores[::-1])
    assert there.strata == back.strata[::-1]


def test_each_scorer_is_a_metric_and_a_control_ranks_nothing(store: Path, tmp_path: Path) -> None:
    run, file = write_run(tmp_path / "run", "span_corruption", store), write_rows(tmp_path / "pairs.jsonl", ROWS)
    found = MinimalPairs(files=(file,), scorers="all")(run)
    assert {result.metric: result.rankable for result in found} == {
        "minimal_pairs": True,
        "minimal_pairs/one_span": True,
        "minimal_pairs/eos_encoder": False,
    }
    named = MinimalPairs(files=(file,), scorers=("one_span", "span_pll"))(run)  # the latter is the primary one
    assert [result.metric for result in named] == ["minimal_pairs", "minimal_pairs/one_span"]
    with pytest.raises(
        ValueError, match=r"minimal_pairs.scorers: 'pll' is none of SpanCorruption's, which are span_pll, one_span"
    ):
        MinimalPairs(files=(file,), scorers=("pll",))(run)


def test_the_baseline_of_length_takes_the_sentence_of_fewer_tokens(run: Path, tmp_path: Path) -> None:
    rows = [
        {"sentence_good": "the cat", "sentence_bad": "the cat and the dog"},
        {"sentence_good": "the cat and the dog", "sentence_bad": "the cat"},
        {"sentence_good": "the cat", "sentence_bad": "cat the"},
        {"sentence_good": "the", "sentence_bad": "the the the"},
    ]
    tokenizer = load_run(run).tokenizer
    lengths = [[len(tokenizer.encode(text).ids) for text in row.values()] for row in rows]
    expected = [(good < bad) + 0.5 * (good == bad) for good, bad in lengths]
    (result,) = MinimalPairs(files=(write_rows(tmp_path / "pairs.jsonl", rows),))(run)
    assert result.beside["length only"] == np.mean(expected)
    assert {expected[0], expected[1]} == {0, 1}


def test_the_unigram_baseline_counts_the_tokens_of_the_training_text(run: Path, store: Path) -> None:
    trained = load_run(run)
    tokens = TokenStore(store, "train").tokens.tolist()
    text = tokens[:3]
    share = [(1 + tokens.count(token)) / (len(tokens) + trained.vocabulary.size) for token in text]
    found = unigram_log_likelihoods(trained, [np.array(text), np.array([], dtype=np.int64)])
    assert found is not None
    assert found == pytest.approx([np.log(share).sum(), 0])


def test_without_the_training_text_there_is_no_unigram_baseline(run: Path, tmp_path: Path) -> None:
    (run / "run.json").unlink()
    (result,) = MinimalPairs(files=(write_rows(tmp_path / "pairs.jsonl", ROWS),))(run)
    assert sorted(result.beside) == ["length only", "ties"]


def test_strata_are_paradigms_under_their_phenomena(tmp_path: Path) -> None:
    rows = [*ROWS, {"sentence_good": "고양이가 잔다", "sentence_bad": "고양이를 잔다"}]
    write_rows(tmp_path / "korean.jsonl", rows)
    pairs = list(read_pairs(tmp_path / "korean.jsonl"))
    assert [pair.stratum for pair in pairs] == ["agreement/number", "agreement/number", "order", "korean"]
    assert pairs[3] == Pair("고양이가 잔다", "고양이를 잔다", "korean", f"{tmp_path / 'korean.jsonl'}, line 4")


def test_two_lines_of_a_text_are_a_pair_the_bad_one_first(tmp_path: Path) -> None:
    """Zorro's form."""
    path = tmp_path / "agreement_subject_verb-in_question.txt"
    path.write_text("the cats runs .\nthe cats run .\n\nthe dog run .\r\nthe dog runs .\r\n", encoding="utf-8")
    stratum = "agreement_subject_verb/in_question"
    assert list(read_pairs(path)) == [
        Pair("the cats run .", "the cats runs .", stratum, f"{path}, line 1"),
        Pair("the dog runs .", "the dog run .", stratum, f"{path}, line 4"),
    ]
    assert MinimalPairs(files=str(tmp_path)).paths() == [path]
    for text, number in (("one\ntwo\nthree\n", 3), ("one\n\ntwo\n", 1)):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=f"line {number}: a bad sentence without the good one"):
            list(read_pairs(path))


def test_a_file_a_folder_and_a_glob_name_the_same_pairs(tmp_path: Path) -> None:
    paths = [Path(write_rows(tmp_path / f"{name}.jsonl", ROWS)) for name in "ab"]
    (tmp_path / "README.md").write_text("no pairs", encoding="utf-8")
    for files in (tuple(map(str, paths)), (str(tmp_path),), (str(tmp_path / "*.jsonl"),), str(tmp_path)):
        assert MinimalPairs(files=files).paths() == paths


def test_the_first_pairs_of_each_file_are_scored_where_time_is_short(run: Path, tmp_path: Path) -> None:
    rows = shuffled_pairs(12)
    files = tuple(write_rows(tmp_path / f"{name}.jsonl", part) for name, part in (("a", rows[:6]), ("b", rows[6:])))
    whole, short = MinimalPairs(files=files)(run)[0], MinimalPairs(files=files, pairs=2)(run)[0]
    kept = [0, 1, 6, 7]
    assert short.strata == tuple(whole.strata[index] for index in kept)
    assert short.scores.tolist() == whole.scores[kept].tolist()
    with pytest.raises(ValueError, match=r"minimal_pairs.pairs = 0 must be at least 1"):
        MinimalPairs(files=files, pairs=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: not a JSON object on one line"),
        ('["a", "b"]', r"line 2: list, not a JSON object with columns"),
        ('{"sentence_good": "The cat sleeps."}', r"line 2: a pair needs sentence_good and sentence_bad"),
        ('{"sentence_good": "The cat sleeps.", "sentence_bad": " "}', r"line 2: .* with text in both"),
        ('{"sentence_good": "The cat sleeps.", "sentence_bad": 3}', r"line 2: .* with text in both"),
    ],
)
def test_a_line_that_is_no_pair_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        list(read_pairs(path))


def test_a_pair_longer_than_the_run_reads_is_named_or_skipped_and_counted(run: Path, tmp_path: Path) -> None:
    long = {"sentence_good": "The cat sees Tim. " * 20_000, "sentence_bad": "The cat.", "UID": "long"}
    write_rows(tmp_path / "pairs.jsonl", [*ROWS, long])
    files = (str(tmp_path / "pairs.jsonl"),)
    with pytest.raises(ValueError, match=r"pairs\.jsonl, line 4: a sentence of [\d,]+ tokens, and .* --skip_long"):
        MinimalPairs(files=files)(run)
    (result,) = MinimalPairs(files=files, skip_long=True)(run)
    (short,) = MinimalPairs(files=(write_rows(tmp_path / "short.jsonl", ROWS),))(run)
    assert result.beside["skipped pairs"] == 1
    assert "skipped pairs" not in short.beside
    assert (result.mean, result.strata) == (short.mean, short.strata)
    with pytest.raises(ValueError, match="holds no pairs"):
        MinimalPairs(files=(write_rows(tmp_path / "long.jsonl", [long]),), skip_long=True)(run)


def test_no_pairs_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"minimal_pairs\.files: no pairs .* at '.*nowhere'"):
        MinimalPairs(files=(str(tmp_path / "nowhere"),))
    with pytest.raises(ValueError, match=r"minimal_pairs\.files names nothing"):
        MinimalPairs(files=())
    with pytest.raises(ValueError, match=r"minimal_pairs.files = .*empty.jsonl holds no pairs"):
        MinimalPairs(files=(write_rows(tmp_path / "empty.jsonl", []),))(run)


def test_a_study_declares_it_with_one_file_or_several(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "pairs.jsonl", ROWS)
    one, several = (make_evaluation("minimal_pairs", {"files": files, "scorers": "all"}) for files in (file, [file]))
    assert isinstance(one, MinimalPairs)
    assert isinstance(several, MinimalPairs)
    assert one.paths() == several.paths() == [Path(file)]
    assert one.scorers == "all"
    with pytest.raises(ValueError, match=r"evaluations: .*scorer'.* did you mean '.*scorers'"):
        make_evaluation("minimal_pairs", {"files": file, "scorer": "pll"})


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.parquet", "a.jsonl.xz"])
def test_pairs_are_read_in_every_format_of_rows(name: str, tmp_path: Path) -> None:
    rows = [{"sentence_good": "The cats see it.", "sentence_bad": "The cats sees it.", "UID": str(n)} for n in range(2)]
    path, mark = tmp_path / name, {"csv": ",", "tsv": "\t"}.get(name[2:])
    lines = [json.dumps(row) for row in rows]
    if mark is not None:
        path.write_text("\n".join([mark.join(rows[0]), *(mark.join(row.values()) for row in rows)]), encoding="utf-8")
    elif name == "a.parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif name == "a.json":
        path.write_text(f"[{', '.join(lines)}]", encoding="utf-8")
    else:
        path.write_bytes(lzma.compress("\n".join(lines).encode()))
    found = list(read_pairs(path))
    assert [(pair.good, pair.bad, pair.stratum) for pair in found] == [
        (row["sentence_good"], row["sentence_bad"], row["UID"]) for row in rows
    ]
    assert all(pair.origin.startswith(f"{path}, ") for pair in found)
