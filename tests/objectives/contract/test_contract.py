"""The contract: every objective that a config names keeps every law, and so does a fifth that nothing knows of."""

import importlib
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.recurrent.config import RecurrentConfig
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from tests.helpers import ROOT, TINY, metrics_of, shared, train_in_process
from tests.objectives.contract.contract import LAWS_OF_TEXT
from tests.objectives.contract.contract_model import LAWS_OF_MODELS, LAWS_OF_PICTURES

FOLDERS = ("configs", "configs/papers", "configs/schedules", "configs/ancestors")
CONFIGS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.yaml") if path.name != "base.yaml")
LAWS: list[tuple[Callable[[Any], None], bool]] = [  # and whether they hold for what trains the objective
    *((law, False) for law in [*LAWS_OF_TEXT, *LAWS_OF_PICTURES]),
    *((law, True) for law in LAWS_OF_MODELS),
]
SMALL = {"width": 32, "num_heads": 2, "dropout": 0.0}

# One file and one config, as CONTRIBUTING asks for.
FIFTH_OBJECTIVE = '''"""Prefix language modelling (Raffel et al. 2020, 3.2.1): the end of a text from its beginning.

    window     Thank you for inviting me to your party last week .
    reads      Thank you for inviting me </s>
    predicts   to your party last week . </s>

loss = sum of -log p(token | beginning, tokens before it) / number of tokens
"""

import numpy as np
from numpy.random import Generator

from data.tokens.tokenizer import Vocabulary
from data.stream.batch import NOWHERE, Example, MaxLengths
from data.stream.windows import Window, Windows
from models.recurrent.config import RecurrentConfig
from objectives.core.base import Objective


class PrefixLM(Objective):
    """The end of a window is predicted from its beginning.

    Args:
        shared: what every objective takes.
    """

    uses_encoder, uses_decoder, token_term = True, True, "suffix"

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """The window cut anywhere, EOS behind both parts."""
        cut, places = int(rng.integers(len(window) + 1)), np.arange(len(window))
        labels = np.append(window.tokens[cut:].astype(np.int64), vocabulary.eos)
        return Example(
            encoder_ids=np.append(window.tokens[:cut].astype(np.int64), vocabulary.eos),
            encoder_origins=np.append(places[:cut], NOWHERE),
            decoder_ids=np.concatenate([[vocabulary.bos], labels[:-1]]),
            decoder_origins=np.append(places[cut:], NOWHERE),
            labels={self.token_term: labels},
            token_term=self.token_term,
        )

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=window + 1, decoder=window + 1, targets=window + 1)

    def nominal_rates(self, window: int) -> dict[str, float]:
        return {"targets per raw token": 0.5 + 1 / window}
'''
FIFTH_CONFIG = {"model": {"class_path": "prefix_lm.PrefixLM"}}


@pytest.fixture
def fifth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of an objective that was just written."""
    (tmp_path / "prefix_lm.py").write_text(FIFTH_OBJECTIVE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "prefix_lm", raising=False)
    config = tmp_path / "prefix_lm.yaml"
    config.write_text(yaml.safe_dump(FIFTH_CONFIG), encoding="utf-8")
    return config


@lru_cache
def settings_of(config: Path) -> dict[str, Any]:
    """What a config sets, read once for all laws, which change none of it."""
    return yaml.safe_load(config.read_text(encoding="utf-8"))


def objective_of(config: Path, **more: Any) -> Objective:
    """The objective that a config names, as it sets it."""
    settings = settings_of(config)
    module, _, name = settings["model"]["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**settings["model"].get("init_args", {}), **more)


def module_of(config: Path, **more: Any) -> Pretraining:
    """What trains it, over a small Transformer of its preset."""
    settings, objective = settings_of(config), objective_of(config, **more)
    own = settings.get("body", {})
    if own.get("kind") == "recurrent":
        body = {**own, "layers": tuple(min(n, 1) for n in own["layers"])} if isinstance(own["layers"], list) else own
        return Pretraining(objective, **{**shared(), "body": RecurrentConfig(**{**body, "width": 32})})
    apart = {"document_masking": objective.keep_documents_apart}
    return Pretraining(objective, **shared(**{**settings.get("body", {}), **SMALL, **apart, "layers": 2}))


shared_objective = lru_cache(maxsize=4)(objective_of)  # one for all laws of text, which change none


def check(law: Callable[[Any], None], config: Path, *, trains: bool, **more: Any) -> None:
    law(module_of(config, **more) if trains else shared_objective(config, **more))


every_law = pytest.mark.parametrize(("law", "trains"), LAWS, ids=[law.__name__ for law, _ in LAWS])


def test_there_is_a_config_for_each_objective_and_each_paper() -> None:
    names = {str(path.relative_to(ROOT / "configs")) for path in CONFIGS}
    assert {"masked_lm.yaml", "causal_lm.yaml", "denoising.yaml", "span_corruption.yaml"} <= names
    assert {type(objective_of(path)).__module__ for path in CONFIGS} >= {
        f"objectives.{name}" for name in ("masked_lm", "causal_lm", "denoising", "span_corruption")
    }


def kind_of(config: Path) -> tuple[str, str | None]:
    """Its objective and kind of body."""
    settings = settings_of(config)
    return settings["model"]["class_path"], settings.get("body", {}).get("kind")


# Every config is held to what becomes of text, and by default one of each kind to what is made of a model.
OF_EACH_KIND = {kind_of(config): config for config in reversed(CONFIGS)}.values()
CASES = [
    pytest.param(
        *(config, law, trains),
        id=f"{config.relative_to(ROOT / 'configs')}-{law.__name__}",
        marks=[pytest.mark.slow] if trains and config not in OF_EACH_KIND else [],
    )
    for config in CONFIGS
    for law, trains in LAWS
]


@pytest.mark.parametrize(("config", "law", "trains"), CASES)
def test_every_config_keeps_the_contract(config: Path, law: Callable[[Any], None], trains: bool) -> None:
    check(law, config, trains=trains)


@every_law
def test_a_fifth_objective_keeps_the_contract(fifth: Path, law: Callable[[Any], None], trains: bool) -> None:
    check(law, fifth, trains=trains)


@every_law
@pytest.mark.parametrize("name", ["causal_lm", "denoising", "span_corruption"])
def test_the_contract_holds_where_documents_are_kept_apart(name: str, law: Callable[[Any], None], trains: bool) -> None:
    """The masked LM refuses it itself: it could not classify segment pairs then."""
    check(law, ROOT / f"configs/{name}.yaml", trains=trains, keep_documents_apart=True)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_the_window_of_a_config_fits(config: Path) -> None:
    base, settings = settings_of(ROOT / "configs/base.yaml"), settings_of(config)
    window = {**base["data"], **settings.get("data", {})}["window"]
    module_of(config).check_window(window)


def test_a_fifth_objective_is_trained_by_one_file_and_one_config(
    fifth: Path, corpus_file: Path, cache: Path, store: Path, tmp_path: Path
) -> None:
    where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(tmp_path / "runs")]
    steps = ["--budget.steps", "6", "--logging.examples", "1"]
    command = ["--config", str(fifth), "--name", "fifth", *TINY, *where, *steps]
    assert train_in_process(command) == 0
    losses = [float(row["train/suffix"]) for row in metrics_of(tmp_path / "runs/fifth") if row.get("train/suffix")]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert "predicts" in (tmp_path / "runs/fifth/examples.html").read_text(encoding="utf-8")
