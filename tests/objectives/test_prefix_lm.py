"""Prefix language modelling: what is seen, what is predicted; no prefix reaches over a document (N18 to N20)."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import generate
import score
from common.errors import UserError
from data.stream.batch import IGNORE, Batch, Example
from data.stream.windows import Window
from objectives.causal_lm import CausalLM
from objectives.core.pretraining import Pretraining
from objectives.inference.continue_prefix import behind_prefix
from objectives.prefix_lm import PrefixLM, cut_documents, least_prefix
from tests.helpers import make_windows
from tests.objectives.exactness import train_exactly, train_exactly_and_go_on
from tests.objectives.texts import (
    EOS,
    FIRST,
    PAD,
    VOCABULARY,
    assert_alike,
    batch_of,
    built,
    key,
    made,
    numbered,
    window_of,
)

Command = Callable[..., list[str]]
WINDOWS = make_windows(VOCABULARY)


def packed() -> Window:
    """Seqio's two examples, [7,8,5,1]+[3,9,1] and [8,4,9,3,1]+[4,1], as documents; 1 is EOS there and here."""
    tokens = np.array([7, 8, 5, 1, 3, 9, 1, 8, 4, 9, 3, 1, 4, 1])
    return window_of(np.where(tokens == 1, EOS, tokens + FIRST).tolist(), document_starts=[0, 7])


def example_of(objective: PrefixLM, window: Window, cuts: list[tuple[int, int, int]]) -> Example:
    whole = (
        objective._on_both(window, cuts, VOCABULARY) if objective.uses_encoder else objective._on_decoder(window, cuts)
    )
    return Example(**whole, token_term="suffix")


def test_n18_the_packed_vector() -> None:
    window = packed()
    example = example_of(made(PrefixLM), window, [(0, 4, 7), (7, 12, 14)])
    assert example.decoder_ids is not None
    assert example.prefixes is not None
    assert example.decoder_ids.tolist() == [EOS, *window.tokens[:-1].tolist()]
    weights = (example.labels["suffix"] != IGNORE).astype(int)
    assert weights.tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    assert (example.prefixes > 0).astype(int).tolist() == [1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0]
    assert example.prefixes.tolist() == [1, 1, 1, 1, 1, 0, 0, 2, 2, 2, 2, 2, 2, 0]


def test_with_an_encoder_each_document_has_its_prefix_and_its_targets() -> None:
    objective, window = made(PrefixLM, stacks="both"), packed()
    example = example_of(objective, window, [(0, 4, 7), (7, 12, 14)])
    assert example.is_apart
    tokens = window.tokens.tolist()
    assert example.encoder_ids is not None
    assert example.decoder_ids is not None
    assert example.encoder_ids.tolist() == [*tokens[:4], EOS, *tokens[7:12], EOS]
    assert example.labels["suffix"].tolist() == [*tokens[4:7], *tokens[12:]]
    assert example.decoder_ids.tolist() == [PAD, *tokens[4:6], PAD, tokens[12]]
    batch = batch_of(objective, WINDOWS, [(window, example)])
    assert batch.encoder_documents_BS is not None
    assert batch.decoder_documents_BT is not None
    assert batch.encoder_documents_BS.tolist() == [[1] * 5 + [2] * 6]
    assert batch.decoder_documents_BT.tolist() == [[1] * 3 + [2] * 2]


def logits(module: Pretraining, batch: Batch) -> torch.Tensor:
    return module.built.logits(batch, "suffix").detach()


@pytest.mark.parametrize("stacks", ["decoder", "both"])
def test_n19_a_target_moves_only_what_follows_and_a_prefix_token_all_targets_of_its_document(stacks: str) -> None:
    objective = made(PrefixLM, stacks=stacks)
    module = built(objective, window=14).double().eval()
    window, cuts = packed(), [(0, 4, 7), (7, 12, 14)]

    def of(tokens: np.ndarray) -> torch.Tensor:
        other = replace(window, tokens=tokens)
        return logits(module, batch_of(objective, WINDOWS, [(other, example_of(objective, other, cuts))]))

    before = of(window.tokens)  # of the targets at places 4, 5, 6, 12, 13
    targets = [4, 5, 6, 12, 13]
    for place in range(14):
        tokens = window.tokens.copy()
        tokens[place] = FIRST + 40 + place
        changed = (of(tokens) != before).any(dim=1).tolist()
        own = [target for target in targets if (target < 7) == (place < 7)]
        if place in targets:
            assert not any(changed[number] for number, target in enumerate(targets) if target <= place), place
        else:
            assert all(changed[targets.index(target)] for target in own), place
        if place >= 7 or stacks == "both":  # an earlier document is what a causal decoder sees
            others = [number for number, target in enumerate(targets) if target not in own]
            assert not any(changed[number] for number in others), place


