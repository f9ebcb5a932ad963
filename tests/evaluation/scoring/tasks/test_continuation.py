"""Continuation: how text is cut, and that bits are counted over bytes."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data.store.store import TokenStore
from evaluation.scoring.cached import CachedScorer
from evaluation.scoring.tasks.continuation import Continuation, passages_of, runs_of_words
from objectives.weights.load import load_run
from tests.evaluation.scorers import write_run
from tests.helpers import OBJECTIVES, made_up_documents, write_jsonl
from tests.objectives.inference.prompting import ids_of
from tests.objectives.texts import FIXED

KOREAN = "그 작은 고양이가 집을 보고 저 큰 강아지가 나무를 좋아하고 그리고 달린다 "


@FIXED
@given(st.text(alphabet="ab é한\n\t", max_size=200), st.integers(4, 40))
@example("a" * 30, 7)
@example("한" * 9, 4)
@example(" \n\n a", 4)
def test_runs_of_words_lose_nothing_but_the_end_and_are_no_longer_than_their_bound(text: str, num_bytes: int) -> None:
    runs = list(runs_of_words(text, num_bytes))
    assert "".join(runs) == text.rstrip()
    assert all(0 < len(run.encode()) <= num_bytes for run in runs)


def test_runs_are_cut_before_white_space_wherever_a_word_fits() -> None:
    assert list(runs_of_words("Thank you for inviting me", 10)) == ["Thank you", " for", " inviting", " me"]
    assert list(runs_of_words("abcdefgh ij", 5)) == ["abcde", "fgh", " ij"]


@pytest.mark.parametrize(
    "text", [" ".join(made_up_documents(20)), KOREAN * 8, "Old cats  see.\n\nA dog sleeps, too! " * 9]
)
def test_a_cut_before_white_space_is_one_between_tokens(text: str) -> None:
    runs = list(runs_of_words(text, 48))
    assert len(runs) > 5
    assert [token for run in runs for token in ids_of(run)] == ids_of(text.rstrip())


def test_a_passage_is_two_runs_the_first_as_if_a_document_began_with_it() -> None:
    found = list(passages_of("  Thank you for inviting me to your party", 20))
    assert [(passage.prefix, passage.text) for passage in found] == [
        ("Thank you", " for"),
        ("inviting", " me to"),
        ("your", " party"),
    ]
    assert not list(passages_of("Thank you", 64))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_mean_is_all_bits_over_all_bytes(name: str, store: Path, tmp_path: Path) -> None:
    run, file = (
        write_run(tmp_path / "run", name, store),
        write_jsonl(tmp_path / "text.jsonl", [KOREAN * 9, "The cat sees. " * 30]),
    )
    evaluation = Continuation(files=(str(file),), bytes=64, passages=6)
    (result,) = evaluation(run)
    scorer = CachedScorer(load_run(run), cache=tmp_path / "scores")
    passages = evaluation.chosen(scorer.run)
    found = scorer.score(scorer.continuation, passages)
    num_bytes = sum(len(passage.text.encode()) for passage in passages)
    assert len(passages) == len(result.scores) == 6
    assert result.mean == pytest.approx(-found.log_likelihoods.sum() / math.log(2) / num_bytes, rel=1e-12)
    assert result.scores.mean() == pytest.approx(result.mean)
    assert result.beside["bytes"] == num_bytes
    assert not result.higher_is_better


def test_a_model_that_knows_nothing_takes_the_logarithm_of_the_vocabulary_a_token(store: Path, tmp_path: Path) -> None:
    for name in OBJECTIVES:
        run = write_run(tmp_path / name, name, store)
        (result,) = Continuation(bytes=64, passages=8)(run)
        assert result.beside["bits a token"] == pytest.approx(math.log2(load_run(run).vocabulary.size), rel=0.05), name


def test_without_files_a_run_is_scored_on_the_text_it_was_validated_on(store: Path, tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", "causal_lm", store))
    held_out = TokenStore(store, "validation").tokens.tolist()
    passages = Continuation(bytes=64, passages=None).chosen(run)
    text = run.tokenizer.decode(held_out, skip_special_tokens=True)
    assert len(passages) > 5
    for passage in passages:
        assert passage.prefix + passage.text in text


def test_passages_are_spread_over_the_text(store: Path, tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", "causal_lm", store))
    every = Continuation(bytes=64, passages=None).chosen(run)
    some = Continuation(bytes=64, passages=3).chosen(run)
    assert some == [every[number * len(every) // 3] for number in range(3)]
    assert Continuation(bytes=64, passages=10**6).chosen(run) == every


def test_arms_are_measured_alike_whatever_their_objective(store: Path, tmp_path: Path) -> None:
    chosen = [Continuation(bytes=64).chosen(load_run(write_run(tmp_path / name, name, store))) for name in OBJECTIVES]
    assert all(passages == chosen[0] for passages in chosen)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bytes": 7}, "continuation.bytes = 7 must be at least 8"),
        ({"passages": 0}, "continuation.passages = 0 must be at least 1"),
        ({"files": ("nowhere.txt",)}, "continuation.files: no file at 'nowhere.txt'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Continuation(**settings)


def test_text_that_is_too_short_or_gone_is_refused(store: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "causal_lm", store)
    file = write_jsonl(tmp_path / "text.jsonl", ["Short.", ""])
    with pytest.raises(
        ValueError, match=r"has no document of 128 bytes and a word behind them: lower continuation.bytes"
    ):
        Continuation(files=(str(file),))(run)
    (run / "run.json").unlink()
    with pytest.raises(ValueError, match=r"the text that .*run was validated on is gone: name continuation.files"):
        Continuation()(run)


def test_scores_do_not_depend_on_each_other(store: Path, tmp_path: Path) -> None:
    """An item is resampled without the others: its score changes by their mean length alone."""
    run = write_run(tmp_path / "run", "causal_lm", store)
    (every,), (some,) = (Continuation(bytes=64, passages=number)(run) for number in (8, 4))
    assert np.allclose(every.scores[::2] / some.scores, every.scores[0] / some.scores[0], rtol=1e-5)
