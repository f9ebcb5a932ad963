"""From a YAML file and a command line to a Study: what no signature names is refused in one line."""

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from evaluation.record.kinds import MEASURES
from evaluation.study.study import Arm, Hypothesis, Study
from training.setup.messages import OneLineErrors, nearest
from training.storage.old_names import renamed_settings, renamed_study
from training.storage.run_dir import flat


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake, and `on` and `off` are words, as in YAML 1.2."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        letter: [found for found in resolvers if found[0] != "tag:yaml.org,2002:bool" or letter in "tTfF"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]  # `<<` takes up another block
        keys = [self.construct_object(key, deep=True) for key in own]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise ValueError(
                    f"'{key}' stands twice in the block that begins in line {line}: give each its own name"
                )
        return super().construct_mapping(node, deep=deep)


def check_names(where: str, given: Iterable[str], valid: Iterable[str]) -> None:
    """Raises ValueError for a name that is not valid, with the one most like it."""
    names = sorted(valid)
    for name in given:
        if name not in names:
            near = nearest(str(name), names)
            meant = f"did you mean '{near}'?" if near else f"it may have {', '.join(names)}"
            raise ValueError(f"{where} has '{name}', which is not accepted; {meant}")


def as_argument(value: Any) -> str:
    """A setting's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def arm_in_full(where: str, given: Any) -> dict[str, Any]:
    """An arm in full, from a config, several, or a mapping.

    Raises:
        ValueError: where it is none of them.
    """
    if not isinstance(given, dict):
        given = {"config": given}
    check_names(where, given, [part.name for part in fields(Arm)])
    config = given.get("config", [])
    configs = [config] if isinstance(config, str) else config
    if not isinstance(configs, list) or not all(isinstance(path, str) for path in configs):
        raise ValueError(f"{where} = {given} must be a config, a list of them, or {{config: ..., settings: ...}}")
    for path in configs:
        if not Path(path).is_file():
            raise ValueError(f"{where}: no config at '{path}'")
    settings = given.get("settings") or {}
    if not isinstance(settings, dict):
        raise ValueError(f"{where}.settings = {settings} must be a mapping, such as {{body.layers: [4, 4]}}")
    named = renamed_settings(settings)
    return {"config": configs, "settings": {key: as_argument(value) for key, value in flat(named)}}


def _arms(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("arms: one line each, LABEL: CONFIG, such as masked_lm: configs/masked_lm.yaml")
    return {str(label): arm_in_full(f"arm '{label}'", arm) for label, arm in given.items()}


def _in_full(tree: Any) -> dict[str, Any]:
    """A study's YAML with its shorthands written out.

    Raises:
        ValueError: for what has no place in it.
    """
    if not isinstance(tree, dict):
        raise ValueError("a study is a mapping with arms, seeds and a budget")
    check_names("the study", tree, [part.name for part in fields(Study)])
    tree = dict(tree)
    tree["arms"] = _arms(tree.get("arms"))
    if tree.get("shared"):
        tree["shared"] = arm_in_full("shared", tree["shared"])
    evaluations = tree.get("evaluations") or {}
    if isinstance(evaluations, list):
        evaluations = dict.fromkeys(evaluations)
    tree["evaluations"] = {name: settings or {} for name, settings in evaluations.items()}
    for hypothesis in tree.get("hypotheses") or []:
        check_names("a hypothesis", hypothesis, [part.name for part in fields(Hypothesis)])
    return {key: value for key, value in tree.items() if value is not None}


def read_yaml(path: Path) -> dict[str, Any]:
    """A study's YAML, in full.

    Raises:
        ValueError: naming the file, where it is not there, or is no study.
    """
    try:
        return _in_full(renamed_study(yaml.load(path.read_text(encoding="utf-8"), _Loader)))
    except OSError:
        raise ValueError(f"no study at '{path}'") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


IN_FULL = {"--arms": _arms, "--shared": lambda given: arm_in_full("shared", given)}  # as a file has them, and shorter


def _in_full_of(option: str, value: str) -> dict[str, Any]:
    """A part of a study that stands on the command line, with its shorthands written out.

    Raises:
        ValueError: where it is none.
    """
    try:
        return IN_FULL[option](yaml.load(value, _Loader))
    except yaml.YAMLError as error:
        raise ValueError(f"{option.removeprefix('--')} = {value} is no YAML: {' '.join(str(error).split())}") from None


def _split(argument: str) -> list[str]:
    """An option and its value as two, where they are joined and the value is read here."""
    option, joined, value = argument.partition("=")
    return [option, value] if joined and option in ("--config", *IN_FULL) else [argument]


def make_parser(description: str | None) -> OneLineErrors:
    """The command line of compare.py, without the study's file."""
    parser = OneLineErrors(prog="compare.py", description=description, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="the study, such as configs/comparisons/demo.yaml")
    parser.add_argument("--name", type=str | None, default=None, help="name of the study; by default its file's")
    parser.add_argument("--studies", type=Path, default=Path("studies"), help="folder of all studies")
    parser.add_argument(
        "--parallel", type=int | None, default=None, help="runs at once; by default one a GPU, or one on a CPU"
    )
    parser.add_argument("--dry-run", action="store_true", help="prints the plan and trains nothing")
    parser.add_class_arguments(Study, None)
    return parser


def parse(arguments: Sequence[str], description: str | None = None) -> tuple[Study, Namespace]:
    """The study that a command line names, and the rest of it; settings behind --config win over the file's.

    Raises:
        ValueError: where the study contradicts itself.
    """
    parser, name = make_parser(description), None
    given = [part for argument in arguments for part in _split(argument)]
    for place, (option, value) in enumerate(pairwise(list(given)), start=1):
        if option == "--config":
            name, given[place] = value, json.dumps(read_yaml(Path(value)))
        elif option in IN_FULL:
            given[place] = json.dumps(_in_full_of(option, value))
    if name is None and not {"-h", "--help"} & set(given):
        raise ValueError("which study? Name it, such as --config configs/comparisons/demo.yaml")
    named = {argument.split("=")[0].removeprefix("--budget.") for argument in given if argument.startswith("--budget.")}
    if len(named) == 1:
        given += [f"--budget.{measure}=null" for measure in MEASURES if measure not in named]
    parsed = parser.instantiate(parser.parse_args(given))
    study = Study(**{part.name: getattr(parsed, part.name) for part in fields(Study)})
    parsed.name = parsed.name or Path(str(name)).stem
    if "/" in parsed.name or "\\" in parsed.name or parsed.name in (".", ".."):
        raise ValueError(f"name = '{parsed.name}' must be a plain name: the study's folder lies in --studies")
    if parsed.parallel is not None and parsed.parallel < 1:
        raise ValueError(f"parallel = {parsed.parallel} must be at least 1")
    return study, parsed