def test_n20_a_prefix_of_one_token_is_a_causal_lm_but_for_the_loss_mask() -> None:
    """The two positions of its region, the start and that token, see each other."""
    causal, prefix = (built(made(objective), window=8) for objective in (CausalLM, PrefixLM))
    window = window_of(numbered(8).tolist())
    example = example_of(made(PrefixLM), window, [(0, 1, 8)])
    assert (example.labels["suffix"] != IGNORE).tolist() == [False] + [True] * 7
    alone = replace(example, prefixes=None)
    plain = causal.objective.corrupt(window, key(), WINDOWS, vocabulary=VOCABULARY)
    ours, theirs = (
        module.built.states(batch_of(module.objective, WINDOWS, [(window, one)])).detach()
        for module, one in ((prefix, alone), (causal, plain))
    )
    assert torch.equal(ours, theirs)
    seen = prefix.built.states(batch_of(prefix.objective, WINDOWS, [(window, example)])).detach()
    assert not torch.equal(seen, theirs)


def test_n20_prefixes_are_as_long_as_any_and_half_a_window_in_the_mean() -> None:
    window = window_of(numbered(9).tolist())
    lengths = [cut_documents(window, 0.5, key(draw))[0][1] for draw in range(4000)]
    assert_alike(lengths, 8)
    assert (min(lengths), max(lengths)) == (1, 8)
    assert np.mean(lengths) == pytest.approx(4.5, abs=0.15)
    assert least_prefix(101, 0.25) == 50
    quarter = [cut_documents(window_of(numbered(101).tolist()), 0.25, key(draw))[0][1] for draw in range(2000)]
    assert (min(quarter), max(quarter)) == (50, 100)


@pytest.mark.parametrize("stacks", ["decoder", "both"])
def test_law_5_every_token_is_read_or_predicted_and_no_prefix_crosses_a_document(stacks: str) -> None:
    objective = made(PrefixLM, stacks=stacks)
    corrupt = objective.corruption(VOCABULARY)
    for index in range(len(WINDOWS)):
        window = WINDOWS[index]
        example = corrupt(window, key(index), WINDOWS)
        labels = example.token_labels
        if stacks == "both":
            assert example.encoder_ids is not None
            assert len(example.encoder_ids) + len(labels) == len(window) + len(np.unique([0, *window.document_starts]))
            continue
        assert example.prefixes is not None
        starts = np.unique([0, *window.document_starts])
        documents = np.searchsorted(starts, np.arange(len(window)), side="right")
        for number in range(1, example.prefixes.max() + 1):
            (places,) = np.nonzero(example.prefixes == number)
            assert len(places) == 0 or len(set(documents[places])) == 1
        assert (labels[labels != IGNORE] == window.tokens[labels != IGNORE]).all()


def test_a_scored_text_is_read_as_in_training() -> None:
    prefix, text = numbered(3), numbered(7)[3:]
    settings: dict[str, Any] = {"vocabulary": VOCABULARY, "term": "suffix"}
    (example,) = behind_prefix(prefix, text, has_encoder=False, **settings)
    whole = np.concatenate([prefix, text])
    trained = example_of(made(PrefixLM), window_of(whole.tolist()), [(0, 3, 7)])
    for name in ("decoder_ids", "prefixes"):
        assert np.array_equal(getattr(example, name), getattr(trained, name))
    assert np.array_equal(example.labels["suffix"], trained.labels["suffix"])
    (alone,) = behind_prefix(prefix[:0], text, has_encoder=False, **settings)
    assert (alone.labels["suffix"] != IGNORE).sum() == len(text) - 1
    (both,) = behind_prefix(prefix, text, has_encoder=True, **settings)
    other = example_of(made(PrefixLM, stacks="both"), window_of(whole.tolist()), [(0, 3, 7)])
    assert np.array_equal(both.encoder_ids, other.encoder_ids)  # pyright: ignore[reportArgumentType]
    assert np.array_equal(both.decoder_ids, other.decoder_ids)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
@pytest.mark.parametrize("stacks", ["decoder", "both"])
def test_it_goes_on_bit_by_bit(tiny_run: Command, tmp_path: Path, stacks: str) -> None:
    train_exactly_and_go_on(tiny_run, tmp_path / "runs", "prefix_lm", "--model.init_args.stacks", stacks)


@pytest.mark.parametrize("stacks", ["decoder", pytest.param("both", marks=pytest.mark.slow)])
def test_it_trains_exactly_generates_and_is_scored(
    tiny_run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], stacks: str
) -> None:
    whole = train_exactly(tiny_run, tmp_path / "runs", "prefix_lm", "--model.init_args.stacks", stacks)
    run = str(whole)
    capsys.readouterr()
    for more in ((), ("--beams", "2")):
        assert generate.main([run, "the old cat", "--json", "--max_new_tokens", "4", *more]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["text"] == "the old cat" + found["continuation"]
    assert score.main([run, "--passages", "4", "--bytes", "24", "--json"]) == 0
    metric = json.loads(capsys.readouterr().out)["metrics"]["continuation"]
    assert 1 < metric["mean"] < 20
    assert not metric["is_bound"]


def test_impossible_settings_are_refused() -> None:
    for density in (0.0, 0.6):
        with pytest.raises(UserError, match=rf"noise_density = {density} must lie in \(0, 0.5\]"):
            made(PrefixLM, noise_density=density)
