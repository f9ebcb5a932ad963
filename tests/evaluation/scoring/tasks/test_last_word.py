"""Last-word prediction: what the prompt is, and when it counts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.scoring.cached import CachedScorer, Passage
from evaluation.scoring.tasks.last_word import LastWord, without_last_word
from models.body import Inputs
from objectives.weights.load import load_run
from tests.evaluation.scorers import write_run
from tests.helpers import OBJECTIVES, write_jsonl

TEXTS = ["The young cat sees the old dog", "The old bird and then the cat runs", "새가 집을 보고 나무를"]


def test_the_last_word_takes_the_white_space_before_it() -> None:
    assert without_last_word("the old  dog \n") == Passage(text="  dog", prefix="the old")
    assert without_last_word(" dog ") is None
    assert without_last_word("") is None


@pytest.mark.parametrize("name", OBJECTIVES)
def test_accuracy_and_nats_are_those_of_the_continuation(name: str, store: Path, tmp_path: Path) -> None:
    run, file = write_run(tmp_path / "run", name, store), write_jsonl(tmp_path / "texts.jsonl", [*TEXTS, "", "word"])
    accuracy, nats = LastWord(files=(str(file),))(run)
    scorer = CachedScorer(load_run(run), cache=tmp_path / "scores")
    passages = [Passage(text=f" {text.split()[-1]}", prefix=text.rsplit(" ", 1)[0]) for text in TEXTS]
    found = scorer.score(scorer.continuation, passages)
    assert accuracy.scores.tolist() == found.are_likeliest.astype(float).tolist()
    assert np.array_equal(nats.scores, -found.log_likelihoods)
    assert nats.mean == pytest.approx(-found.log_likelihoods.mean())
    assert nats.beside["tokens a word"] == pytest.approx(found.tokens.mean())
    assert (accuracy.metric, nats.metric) == ("last_word", "last_word/nats")
    assert (accuracy.higher_is_better, nats.higher_is_better) == (True, False)


def test_a_passage_counts_where_every_token_of_the_word_is_the_likeliest(store: Path, tmp_path: Path) -> None:
    """Of all words of one token, just the one that the model would say."""
    folder = write_run(tmp_path / "run", "causal_lm", store)
    run = load_run(folder)
    texts = {token: run.tokenizer.decode([token]) for token in run.vocabulary.ordinary.tolist()}
    words = {token: word for token, word in texts.items() if word[:1] == " " and word[1:].isalpha()}
    file = write_jsonl(tmp_path / "texts.jsonl", [f"The old{word}" for word in words.values()])
    accuracy, nats = LastWord(files=(str(file),))(folder)
    read = [run.vocabulary.eos, *run.tokenizer.encode("The old", add_special_tokens=False).ids]
    inputs = Inputs(decoder_ids_BT=torch.tensor([read]))
    log_shares_V = run.network.body.logits(run.network.body(inputs)[0, -1]).log_softmax(dim=-1)
    assert accuracy.scores.tolist() == [float(token == log_shares_V.argmax()) for token in words]
    assert nats.scores == pytest.approx([-float(log_shares_V[token]) for token in words], rel=1e-5)


def test_a_file_without_passages_is_refused(store: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "causal_lm", store)
    file = write_jsonl(tmp_path / "texts.jsonl", ["word", ""])
    with pytest.raises(ValueError, match=r"last_word.files = .*texts.jsonl holds no passage of two words"):
        LastWord(files=(str(file),))(run)
    with pytest.raises(ValueError, match=r"last_word.files: no file at 'nowhere.jsonl'"):
        LastWord(files=("nowhere.jsonl",))
