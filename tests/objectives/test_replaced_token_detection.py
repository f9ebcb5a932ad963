"""Replaced-token detection: what is written and detected, the published numbers, and the laws over two bodies."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.electra.modeling_electra import ElectraForMaskedLM, ElectraForPreTraining

from common.errors import UserError
from data.stream.batch import IGNORE, Batch, Labels
from finetuning.body.body import start_from
from models.presets import TransformerConfig
from objectives.core.network import at_labels
from objectives.core.predictions import BinaryCrossEntropy, sampled
from objectives.core.pretraining import Pretraining
from objectives.inspection.rates import count, measured
from objectives.replaced_token_detection import ReplacedTokenDetection, generator_of, is_replaced
from objectives.start.pretrained import open_pretrained
from objectives.weights.export import export_run
from objectives.weights.load import load_run
from tests.helpers import make_cli, metrics_of, train_in_process, weights_of
from tests.objectives.contract.contract import some_windows
from tests.objectives.start.folders import last_validation, trained
from tests.objectives.texts import VOCABULARY, batch_of, built, key, made, mean_loss
from tests.training.stopped import At, Killed, assert_same_run, killed
from training.session import train

Command = Callable[..., list[str]]
BERT = {"preset": "bert", "embedding_width": 16}


def some_batch(objective: ReplacedTokenDetection, length: int = 24) -> Batch:
    return batch_of(objective, some_windows(length))


def module_with_batch(**body: Any) -> tuple[Pretraining, Batch]:
    objective = made(ReplacedTokenDetection)
    module = built(objective, window=24, **body)
    return module, some_batch(objective)


def loss_of_labels(logits: list[float], labels: list[int]) -> float:
    ids = torch.tensor(labels)
    given = Labels(positions_N=torch.arange(len(labels)), ids_N=ids, divisor=float(len(labels)))
    states = torch.tensor(logits, dtype=torch.float64)[:, None]
    return (BinaryCrossEntropy()(states, lambda x: x, given, count_correct=False).loss / len(labels)).item()


def test_an_untrained_detector_guesses() -> None:
    """N3: ln 2, and 34.66 in what is minimised."""
    module, batch = module_with_batch(**BERT, width=32)
    term = module.terms(batch, count_correct=False)["replaced"]
    assert term.loss_sum.item() / term.divisor == pytest.approx(math.log(2), abs=0.02)
    assert term.minimised_sum.item() / term.divisor == pytest.approx(34.66, abs=1)


@pytest.mark.parametrize(("share", "entropy"), [(0.15, 0.4227), (0.09, 0.3025), (0.06, 0.2270)])
def test_a_constant_guess_at_the_share_of_replaced_tokens_costs_its_entropy(share: float, entropy: float) -> None:
    """N4."""
    labels = [1] * round(share * 100) + [0] * round((1 - share) * 100)
    assert loss_of_labels([math.log(share / (1 - share))] * 100, labels) == pytest.approx(entropy, abs=1e-4)


def test_the_losses_of_the_worked_example() -> None:
    """N5: over three real positions, with a generator loss of 1.5."""
    loss = loss_of_labels([2.0, -1.0, 0.5], [0, 0, 1])
    assert loss == pytest.approx(0.97142, abs=1e-5)
    assert 1.5 + made(ReplacedTokenDetection).detection_weight * loss == pytest.approx(50.0711, abs=1e-4)


def test_every_real_position_is_judged_and_no_padding() -> None:
    """[CLS] and [SEP] included, as in the reference."""
    objective, windows = made(ReplacedTokenDetection), some_windows()
    batch = batch_of(objective, windows)
    assert batch.labels["replaced"].divisor == windows.num_tokens + 2 * len(windows)
    assert len(batch.labels["replaced"].ids_N) == windows.num_tokens + 2 * len(windows)


def test_the_detection_loss_moves_the_shared_tables_and_nothing_of_the_generator_alone() -> None:
    """N6."""
    module, batch = module_with_batch(**BERT)
    prediction = module.objective.predictions(module.built, batch)["replaced"]
    loss = prediction.loss(prediction.states_ND, prediction.head, prediction.labels, count_correct=False).loss
    loss.backward()
    own = {id(parameter) for parameter in module.built.body.parameters()}
    generator = dict(module.built.role("generator").named_parameters())
    shared = {name for name, parameter in generator.items() if id(parameter) in own}
    tables = ("token_table", "position_table", "segment_table", "embeddings.norm")
    assert all(any(table in name for name in shared) for table in tables)
    for name, parameter in generator.items():
        if name in shared:
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
        else:
            assert parameter.grad is None, name


def test_a_generator_that_is_always_right_replaces_nothing() -> None:
    """N7: a position counts as replaced only where the id that was written differs from the original."""
    objective = made(ReplacedTokenDetection)
    module, batch = built(objective, window=24), some_batch(objective)
    labels = batch.labels["masked"]

    def always_right(states_ND: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(labels.ids_N, VOCABULARY.size).float() * 1e4

    module.built.role("generator").logits = always_right  # pyright: ignore[reportAttributeAccessIssue]
    predictions = objective.predictions(module.built, batch)
    assert not predictions["replaced"].labels.ids_N.any()
    written, original = torch.tensor([5, 6, 7]), torch.tensor([5, 9, 7])
    assert is_replaced(written, original).tolist() == [0, 1, 0]


def test_samples_are_written_into_the_original_text_in_the_hidden_places_alone() -> None:
    """Tokens that stayed as they are may be written over as well; all other places hold the original."""
    objective = made(ReplacedTokenDetection, mask_rate=0.5)
    module, batch = built(objective, window=24), some_batch(objective)
    masked, originals = batch.labels["masked"], batch.labels["replaced"]
    states = at_labels(module.built.states(batch, "generator"), masked)
    written = objective.written(module.built, states, batch).flatten()
    expected = sampled(module.built.role("generator").logits(states), masked.draws_N)  # pyright: ignore
    assert torch.equal(written[masked.positions_N], expected)
    elsewhere = torch.ones_like(written, dtype=torch.bool)
    elsewhere[masked.positions_N] = False
    text = originals.positions_N[elsewhere[originals.positions_N]]
    where = {int(place): int(token) for place, token in zip(originals.positions_N, originals.ids_N, strict=True)}
    assert [int(written[place]) for place in text] == [where[int(place)] for place in text]


def test_samples_follow_the_probabilities() -> None:
    """Inversion of evenly spaced numbers gives each id its share, and none of those without probability."""
    probabilities = torch.tensor([0.0, 0.5, 0.25, 0.0, 0.25])
    draws = (torch.arange(1000, dtype=torch.float32) + 0.5) / 1000
    found = sampled(probabilities.log().expand(1000, -1), draws)
    assert found.bincount(minlength=5).tolist() == [0, 500, 250, 0, 250]


def test_rates_are_the_references_without_random_tokens() -> None:
    objective, windows = made(ReplacedTokenDetection), some_windows(300, sentences=12)
    corrupt = objective.corruption(VOCABULARY)
    found = measured(count(windows[0], corrupt(windows[0], key(n), windows), VOCABULARY) for n in range(200))
    assert found["of these [MASK]"] == pytest.approx(0.85, abs=0.01)
    assert found["of these kept"] == pytest.approx(0.15, abs=0.01)
    assert found["of these random"] == 0


@pytest.mark.parametrize(
    ("width", "embedding", "fraction", "expected"),
    [(256, 128, 1 / 4, (64, 1, 256)), (768, None, 1 / 3, (256, 4, 1024)), (1024, None, 1 / 4, (256, 4, 1024))],
)
def test_the_generators_of_the_paper(
    width: int, embedding: int | None, fraction: float, expected: tuple[int, int, int]
) -> None:
    """Small, base and large: width, heads and feed-forward."""
    body = TransformerConfig(preset="bert", width=width, embedding_width=embedding, num_heads=width // 64)
    small = generator_of(body, fraction)
    assert (small.width, small.num_heads, small.width_of_feed_forward) == expected
    assert small.width_of_embeddings == body.width_of_embeddings


@pytest.mark.parametrize("knobs", [{"generator_width": 0}, {"generator_width": 1.1}, {"detection_weight": 0}])
def test_impossible_settings_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(knobs))):
        made(ReplacedTokenDetection, **knobs)


def test_flops_count_both_bodies() -> None:
    objective, windows = made(ReplacedTokenDetection), some_windows()
    network = built(objective, window=24).built
    flops = objective.flops_per_window(network, windows, VOCABULARY)
    encoder, _, targets = objective.mean_lengths(windows, VOCABULARY)
    alone = network.flops(encoder=encoder, decoder=0, targets=0)
    generator = network.flops("generator", encoder=encoder, decoder=0, targets=targets)
    assert flops == pytest.approx(alone + generator + 2 * encoder * (32 * 32 + 32))
    assert generator > 0


# --- runs ---

EXACT = ("--budget.steps", "3", "--trainer.precision", "64-true")


def test_its_step_does_not_depend_on_how_it_is_split(tiny_run: Command, tmp_path: Path) -> None:
    """Law 2: the uniform numbers travel with the windows."""
    bert = ("--body.preset", "bert", "--body.embedding_width", "16")
    assert train_in_process(tiny_run("replaced_token_detection", "whole", *EXACT, *bert)) == 0
    assert (
        train_in_process(tiny_run("replaced_token_detection", "split", *EXACT, *bert, "--data.micro_batch_size", "1"))
        == 0
    )
    whole, split = (weights_of(tmp_path / f"runs/{name}") for name in ("whole", "split"))
    for name, tensor in whole.items():
        torch.testing.assert_close(split[name], tensor, rtol=0, atol=1e-12)


def test_its_run_goes_on_bit_by_bit(tiny_run: Command, tmp_path: Path) -> None:
    """Law 3."""
    saving = ("--budget.steps", "6", "--body.dropout", "0.1", "--checkpoints.every_steps", "1")
    assert train_in_process(tiny_run("replaced_token_detection", "whole", *saving)) == 0
    with pytest.raises(Killed):
        train(make_cli(tiny_run("replaced_token_detection", "broken", *saving)), [At(3, killed)])
    assert train_in_process(tiny_run("replaced_token_detection", "broken", *saving)) == 0
    assert_same_run(tmp_path / "runs/broken", tmp_path / "runs/whole")


def test_the_generator_fills_and_scores_and_the_body_is_tuned(tiny_run: Command, tmp_path: Path, capsys: Any) -> None:
    import generate
    import score

    assert train_in_process(tiny_run("replaced_token_detection", "own", "--budget.steps", "6")) == 0
    folder = tmp_path / "runs/own"
    rows = [row for row in metrics_of(folder) if row.get("train/replaced")]
    assert all(0.5 < float(row["train/replaced"]) < 1 for row in rows)
    assert generate.main([str(folder), "The old [MASK] sees a bird .", "--json"]) == 0
    assert "masks" in capsys.readouterr().out
    assert score.main([str(folder), "--passages", "2"]) == 0
    run = load_run(folder)
    assert not any(name.startswith("body.head") for name in run.network.state_dict())
    start, pretrained = start_from(str(folder))
    assert start.body.width == run.body.width
    name = "body.encoder.blocks.0.feed_forward.up.weight"
    assert torch.equal(pretrained.state[name], run.network.state_dict()[name])


def test_a_batch_of_one_row_has_the_same_example_as_a_larger_one() -> None:
    """The draws follow from the window alone."""
    objective, windows = made(ReplacedTokenDetection), some_windows()
    corrupt = objective.corruption(VOCABULARY)
    one, other = (corrupt(windows[1], key(1), windows) for _ in range(2))
    assert np.array_equal(one.draws["masked"], other.draws["masked"])
    labels = one.labels["masked"]
    assert (labels != IGNORE).sum() == one.placed()["masked"].draws.size  # pyright: ignore[reportOptionalMemberAccess]
    assert mean_loss(built(objective, window=24).terms(replace(batch_of(objective, windows)), count_correct=False)) > 0


def test_shared_tables_are_saved_once_and_loaded_into_both() -> None:
    objective = made(ReplacedTokenDetection)
    one, other = (built(objective, window=24, seed=seed, **BERT).built for seed in (0, 1))
    state = one.state_dict()
    assert "body.token_table.weight" in state
    assert "generator.token_table.weight" not in state
    other.load_state_dict(state)
    for role in ("body", "generator"):
        for mine, theirs in zip(one.role(role).parameters(), other.role(role).parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_both_networks_are_exported_with_their_own_predictions(corpus_file: Path, cache: Path, tmp_path: Path) -> None:
    """The main folder is the discriminator, and `generator/` in it the generator."""
    own = ("--data.vocab_size", "700", "--body.embedding_width", "16")
    run = trained("papers/electra", corpus_file, cache, tmp_path, *own)
    name = export_run(run, tmp_path / "folder")
    assert name == "ElectraForPreTraining, ElectraForMaskedLM in generator/"
    classes = (ElectraForPreTraining, ElectraForMaskedLM)
    folders = (tmp_path / "folder", tmp_path / "folder/generator")
    models = []
    for cls, folder in zip(classes, folders, strict=True):
        model, loading = cls.from_pretrained(folder, output_loading_info=True)  # pyright: ignore
        assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        models.append(model.eval())
    discriminator, generator = models
    batch, _ = last_validation(run, cache)
    detector = run.network.head("detector")
    with torch.no_grad():
        logits = detector(run.network.states(batch))[..., 0]
        theirs = discriminator(batch.encoder_ids_BS).logits
        filled = run.network.logits(batch, "masked", "generator")
        their_filled = generator(batch.encoder_ids_BS).logits.flatten(0, 1)[batch.labels["masked"].positions_N]
    if batch.encoder_lengths_B is None:
        torch.testing.assert_close(logits, theirs, rtol=0, atol=1e-5)
        torch.testing.assert_close(filled, their_filled, rtol=0, atol=1e-4)
    back = open_pretrained(str(tmp_path / "folder"))
    assert isinstance(back.body, TransformerConfig)
    assert back.body.width_of_embeddings == 16
    assert torch.equal(back.state["detector.dense.weight"], run.network.state_dict()["detector.dense.weight"])
