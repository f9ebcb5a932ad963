"""Inputs for an exported folder, and how transformers and predict.py predict from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from finetuning.load import FineTunedRun
from tests.finetuning.made_tasks import sentences
from tests.helpers import KOREAN

Export = Callable[..., tuple[FineTunedRun, Path]]

ODD = ["", " ", "a", "?", "12,345.6", "the", "강", "the cat, the dog!", "(old) 'bird'...", "\U0001f431 sees", "naïve"]
LONG = ["the young cat sees a small bird and " * 12, "그 고양이가 집을 보고 " * 15]
KOREAN_TEXTS = [" ".join(np.random.default_rng(n).choice(KOREAN.split(), 2 + n % 4)) + "." * (n % 2) for n in range(17)]
TEXTS = [*ODD, *LONG, *KOREAN_TEXTS, *(" ".join(words) for words in sentences(20, 9))]
TOLERANCE = 1e-5
assert len(TEXTS) == 50


def predicted(tuned: FineTunedRun, inputs: list[Any]) -> list[dict[str, Any]]:
    """What predict.py prints."""
    return [fields for _, fields in tuned.predict(inputs)]


def readable(text: str) -> str:
    """A text that transformers generated without the bytes that make no character, and blanks around it."""
    return text.replace("\ufffd", "").strip()


def pipeline(task: str, folder: Path, **settings: Any) -> Any:
    from transformers import pipeline

    return pipeline(cast(Any, task), model=str(folder), **settings)


def cases(fast: str, *slow: str) -> list[Any]:
    """The first of them in every run of the tests."""
    return [fast, *(pytest.param(name, marks=pytest.mark.slow) for name in slow)]


def pooled(name: str) -> tuple[str, ...]:
    """The pooling of the class that is exported to."""
    return ("--tuning.pooling", "cls" if name.startswith("bert") else "last")
