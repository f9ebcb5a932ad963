"""A scorer remembers what it has computed, and only that."""

from pathlib import Path

import numpy as np
import pytest

from data.text.cleaning import sentences
from evaluation.scoring import cached as readers
from evaluation.scoring.cached import PASSAGES_AT_ONCE, CachedScorer, Passage, store_of, tokens_of
from objectives.core.strategy import InferenceStrategy, Scorer
from objectives.inference.continue_text import ContinueText
from objectives.weights.load import load_run
from tests.evaluation.scorers import write_run
from tests.helpers import made_up_documents
from tests.objectives.inference.prompting import ids_of, tokenizer
from training.storage.checkpoint import checkpoint_name, read_checkpoint, write_checkpoint

PASSAGES = [Passage("The young cat sees a bird."), Passage(" sees a house.", "The old dog"), Passage("새가 집을 보고")]


@pytest.fixture
def folder(store: Path, tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", "causal_lm", store)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the passages that a model scored, grown while the test runs."""
    found: list[int] = []

    def counting(*arguments, **more):
        found.append(len(arguments[2]))
        return original(*arguments, **more)

    original = readers.score
    monkeypatch.setattr(readers, "score", counting)
    return found


def test_what_has_been_scored_is_not_scored_again(folder: Path, scored: list[int]) -> None:
    first, second = (CachedScorer(load_run(folder)).score("log_likelihood", PASSAGES) for _ in range(2))
    assert scored == [3]
    assert np.array_equal(first.log_likelihoods, second.log_likelihoods)
    assert np.array_equal(first.tokens, second.tokens)
    assert np.array_equal(first.are_likeliest, second.are_likeliest)


def test_other_texts_weights_precisions_and_tokenizers_are(folder: Path, scored: list[int]) -> None:
    CachedScorer(load_run(folder)).score("log_likelihood", PASSAGES)
    CachedScorer(load_run(folder)).score("log_likelihood", PASSAGES[::-1])
    CachedScorer(load_run(folder), precision="bfloat16").score("log_likelihood", PASSAGES)
    checkpoint = folder / "checkpoints" / checkpoint_name(1)
    weights = read_checkpoint(checkpoint)["state_dict"]
    weights["network.body.token_table.weight"] *= 2
    write_checkpoint({"state_dict": weights}, folder / "checkpoints" / checkpoint_name(2))
    CachedScorer(load_run(folder)).score("log_likelihood", PASSAGES)
    assert scored == [3, 3, 3, 3]


def test_what_was_scored_before_a_process_was_killed_is_kept(folder: Path, scored: list[int]) -> None:
    many = [Passage(f"The cat sees {number}") for number in range(PASSAGES_AT_ONCE + 5)]
    scorer = CachedScorer(load_run(folder))
    scorer.score("log_likelihood", many[:PASSAGES_AT_ONCE])  # as far as it came
    found = scorer.score("log_likelihood", many)
    assert scored == [PASSAGES_AT_ONCE, 5]
    assert len(found.log_likelihoods) == len(many)


def test_a_torn_file_is_scored_again(folder: Path, scored: list[int]) -> None:
    scorer = CachedScorer(load_run(folder))
    first = scorer.score("log_likelihood", PASSAGES)
    (path,) = (folder / "scores").iterdir()
    for content in (b"", path.read_bytes()[:200]):
        path.write_bytes(content)
        again = scorer.score("log_likelihood", PASSAGES)
        assert np.array_equal(first.log_likelihoods, again.log_likelihoods)
    assert scored == [3, 3, 3]


def test_scores_lie_in_the_folder_that_is_named(folder: Path, tmp_path: Path) -> None:
    CachedScorer(load_run(folder), cache=tmp_path / "elsewhere").score("log_likelihood", PASSAGES)
    assert not (folder / "scores").exists()
    assert [path.suffix for path in (tmp_path / "elsewhere").iterdir()] == [".safetensors"]
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError) as raised:
        CachedScorer(load_run(folder), cache=tmp_path / "file").score("log_likelihood", PASSAGES)
    assert raised.value.__notes__ == [f"scores are kept in {tmp_path / 'file'}: name another folder as cache"]


def test_progress_counts_what_is_remembered_too(folder: Path) -> None:
    for _ in range(2):
        progress: list[float] = []
        CachedScorer(load_run(folder)).score("log_likelihood", PASSAGES, progress.append)
        assert sum(progress) == pytest.approx(3)


def test_texts_are_cut_as_in_training() -> None:
    text = " ".join(made_up_documents(3)) + "\n\n[MASK] 새가  집을 보고."
    ((found, _),) = tokens_of(tokenizer(), [Passage(text)])
    assert found.tolist() == [token for sentence in sentences(text) for token in ids_of(sentence)]


def test_what_stands_before_and_the_text_make_the_tokens_of_both() -> None:
    ((text, prefix),) = tokens_of(tokenizer(), [Passage(" sees a house.", "The old dog")])
    assert [*prefix, *text] == ids_of("The old dog sees a house.")


def test_a_scorer_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"minimal_pairs.scorers: 'pll' is none of CausalLM's, which are log_likelihood"
    ):
        CachedScorer(load_run(folder)).check(["log_likelihood", "pll"])


def test_continuations_are_scored_by_the_first_normalised_scorer_that_is_no_control(folder: Path) -> None:
    run = load_run(folder)
    known = next(iter(run.scorers.values()))
    scorer = CachedScorer(run)
    scorer.scorers = {
        "pseudo": Scorer(examples=known.examples),
        "control": Scorer(examples=known.examples, is_normalised=True, is_control=True),
        "chain": Scorer(examples=known.examples, is_normalised=True),
    }
    assert (scorer.primary, scorer.continuation) == ("pseudo", "chain")
    del scorer.scorers["chain"]
    with pytest.raises(ValueError, match="CausalLM has no normalised scorer: it continues no texts"):
        _ = scorer.continuation


def test_a_run_of_an_objective_without_scorers_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContinueText, "scorers", InferenceStrategy.scorers)
    with pytest.raises(ValueError, match="CausalLM scores no texts"):
        CachedScorer(load_run(folder))


def test_the_text_of_a_run_is_found_where_it_is_still_there(folder: Path, store: Path) -> None:
    assert store_of(load_run(folder)) == store
    (folder / "run.json").unlink()
    assert store_of(load_run(folder)) is None


def test_auto_is_the_faster_precision_measured_once_for_all_runs(
    folder: Path, scored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([{"32-true": 1.0, "bf16-mixed": 2.0}, {"32-true": 2.0, "bf16-mixed": 1.0}])
    monkeypatch.setattr(readers, "measured_rates", lambda products, accelerator: next(found))
    monkeypatch.setattr(readers, "_DECIDED", {})
    assert [CachedScorer(load_run(folder), precision="auto").precision for _ in range(2)] == ["bfloat16"] * 2
    CachedScorer(load_run(folder), precision="auto").score("log_likelihood", PASSAGES)
    CachedScorer(load_run(folder), precision="bfloat16").score("log_likelihood", PASSAGES)
    assert scored == [3]  # what is remembered is named by the precision that it was
    readers._DECIDED.clear()
    assert CachedScorer(load_run(folder), precision="auto").precision == "float32"
