"""What every objective does to one text, for listed steps of its knobs and for several seeds, as plain data.

Every draw is `corrupt` with these knobs and that seed; the page computes nothing.
"""

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from common.errors import UserError
from data.stream.batch import Example
from data.stream.collate import collate
from data.stream.order import Purpose, generator
from data.stream.windows import Window
from models.attention.masks import Mask, visible_keys
from objectives.core.base import Objective
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


def knobs_of(kind: type[Objective], settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The steps of each knob that the objective has, its config's own value among them."""
    found = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in STEPS:
            own = settings.get(name, parameter.default)
            found[name] = [*STEPS[name], *([] if own in STEPS[name] else [own])]
    return found


def _sees(causal: bool, prefixes: Sequence[int] | None, length: int) -> str | list[str]:
    """Which positions each position of a stack sees: "all", "left", or a row of 0 and 1 for each."""
    if not causal:
        return "all"
    if prefixes is None:
        return "left"
    mask = Mask(is_causal=True, prefixes_BS=torch.tensor([list(prefixes)], device="cpu"))
    visible = visible_keys(mask, length, length, device=torch.device("cpu"))
    assert visible is not None
    return ["".join(str(int(key)) for key in row) for row in visible.reshape(length, length).tolist()]


def draw(objective: Objective, window: Window, example: Example, painter: Painter) -> Draw:
    """One corruption: its panels as rows of [text, kind], and who sees whom in each stack."""
    batch = collate(
        [window], [example], pad=painter.vocabulary.pad, max_lengths=objective.max_lengths(len(window)),
        keep_documents_apart=False,
    )  # fmt: skip
    panels = painter.panels(window, example)
    ids_by_stack = {"encoder": example.encoder_ids, "decoder": example.decoder_ids}
    stacks = {name: len(ids) for name, ids in ids_by_stack.items() if ids is not None}
    sees = []
    for name, length in stacks.items():
        is_last = name == [*stacks][-1]
        causal = name == "decoder" if not is_last or batch.is_causal is None else bool(batch.is_causal)
        prefixes = example.prefixes.tolist() if is_last and example.prefixes is not None else None
        sees.append(_sees(causal, prefixes, length))
    return {
        "stacks": [*stacks],
        "panels": [{row: [list(cell) for cell in cells] for row, cells in panel.items()} for panel in panels],
        "sees": sees,
    }


def _settings(knobs: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*knobs.values()):
        yield dict(zip(knobs, values, strict=True))


def draws_of(kind: type[Objective], settings: Mapping[str, Any], text: str, seeds: int) -> dict[str, Any]:
    """An objective under a text: its knobs with their steps, and every draw by the knobs' steps and the seed.

    Knobs that contradict each other have no draw.

    Raises:
        UserError: where the text is longer than the page shows.
    """
    windows, window, tokenizer, vocabulary = text_alone(text)
    if len(window) > MOST_TOKENS:
        raise UserError(f"the text has {len(window)} tokens, and the page shows {MOST_TOKENS} at most: shorten it")
    painter = Painter(vocabulary, lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False))
    knobs = knobs_of(kind, settings)
    draws: dict[str, Draw] = {}
    rates: dict[str, dict[str, list[float | None]]] = {}
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
            draws[f"{key}:{seed}"] = draw(objective, window, example, painter)
            counts.append(count(window, example, vocabulary))
        over_all, nominal = measured(counts), objective.nominal_rates(len(window))
        rates[key] = {name: [round(rate, 4), nominal.get(name)] for name, rate in over_all.items() if rate}
    defaults = {name: steps.index(settings.get(name, inspect.signature(kind).parameters[name].default))
                for name, steps in knobs.items()}  # fmt: skip
    return {"knobs": knobs, "defaults": defaults, "draws": draws, "rates": rates}
