"""From a YAML file and a command line to a Study: what no signature names is refused in one line."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, set_loader

from common.errors import UserError
from common.ranges import check_name, check_ranges, count
from evaluation.record.kinds import MEASURES
from evaluation.study.study import Arm, Hypothesis, Study
from training.script.messages import nearest
from training.setup.parsing import OneLineErrors
from training.storage.config_file import flat
from training.storage.old_names import renamed_settings, renamed_study
from training.storage.yaml_text import check_yaml


class _Parser(OneLineErrors):
    """The command line, which suggests the names of a hypothesis as well as its own."""

    def valid_names(self) -> Iterator[str]:
        yield from super().valid_names()
        yield from (part.name for part in fields(Hypothesis))


class _Loader(yaml.SafeLoader):
    """YAML in which `on` and `off` are words, as in YAML 1.2."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        letter: [found for found in resolvers if found[0] != "tag:yaml.org,2002:bool" or letter in "tTfF"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_study(text: str) -> Any:
    """The YAML of a study, or of a value of it.

    Raises:
        yaml.YAMLError: also for what `check_yaml` refuses.
    """
    check_yaml(text)
    return yaml.load(text, _Loader)


def check_names(where: str, given: Iterable[str], valid: Iterable[str]) -> None:
    """Raises UserError for a name that is not valid, with the one most like it."""
    names = sorted(valid)
    for name in given:
        if name not in names:
            near = nearest(str(name), names)
            meant = f"did you mean '{near}'?" if near else f"it may have {', '.join(names)}"
            raise UserError(f"{where} has '{name}', which is not accepted; {meant}")


def as_argument(value: Any) -> str:
    """A setting's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def arm_of(where: str, given: Any) -> Arm:
    """An arm, from a config, several, or a mapping.

    Raises:
        UserError: where it is none of them.
    """
    if not isinstance(given, dict):
        given = {"config": given}
    check_names(where, given, [part.name for part in fields(Arm)])
    config = given.get("config", [])
    configs = [config] if isinstance(config, str) else config
    if not isinstance(configs, list) or not all(isinstance(path, str) for path in configs):
        raise UserError(f"{where} = {given} must be a config, a list of them, or {{config: ..., settings: ...}}")
    for path in configs:
        if not Path(path).is_file():
            raise UserError(f"{where}: no config at '{path}'")
    settings = given.get("settings") or {}
    if not isinstance(settings, dict):
        raise UserError(f"{where}.settings = {settings} must be a mapping, such as {{body.layers: [4, 4]}}")
    named = renamed_settings(settings)
    return Arm(config=tuple(configs), settings={key: as_argument(value) for key, value in flat(named)})


def _arms(given: Any) -> dict[str, Arm]:
    if not isinstance(given, dict):
        raise UserError("arms: one line each, LABEL: CONFIG, such as masked_lm: configs/masked_lm.yaml")
    return {str(label): arm_of(f"arm '{label}'", arm) for label, arm in given.items()}


def _evaluations(given: Any) -> dict[str, Any]:
    """Settings by name, from a list of names or a mapping."""
    named = dict.fromkeys(given) if isinstance(given, list) else given or {}
    if not isinstance(named, dict):
        raise UserError(f"evaluations = {given} must be names, such as [continuation], or a mapping to their settings")
    return {name: settings or {} for name, settings in named.items()}


IN_WORDS = {
    "arms": "LABEL: CONFIG for each; or {config: [...], settings: {...}} in the place of CONFIG",
    "shared": "what all arms have: a config, several, or {config: [...], settings: {...}}",
    "evaluations": "names, such as [continuation]; or {NAME: {SETTING: VALUE}}",
}
IN_FULL = {  # parts of a study that have shorthands, in a file and on the command line
    "arms": _arms,
    "shared": lambda given: arm_of("shared", given or {}),
    "evaluations": _evaluations,
}


def _loaded(name: str, value: Any) -> Any:
    """A value of the command line; what the parser could not load is still text, and is refused here.

    Raises:
        UserError: with the reason.
    """
    try:
        return load_study(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise UserError(f"{name} = {value} is no YAML: {' '.join(str(error).split())}") from None


def parse_runs(arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """The folders of runs that a command line names, with a name and a folder for their report; and the evaluations.

    Raises:
        UserError: where an evaluation is no name.
    """
    parser = OneLineErrors(prog="compare.py", description="A report on runs that exist.", allow_abbrev=False)
    parser.describes_script = False  # compare.py takes a study besides, with settings that are none of these
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs; those that differ in seed are one arm")
    parser.add_argument("--name", type=str | None, default=None, help="of the report's folder; by default the runs'")
    parser.add_argument("--studies", type=Path, default=Path("studies"), help="folder of all studies")
    parser.add_argument("--evaluations", type=Any, default=None, help=IN_WORDS["evaluations"])
    parsed = parser.parse_args(list(arguments))
    return parsed, _evaluations(_loaded("evaluations", parsed.evaluations))


def make_parser(description: str | None) -> OneLineErrors:
    """The command line of compare.py."""
    set_loader("study", lambda text: renamed_study(load_study(text)), exceptions=(yaml.YAMLError, ValueError))
    parser = _Parser(prog="compare.py", description=description, allow_abbrev=False, parser_mode="study")
    parser.add_argument("--config", action="config", help="the study, such as configs/comparisons/demo.yaml")
    parser.add_argument("--name", type=str | None, default=None, help="name of the study; by default its file's")
    parser.add_argument("--studies", type=Path, default=Path("studies"), help="folder of all studies")
    parser.add_argument(
        "--parallel", type=int | None, default=None, help="runs at once; by default one a GPU, or one on a CPU"
    )
    parser.add_argument("--dry-run", action="store_true", help="prints the plan and trains nothing")
    parser.add_class_arguments(Study, None, skip={*IN_FULL})
    for name in IN_FULL:
        parser.add_argument(f"--{name}", type=Any, default=None, help=IN_WORDS[name])
    return parser


def parse(arguments: Sequence[str], description: str | None = None) -> tuple[Study, Namespace]:
    """The study that a command line names, and the rest of it; settings behind --config win over the file's.

    Raises:
        UserError: where the study contradicts itself.
    """
    given = list(arguments)
    options = {argument.split("=")[0] for argument in given}
    parser = make_parser(description)
    parser.describe()
    if not options & {"--config", "-h", "--help"}:
        raise UserError("which study? Name it, such as --config configs/comparisons/demo.yaml")
    named = {option.removeprefix("--budget.") for option in options if option.startswith("--budget.")}
    if len(named) == 1:
        given += [f"--budget.{measure}=null" for measure in MEASURES if measure not in named]
    parsed = parser.parse_args(given)
    parts = {name: in_full(_loaded(name, parsed.pop(name))) for name, in_full in IN_FULL.items()}
    parsed = parser.instantiate(parsed)
    typed = {part.name: getattr(parsed, part.name) for part in fields(Study) if part.name not in parts}
    study = Study(**typed, **parts)
    parsed.name = Path(str(parsed.config[-1])).stem if parsed.name is None else parsed.name
    check_name("name", parsed.name, "the study's folder lies in --studies")
    check_ranges("", {"parallel": count(1024)}, {"parallel": parsed.parallel})
    return study, parsed
