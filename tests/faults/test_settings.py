"""Bad settings, made from the schema itself, are refused in one line with status 2 within seconds."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.campaign import number
from tests.helpers import TINY, make_cli, train_in_process
from training.storage.config_file import flat

pytestmark = pytest.mark.faults

SETTINGS = number("SETTINGS", 400)
SECONDS = 20.0
NO_NUMBERS = ("nonsense", "[1, {", "{a: 1}", "!!python/name:os.system", "[[]]", "1 2")


def bad_settings() -> Iterator[tuple[str, str]]:
    """Names with values that none of them takes, and names that there are not."""
    config = dict(flat(make_cli(["--config", "configs/masked_lm.yaml", *TINY]).resolved_config()))
    for name, value in config.items():
        if name.startswith(("model.class_path", "config")):
            continue
        yield f"{name}_", "1"
        yield f"{name}.nonsense", "1"
        if isinstance(value, int | float):
            for bad in NO_NUMBERS:
                yield name, bad
        if isinstance(value, int) and not isinstance(value, bool):
            yield name, "0.5"
            yield name, ".nan"


def test_every_bad_setting_is_refused_in_one_line(
    tmp_path: Path, corpus_file: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = sorted(set(bad_settings()))
    chosen = random.Random(0).sample(every, min(SETTINGS, len(every)))
    common = [*TINY, "--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(tmp_path)]
    wrong = []
    for name, value in chosen:
        capsys.readouterr()
        began = time.monotonic()
        command = ["--config", "configs/masked_lm.yaml", *common, "--name", "run", "--budget.steps", "1"]
        status = train_in_process([*command, f"--{name}={value}"])
        lines, seconds = capsys.readouterr().err.splitlines(), time.monotonic() - began
        if status != 2 or len([line for line in lines if "error:" in line]) != 1 or seconds > SECONDS:
            wrong.append((name, value, status, lines[-3:], round(seconds, 1)))
    assert not wrong, f"{len(wrong)} of {len(chosen)}"
    assert not list(tmp_path.glob("run/checkpoints"))
