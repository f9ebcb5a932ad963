"""What every objective does to one text, for listed steps of its knobs and for several seeds, as plain data.

Every draw is `corrupt` with these knobs and that seed; the page computes nothing.
"""

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from common.errors import UserError
from data.stream.batch import Batch, Example
from data.stream.collate import collate
from data.stream.order import Purpose, generator
from data.stream.windows import Window
from models.attention.masks import Mask, visible_keys
from models.bodies.make import BodyConfig
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.pretraining import FLOPS_OF_A_STEP
from objectives.inspection.picture import Painter
from objectives.inspection.rates import count, measured
from objectives.inspection.text import text_alone

STEPS: dict[str, tuple[Any, ...]] = {  # knobs that can be moved in the page, by their names in the signatures
    "noise_density": (0.05, 0.15, 0.3, 0.5),
    "mean_span_length": (1.0, 3.0, 8.0),
    "unit": ("token", "word", "span"),
    "second_segment": ("none", "next_sentence", "sentence_order"),
    "permute_rate": (0.0, 1.0),
    "infill_rate": (0.0, 0.3, 0.5),
    "rate": (0.0, 0.5, 1.0),
    "causal_share": (0.0, 0.5, 1.0),
}
MOST_TOKENS = 64
Draw = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The body whose operations are counted.

    Args:
        body: its shape.
        vocab_size: of its head.
    """

    body: BodyConfig
    vocab_size: int

    def network(self, objective: Objective) -> Network:
        """The objective's network on the meta device: sizes without numbers."""
        with torch.device("meta"):
            return Network(
                objective.bodies(self.body),
                objective.heads(self.body),
                vocab_size=self.vocab_size,
                max_positions=self.body.max_positions or 2 * MOST_TOKENS,
                seed=0,
            )


def knobs_of(kind: type[Objective], settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The steps of each knob that the objective has, its config's own value among them."""
    found = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in STEPS:
            own = settings.get(name, parameter.default)
            found[name] = [*STEPS[name], *([] if own in STEPS[name] else [own])]
    return found


def _sees(mask: Mask, length: int) -> str | list[str]:
    """Which positions each position of a stack sees: "all", "left", or a row of 0 and 1 for each."""
    visible = visible_keys(mask, length, length, device=torch.device("cpu"))
    if visible is None:
        return "all"
    visible_TS = visible.reshape(length, length)
    if bool(visible_TS.all()):
        return "all"
    if bool((visible_TS == torch.ones_like(visible_TS).tril()).all()):
        return "left"
    return ["".join(str(int(key)) for key in row) for row in visible_TS.tolist()]


def rules_of(batch: Batch) -> dict[str, str | list[str]]:
    """Who sees whom in each stack of a batch of one row that is not padded."""
    stacks = {
        "encoder": (batch.encoder_ids_BS, batch.encoder_documents_BS),
        "decoder": (batch.decoder_ids_BT, batch.decoder_documents_BT),
    }
    found = {}
    for name, (ids, documents) in stacks.items():
        if ids is None:
            continue
        is_last = name == "decoder" or batch.decoder_ids_BT is None
        causal = name == "decoder" if not is_last or batch.is_causal is None else bool(batch.is_causal)
        prefixes = batch.prefixes if is_last else None
        mask = Mask(
            is_causal=causal, prefixes_BS=prefixes, query_documents_BT=documents, key_documents_BS=documents
        )  # fmt: skip
        found[name] = _sees(mask, ids.shape[1])
    return found


def draw(window: Window, example: Example, batch: Batch, painter: Painter) -> Draw:
    """One corruption: its panels as rows of [text, kind], and who sees whom in each stack.

    `batch` holds the example alone.
    """
    rules = rules_of(batch)
    panels = painter.panels(window, example)
    return {
        "stacks": [*rules],
        "panels": [{row: [list(cell) for cell in cells] for row, cells in panel.items()} for panel in panels],
        "sees": [*rules.values()],
        "measures": {name: round(value, 3) for name, value in example.measures.items()},
    }


def _settings(knobs: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*knobs.values()):
        yield dict(zip(knobs, values, strict=True))


def draws_of(
    kind: type[Objective], settings: Mapping[str, Any], text: str, *, seeds: int, shape: Shape
) -> dict[str, Any]:
    """An objective under a text: its knobs with their steps, and every draw by the knobs' steps and the seed.

    Knobs that contradict each other have no draw. Of a text that is longer than the page shows, its first tokens are.

    Raises:
        UserError: where there is no text.
    """
    windows, window, tokenizer, vocabulary = text_alone(text, most=MOST_TOKENS)

    @cache  # hundreds of draws hold the same tokens
    def decode(ids: tuple[int, ...]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False)

    painter = Painter(vocabulary, lambda ids: decode(tuple(ids)))
    knobs = knobs_of(kind, settings)
    draws: dict[str, Draw] = {}
    rates: dict[str, dict[str, list[float | None]]] = {}
    networks: dict[tuple[str, ...], Network] = {}  # by their heads, which knobs may add
    for values in _settings(knobs):
        try:
            objective = kind(**{**settings, **values})
            objective.check_vocabulary(vocabulary)
        except UserError:
            continue
        key = "/".join(str(knobs[name].index(value)) for name, value in values.items())
        corrupt, counts = objective.corruption(vocabulary), []
        for seed in range(seeds):
            example = corrupt(window, generator(seed, Purpose.DISPLAY, 0, window.index), windows)
            batch = collate(
                [window],
                [example],
                pad=vocabulary.pad,
                max_lengths=objective.max_lengths(len(window)),
                keep_documents_apart=objective.keep_documents_apart,
            )
            draws[f"{key}:{seed}"] = draw(window, example, batch, painter)
            counts.append(count(window, example, vocabulary))
        over_all, nominal = measured(counts), objective.nominal_rates(len(window))
        rates[key] = {name: [round(rate, 4), nominal.get(name)] for name, rate in over_all.items() if rate}
        heads = tuple(objective.heads(shape.body))
        if heads not in networks:
            networks[heads] = shape.network(objective)
        flops = FLOPS_OF_A_STEP * objective.flops_per_window(networks[heads], windows, vocabulary) / len(window)
        rates[key]["training MFLOPs per raw token"] = [round(flops / 1e6, 2), None]
    defaults = {name: steps.index(settings.get(name, inspect.signature(kind).parameters[name].default))
                for name, steps in knobs.items()}  # fmt: skip
    return {"knobs": knobs, "defaults": defaults, "draws": draws, "rates": rates}
