"""What the tests of scores share: runs that know nothing, in memory and as folders, their scorers, and random texts."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from data.store.store import read_tokenizer
from data.tokens.tokenizer import Vocabulary
from evaluation.scoring.likelihood import Likelihoods, PrefixedTokens, score
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.core.strategy import Scorer
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from objectives.weights.load import TrainedRun
from tests.helpers import ROOT, TINY, make_cli
from tests.objectives.inference.prompting import random_network, tokenizer
from tests.objectives.texts import VOCABULARY, made, module_of, scorers_of
from training.storage.checkpoint import checkpoint_name, write_checkpoint
from training.storage.run_dir import RunFolder

WINDOW = 40
FAMILIES: tuple[type[Objective], ...] = (MaskedLM, CausalLM, Denoising, SpanCorruption)
WAYS = [(family, name) for family in FAMILIES for name in scorers_of(made(family))]
NORMALISED = [(family, name) for family, name in WAYS if scorers_of(made(family))[name].is_normalised]


def run_of(
    objective: type[Objective],
    *,
    vocabulary: Vocabulary = VOCABULARY,
    body: dict[str, Any] | None = None,
    seed: int = 0,
    **knobs: Any,
) -> TrainedRun:
    """A run in float64 whose weights are random, and so large that every token matters."""
    one = made(objective, **knobs)
    module = module_of(one, seed=seed, **(body or {}))
    return TrainedRun(
        folder=Path("runs/made-up"),
        checkpoint=Path("runs/made-up/checkpoints/step-00000001"),
        config={},
        objective=one,
        network=random_network(module, vocab_size=vocabulary.size, window=WINDOW, seed=seed),
        body=module.config,
        tokenizer=tokenizer(),
        vocabulary=vocabulary,
        window=WINDOW,
    )


@cache
def _begun(name: str, store: Path, more: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings of a run over a token store, and its initial weights; both are only read."""
    where = ("--data.cache", str(store.parent), "--trainer.precision", "32-true")
    cli = make_cli(["--config", str(ROOT / f"configs/{name}.yaml"), *TINY, *where, "--budget.steps", "1", *more])
    config = cli.resolved_config()
    module, (_, vocabulary) = cast(Pretraining, cli.model), read_tokenizer(store)
    module.build(vocab_size=vocabulary.size, window=config["data"]["window"])
    return config, module.state_dict()


def write_run(folder: Path, name: str, store: Path, *more: str) -> Path:
    """The folder of a run over a token store, with a checkpoint of its initial weights."""
    run, (config, weights) = RunFolder(folder), _begun(name, store, more)
    folder.mkdir(parents=True)
    run.write_config({**config, "name": folder.name})
    run.write_info(data={"store": store.name})
    shutil.copy(store / "tokenizer.json", folder)
    run.checkpoints.mkdir()
    write_checkpoint({"state_dict": weights}, run.checkpoints / checkpoint_name(1))
    return folder


def scorer_of(run: TrainedRun, name: str) -> Scorer:
    return run.scorers[name]


def tokens(text: list[int], prefix: list[int] | None = None) -> PrefixedTokens:
    return PrefixedTokens(text=np.array(text, dtype=np.int64), prefix=np.array(prefix or [], dtype=np.int64))


def some_texts(number: int = 8, *, with_prefix: bool = True, seed: int = 0) -> list[PrefixedTokens]:
    """Texts of 1 to 12 random ordinary tokens behind up to 8."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> list[int]:
        return rng.choice(VOCABULARY.ordinary, size=rng.integers(low, high)).tolist()

    return [tokens(ids(1, 13), ids(0, 9) if with_prefix else []) for _ in range(number)]


def likelihoods(run: TrainedRun, name: str, texts: list[PrefixedTokens], **more: Any) -> Likelihoods:
    return score(run, scorer_of(run, name), texts, **more)
