"""Sentence order, n-grams of hidden words, and layers that share weights: ALBERT."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

from common.errors import UserError
from data.stream.batch import IGNORE
from data.stream.windows import Windows
from models.body import Inputs
from models.presets import TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.transformer import Transformer
from objectives.core.noise.masking import choose_ngrams
from objectives.core.segments import IN_ORDER, SWAPPED, ordered, swapped
from objectives.inspection.rates import count, measured
from objectives.masked_lm import MaskedLM
from objectives.weights.export import export_run
from tests.helpers import predicted, random_documents
from tests.objectives.contract.contract import some_windows
from tests.objectives.start.folders import class_of, last_validation, losses, trained
from tests.objectives.texts import (
    FIXED,
    VOCABULARY,
    batch_of,
    built,
    examples_of,
    key,
    made,
    of_documents,
    standard_error,
    texts,
)

ORDER: dict[str, Any] = {"second_segment": "sentence_order"}


@given(windows=texts())
@FIXED
def test_both_segments_are_of_one_document_and_stand_one_behind_the_other(windows: Windows) -> None:
    """N10, and that nothing is lost; the label is whether they changed places."""
    for index in range(len(windows)):
        window = windows[index]
        segments = ordered(window, key(index))
        if segments.label == IGNORE:
            assert len(segments.tokens) == 1
            continue
        first, second = segments.origins if segments.label == IN_ORDER else segments.origins[::-1]
        assert first[0] == 0
        assert second[-1] == len(window) - 1
        assert second[0] == first[-1] + 1
        assert len(set(window.documents().tolist())) == 1
        assert second[0] in window.sentence_starts
        again = swapped(swapped(segments))
        assert again.label == segments.label
        for one, other in zip(again.tokens, segments.tokens, strict=True):
            assert np.array_equal(one, other)


def test_half_of_the_pairs_are_swapped_and_shown_so() -> None:
    windows = some_windows(24, sentences=12)
    window = next(one for one in (windows[n] for n in range(len(windows))) if ordered(one, key()).label != IGNORE)
    draws = 2000
    labels = [ordered(window, key(n)).label for n in range(draws)]
    assert abs(np.mean([label == SWAPPED for label in labels]) - 0.5) < 4 * standard_error(0.5, draws)
    corrupt = made(MaskedLM, **ORDER).corruption(VOCABULARY)
    found = measured(count(window, corrupt(window, key(n), windows), VOCABULARY) for n in range(300))
    assert found["swapped segments"] == pytest.approx(0.5, abs=0.1)


def test_a_swapped_window_is_restored_from_input_and_labels() -> None:
    windows = some_windows(24, sentences=12)
    for window, example in examples_of(made(MaskedLM, **ORDER).corruption(VOCABULARY), windows):
        labels, origins = example.labels["masked"], example.encoder_origins
        assert origins is not None
        assert example.encoder_ids is not None
        ids = np.where(labels == IGNORE, example.encoder_ids, labels)
        restored = np.full(len(window), -1)
        restored[origins[origins >= 0]] = ids[origins >= 0]
        assert np.array_equal(restored, window.tokens)


def test_an_untrained_model_guesses_the_order() -> None:
    """N11."""
    objective = made(MaskedLM, **ORDER)
    module = built(objective, window=24, preset="albert", share_layers=1)
    term = module.terms(batch_of(objective, some_windows()), count_correct=False)["sentence_order"]
    assert term.loss_sum.item() / term.divisor == pytest.approx(math.log(2), abs=0.02)


def test_n11_the_lengths_of_the_segments_tell_nothing_of_their_order() -> None:
    """The best guess by lengths, found on half of the pairs, is right for half of the others, as on shuffled labels."""
    documents = random_documents(VOCABULARY, documents=60, sentences=40, seed=2)
    windows = of_documents(documents, length=48, rule="within_document")
    pairs = [ordered(windows[index], key(index, epoch=epoch)) for epoch in range(12) for index in range(len(windows))]
    pairs = [pair for pair in pairs if pair.label != IGNORE]
    differences = np.array([len(pair.tokens[0]) - len(pair.tokens[1]) for pair in pairs])
    labels = np.array([pair.label for pair in pairs])
    order = np.random.default_rng(0).permutation(len(pairs))
    known, new = order[::2], order[1::2]

    def accuracy(threshold: int, sign: int, some: np.ndarray, truth: np.ndarray) -> float:
        return float(np.mean((sign * differences[some] > sign * threshold) == (truth[some] == SWAPPED)))

    guesses = [(threshold, sign) for threshold in range(-46, 47) for sign in (1, -1)]
    best = max(guesses, key=lambda guess: accuracy(*guess, known, labels))
    assert len(new) > 1000
    assert abs(accuracy(*best, new, labels) - 0.5) < 4 * standard_error(0.5, len(new))
    shuffled = np.random.default_rng(1).permutation(labels)
    assert abs(accuracy(*best, new, shuffled) - 0.5) < 4 * standard_error(0.5, len(new))


def test_the_older_name_of_the_setting_means_the_same_and_may_not_contradict() -> None:
    assert made(MaskedLM, next_sentence=False).second_segment == "none"
    assert made(MaskedLM, next_sentence=True).second_segment == made(MaskedLM).second_segment == "next_sentence"
    with pytest.raises(UserError, match="leave next_sentence out"):
        made(MaskedLM, next_sentence=True, **ORDER)


# --- n-grams ---


def test_ngrams_have_the_published_lengths() -> None:
    """6/11, 3/11 and 2/11 of one, two and three words: 1.636 on the mean."""
    candidates = np.ones(64, dtype=bool)
    starts = np.ones(64, dtype=bool)
    draws = 4000
    lengths = []
    for number in range(draws):
        rng = np.random.default_rng(number)
        order = np.random.default_rng(number).permutation(np.arange(1, 65))
        chosen = choose_ngrams(candidates, starts, 3, rng)
        first = int(order[0]) - 1
        if first > 61:
            continue
        run = 0
        while run < 3 and first + run < 64 and chosen[first + run]:
            run += 1
        lengths.append(run)
    shares = [np.mean([length == n for length in lengths]) for n in (1, 2, 3)]
    # With a budget of three tokens, one of the others may stand behind the first by chance.
    for share, expected in zip(shares, (6 / 11, 3 / 11, 2 / 11), strict=True):
        assert abs(share - expected) < 4 * standard_error(expected, len(lengths)) + 0.03


def test_ngrams_are_whole_words_within_the_budget() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        length = int(rng.integers(1, 40))
        starts, candidates = rng.random(length) < 0.6, rng.random(length) < 0.9
        starts[0] = True
        budget = int(rng.integers(1, length + 1))
        words = np.cumsum(starts)
        chosen = choose_ngrams(candidates, starts, budget, rng)
        assert chosen.sum() <= budget
        assert not (chosen & ~candidates).any()
        for word in np.unique(words[chosen]):
            assert chosen[(words == word) & candidates].all()


def test_korean_words_begin_at_white_space() -> None:
    """All pieces of a word are hidden or none; the reference takes each of them for a word."""
    from data.tokens.tokenizer import train_tokenizer, vocabulary_of

    text = "고양이가 집을 보고 달린다 강아지가 나무를 듣고 좋아하고"
    tokenizer = train_tokenizer(iter([text]), kind="byte_bpe", vocab_size=420)
    vocabulary = vocabulary_of(tokenizer)
    ids = np.array(tokenizer.encode(text, add_special_tokens=False).ids)
    starts = vocabulary.word_starts(ids)
    assert starts.sum() == len(text.split())
    assert len(ids) > 2 * starts.sum()
    words = np.cumsum(starts)
    chosen = choose_ngrams(np.ones(len(ids), dtype=bool), starts, len(ids) // 2, np.random.default_rng(0))
    assert chosen.any()
    assert all(chosen[words == word].all() for word in np.unique(words[chosen]))


# --- shared layers ---


def body_of(layers: int, groups: int | None, **more: Any) -> Transformer:
    config = TransformerConfig(preset="albert", width=16, num_heads=2, share_layers=groups, **more)
    return Transformer(config, num_blocks=(layers, 0), vocab_size=50, max_positions=12)


def test_the_published_number_of_parameters() -> None:
    """N8: of a layer, of the body, and with both heads, whatever the depth."""
    config = TransformerConfig(preset="albert", width=768, embedding_width=128, num_heads=12, share_layers=1)
    for layers in (1, 12):
        with torch.device("meta"):
            body = Transformer(config, num_blocks=(layers, 0), vocab_size=30_000, max_positions=512)
            heads = made(MaskedLM, **ORDER).heads(config)
        assert body.encoder is not None
        assert sum(p.numel() for p in body.encoder.blocks.parameters()) == 7_087_872
        pooler = sum(p.numel() for p in heads["sentence_order_head"].get_submodule("pooler").parameters())
        assert body.head is not None
        head = sum(p.numel() for p in body.head.parameters())
        whole = sum(p.numel() for p in body.parameters())
        assert whole - head + pooler == 11_683_584
        classifier = sum(p.numel() for p in heads["sentence_order_head"].get_submodule("classifier").parameters())
        assert whole + pooler + classifier == 11_813_810


def test_the_gradient_of_a_shared_layer_is_the_sum_over_its_places() -> None:
    """N9."""
    shared, apart = body_of(3, 1).double(), body_of(3, None).double()
    initialise(shared, 0)
    state = shared.state_dict()
    own = {name: state.get(name, state.get(name.replace(f"blocks.{n}.", "blocks.0."))) for n in range(3)
           for name in apart.state_dict() if f"blocks.{n}." in name or "blocks" not in name}  # fmt: skip
    apart.load_state_dict(own)
    inputs = Inputs(encoder_ids_BS=torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(0)))
    for body in (shared, apart):
        body.logits(body(inputs).flatten(0, 1)).square().sum().backward()
    parts = dict(apart.named_parameters())
    for name, parameter in shared.named_parameters():
        if "blocks" in name:
            copies = [parts[name.replace("blocks.0.", f"blocks.{n}.")].grad for n in range(3)]
            torch.testing.assert_close(parameter.grad, torch.stack([one for one in copies if one is not None]).sum(0))


@pytest.mark.parametrize(("layers", "groups"), [(18, 14), (22, 22), (12, 1), (4, 3)])
def test_groups_are_counted_in_whole_numbers(layers: int, groups: int) -> None:
    """Of (18, 14), layer 9 is of group 7; of (22, 22), 15 is of 15: floats have 6 and 14."""
    body = body_of(layers, groups)
    assert body.encoder is not None
    assert body.encoder.groups == [layer * groups // layers for layer in range(layers)]
    assert len(body.encoder.blocks) == groups


def test_flops_count_every_layer_and_more_groups_than_layers_are_refused() -> None:
    shared, apart = (body_of(4, groups).flops(encoder=9, decoder=0, targets=2) for groups in (1, None))
    assert shared == apart
    with pytest.raises(UserError, match=r"body.share_layers = 5 groups"):
        body_of(4, 5)


def test_a_decoder_with_shared_layers_goes_on_from_its_cache() -> None:
    config = TransformerConfig(width=16, num_heads=2, share_layers=1)
    body = Transformer(config, num_blocks=(0, 3), vocab_size=50, max_positions=12).double().eval()
    initialise(body, 0)
    ids = torch.randint(50, (2, 6), generator=torch.Generator().manual_seed(0))
    whole, cache = body.decode(Inputs(decoder_ids_BT=ids)), body.new_cache(6)
    steps = [body.decode(Inputs(decoder_ids_BT=ids[:, n : n + 1]), cache=cache) for n in range(6)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


def test_a_run_is_exported_begun_with_and_scored_as_there(corpus_file: Path, cache: Path, tmp_path: Path) -> None:
    own = ("--body.embedding_width", "16", "--data.windows", "contiguous", "--data.vocab_size", "700")
    run = trained("papers/albert", corpus_file, cache, tmp_path, *own)
    assert export_run(run, tmp_path / "folder") == "AlbertForPreTraining"
    model, loading = class_of(tmp_path / "folder").from_pretrained(tmp_path / "folder", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    batch, summary = last_validation(run, cache)
    for name, loss in losses(model.eval(), run, batch).items():
        if len(batch.labels[name].ids_N):
            assert loss.item() == pytest.approx(summary[f"validation/{name}"], abs=1e-5)
    from objectives.start.pretrained import open_pretrained

    back, own_run = open_pretrained(str(tmp_path / "folder")), open_pretrained(str(tmp_path / "run"))
    assert back.num_blocks == own_run.num_blocks == (2, 0)
    for body in (back.body, own_run.body):
        assert isinstance(body, TransformerConfig)
        assert body.share_layers == 1
    state = run.network.state_dict()
    assert all(torch.equal(back.state[name], state[name]) for name in state)
    inputs = Inputs(encoder_ids_BS=batch.encoder_ids_BS, segments_BS=batch.segments_BS)
    assert predicted(run.network.body, inputs, torch.arange(3))[0].isfinite().all()
