"""Makes an evaluation from its name and its settings: one file each in `tasks/`, found there by its name."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from common.errors import UserError
from evaluation.scoring.results import Evaluation
from training.script.messages import nearest
from training.setup.parsing import refusing

TASKS = Path(__file__).parent / "tasks"


def make_evaluation(name: str, settings: Mapping[str, Any]) -> Evaluation:
    """The class of that name in the file of that name, with these settings.

    Raises:
        UserError: where there is none, or it has no such settings.
    """
    names = [path.stem for path in TASKS.glob("[a-z]*.py")]
    if name not in names:
        near = nearest(name, names)
        meant = f"did you mean '{near}'?" if near else f"they are {', '.join(sorted(names))}"
        raise UserError(f"evaluations: '{name}' is no evaluation; {meant}")
    made = getattr(importlib.import_module(f"evaluation.scoring.tasks.{name}"), name.title().replace("_", ""))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(made, name)
    with refusing("evaluations: ", [action.dest for action in parser._actions]):
        return parser.instantiate(parser.parse_object({name: dict(settings)}))[name]
