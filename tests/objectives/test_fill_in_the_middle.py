"""Fill-in-the-middle: documents come back from their parts, and none reaches into another (N26 to N30)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import generate
import score
from common.errors import UserError
from data.stream.batch import Example
from data.stream.windows import Window
from data.tokens.tokenizer import Vocabulary, train_tokenizer, vocabulary_of
from objectives.causal_lm import CausalLM
from objectives.fill_in_the_middle import FillInTheMiddle, Parts, boundaries, cut, most_documents, rearranged
from tests.helpers import made_up_documents, make_windows, metrics_of, train_in_process, weights_of
from tests.objectives.exactness import train_exactly, train_exactly_and_go_on
from tests.objectives.texts import EOS, VOCABULARY, key, made, numbered, standard_error, window_of

Command = Callable[..., list[str]]
WINDOWS = make_windows(VOCABULARY)
BEFORE, BEHIND, MIDDLE = (VOCABULARY.id_of(f"fim_{part}") for part in ("prefix", "suffix", "middle"))
SECOND = ("--data.vocabulary_format", "2")


def parts_of(ids: np.ndarray, vocabulary: Vocabulary = VOCABULARY) -> Parts:
    """The parts of a rearranged text; in SPM the prefix and the middle stand together, behind the suffix."""
    before, behind, middle = (vocabulary.id_of(f"fim_{part}") for part in ("prefix", "suffix", "middle"))
    assert ids[0] == before
    second, third = (int(np.flatnonzero(ids == mark)[0]) for mark in (behind, middle))
    assert second < third
    prefix, suffix, rest = ids[1:second], ids[second + 1 : third], ids[third + 1 :]
    return Parts(prefix, rest, suffix)


def documents_of(labels: np.ndarray) -> list[np.ndarray]:
    """Texts that end with EOS, without it."""
    ends = np.flatnonzero(labels == EOS)
    return np.split(labels, ends + 1)


@pytest.mark.parametrize("suffix_first", [False, True])
def test_n26_the_parts_together_are_the_text(suffix_first: bool) -> None:
    text = numbered(9)
    for draw in range(100):
        parts = cut(text, "token", key(draw), VOCABULARY)
        assert np.array_equal(np.concatenate(parts), text)
        ids = rearranged(parts, suffix_first=suffix_first, vocabulary=VOCABULARY)
        assert len(ids) == len(text) + 3  # N28
        found = parts_of(ids)
        assert np.array_equal(np.concatenate([found.prefix, found.middle, found.suffix]), text)
        assert len(found.prefix) == (0 if suffix_first else len(parts.prefix))


def test_n27_the_middle_is_as_long_as_two_uniform_boundaries_make_it() -> None:
    lengths = np.array([second - first for first, second in (boundaries(10, key(draw)) for draw in range(20_000))])
    assert lengths.mean() == pytest.approx(10 * 12 / 33, abs=3 * lengths.std() / 20_000**0.5)
    assert (lengths == 0).mean() == pytest.approx(1 / 11, abs=3 * standard_error(1 / 11, 20_000))


def labels_of(objective: FillInTheMiddle, window: Window, index: int = 0) -> np.ndarray:
    example = objective.corrupt(window, key(index), WINDOWS, vocabulary=VOCABULARY)
    return example.token_labels


def test_n29_without_any_rate_it_is_a_causal_lm_bit_for_bit(tiny_run: Command, tmp_path: Path) -> None:
    fim, causal = made(FillInTheMiddle, rate=0.0), made(CausalLM)
    for index in range(len(WINDOWS)):
        one, other = (
            objective.corrupt(WINDOWS[index], key(index), WINDOWS, vocabulary=VOCABULARY) for objective in (fim, causal)
        )
        for name in ("decoder_ids", "decoder_origins"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
        assert np.array_equal(one.token_labels, other.token_labels)
    assert fim.max_lengths(32) == causal.max_lengths(32)
    steps = ("--budget.steps", "3", *SECOND)
    assert train_in_process(tiny_run("causal_lm", "causal", *steps)) == 0
    assert train_in_process(tiny_run("fill_in_the_middle", "fim", *steps, "--model.init_args.rate", "0")) == 0
    one, other = (weights_of(tmp_path / "runs" / name) for name in ("fim", "causal"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_n30_each_document_is_rearranged_by_itself_and_ends_with_eos_behind_its_middle() -> None:
    objective = made(FillInTheMiddle, rate=1.0)
    for index in range(len(WINDOWS)):
        window = WINDOWS[index]
        starts = np.unique([0, *window.document_starts])
        assert len(starts) <= most_documents(len(window))
        labels = labels_of(objective, window, index)
        texts = documents_of(labels)
        assert len(texts[-1]) == 0
        for (start, end), text in zip(zip(starts, [*starts[1:], len(window)], strict=True), texts, strict=False):
            body = window.tokens[start:end]
            body = body[:-1] if body[-1] == EOS else body
            if not len(body):
                assert text.tolist() == [EOS]
                continue
            assert text[-1] == EOS
            found = parts_of(text[:-1])
            assert np.array_equal(np.concatenate([found.prefix, found.middle, found.suffix]), body)


def test_rates_are_those_of_the_settings_and_few_documents_of_many_are_rearranged() -> None:
    objective = made(FillInTheMiddle, rate=0.4, suffix_first=0.25)
    window = window_of([*numbered(30).tolist(), EOS])
    measured = [objective.corrupt(window, key(draw), WINDOWS, vocabulary=VOCABULARY).measures for draw in range(3000)]
    share = np.mean([one["documents rearranged"] for one in measured])
    assert share == pytest.approx(0.4, abs=3 * standard_error(0.4, 3000))
    orders = [one["suffix first"] for one in measured if "suffix first" in one]
    assert np.mean(orders) == pytest.approx(0.25, abs=3 * standard_error(0.25, len(orders)))
    starts = list(range(32))
    crowded = window_of(numbered(32).tolist(), document_starts=starts)
    labels = labels_of(made(FillInTheMiddle, rate=1.0), crowded)
    assert (labels == MIDDLE).sum() == most_documents(32) == 3
    assert len(labels) == made(FillInTheMiddle).max_lengths(32).decoder


# --- by characters ---


@pytest.fixture(scope="module")
def real() -> Vocabulary:
    texts = made_up_documents(60)
    return vocabulary_of(train_tokenizer(iter(texts), kind="byte_bpe", vocab_size=600, vocabulary_format=2))


def test_cut_by_characters_the_text_comes_back_and_tokens_are_cut(real: Vocabulary) -> None:
    tokenizer = real.tokenizer
    assert tokenizer is not None
    for text in made_up_documents(12, seed=3):
        tokens = np.array(tokenizer.encode(text).ids)
        bounds = set()
        for draw in range(40):
            parts = cut(tokens, "character", key(draw), real)
            assert "".join(tokenizer.decode(part.tolist()) for part in parts) == text
            bounds.add(len(tokenizer.decode(parts.prefix.tolist())))
        inner = {len(tokenizer.decode(tokens[:end].tolist())) for end in range(len(tokens) + 1)}
        assert bounds - inner  # some lie within a token


def test_a_window_that_cuts_a_character_is_cut_between_tokens(real: Vocabulary) -> None:
    assert real.tokenizer is not None
    tokens = np.array(real.tokenizer.encode("뷁뷁 the cat").ids)[1:]
    assert "\ufffd" in real.tokenizer.decode(tokens.tolist())
    for draw in range(20):
        assert np.array_equal(np.concatenate(cut(tokens, "character", key(draw), real)), tokens)


def test_a_longer_result_is_cut_and_counted(real: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    assert real.tokenizer is not None
    objective = made(FillInTheMiddle, rate=1.0, level="character")
    tokens = real.tokenizer.encode(made_up_documents(1)[0]).ids
    window = window_of(tokens)
    whole = objective.corrupt(window, key(), WINDOWS, vocabulary=real)
    assert whole.measures["tokens cut"] == 0
    length = len(whole.token_labels)
    limit = objective.max_lengths(len(window))._replace(decoder=length - 5)
    monkeypatch.setattr(objective, "max_lengths", lambda window: limit)
    short: Example = objective.corrupt(window, key(), WINDOWS, vocabulary=real)
    assert short.measures["tokens cut"] == 5
    assert np.array_equal(short.token_labels, whole.token_labels[:-5])
    assert short.decoder_ids is not None
    assert len(short.decoder_ids) == length - 5


# --- runs ---


CHARACTERS = (*SECOND, "--model.init_args.level", "character")


@pytest.mark.slow
def test_it_goes_on_bit_by_bit(tiny_run: Command, tmp_path: Path) -> None:
    train_exactly_and_go_on(tiny_run, tmp_path / "runs", "fill_in_the_middle", *CHARACTERS)


def test_it_trains_exactly_fills_a_gap_and_is_scored(
    tiny_run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train_exactly(tiny_run, tmp_path / "runs", "fill_in_the_middle", *CHARACTERS)
    assert any(row.get("train/documents rearranged") for row in metrics_of(whole))
    run = str(whole)
    capsys.readouterr()
    assert generate.main([run, "the old [MASK] sees a bird.", "the old", "--json", "--max_new_tokens", "4"]) == 0
    filled, continued = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert filled["text"] == "the old" + filled["middle"] + " sees a bird."
    assert continued["text"] == "the old" + continued["continuation"]
    assert score.main([run, "--passages", "4", "--bytes", "24", "--json"]) == 0
    assert 1 < json.loads(capsys.readouterr().out)["metrics"]["continuation"]["mean"] < 20
    with pytest.raises(SystemExit):
        generate.main([run, "[MASK] a [MASK]"])
    assert "the text has 2 [MASK]s, and fill-in-the-middle fills one gap" in capsys.readouterr().err


def test_a_vocabulary_without_the_marks_is_refused(tiny_run: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command = tiny_run("fill_in_the_middle", "lacking", "--data.vocabulary_format", "null", "--budget.steps", "1")
    assert train_in_process(command) == 2
    assert "FillInTheMiddle needs <|fim_prefix|>, <|fim_suffix|>, <|fim_middle|>" in capsys.readouterr().err
    with pytest.raises(UserError, match="rate = 2"):
        made(FillInTheMiddle, rate=2)
