"""Schedules as tests and settings write them."""

from pathlib import Path
from typing import Any

import yaml

from objectives.mixtures.members import Member
from objectives.mixtures.schedule import Schedule

CAUSAL, MASKED = "objectives.causal_lm.CausalLM", "objectives.masked_lm.MaskedLM"
DENOISING, SPANS = "objectives.denoising.Denoising", "objectives.span_corruption.SpanCorruption"
PATHS = {"masked_lm": MASKED, "causal_lm": CAUSAL, "denoising": DENOISING, "span_corruption": SPANS}


def member(objective: str, share: float = 0.5, **settings: Any) -> dict[str, Any]:
    return {"objective": objective, "share": share, "settings": settings}


def schedule(*members: dict[str, Any], **knobs: Any) -> Schedule:
    return Schedule(members=[Member(**entry) for entry in members], **knobs)


def config_of(path: Path, *members: dict[str, Any], order: str = "stages") -> tuple[str, ...]:
    """Options that make a run a schedule of these members."""
    model = {
        "class_path": "objectives.mixtures.schedule.Schedule",
        "init_args": {"order": order, "members": list(members)},
    }
    path.write_text(yaml.safe_dump({"model": model}), encoding="utf-8")
    return ("--config", str(path))
