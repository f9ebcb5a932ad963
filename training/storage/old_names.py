"""What files of the first edition call things, and what they are called now: the one place that knows both.

Run folders, study folders and configs that were written then are read through these functions, wherever they are
read; what is already called as today is left alone, so that nobody has to know which edition wrote a file. Only the
manifest of a token store has its one old key in `data/store/store.py`, on a floor that cannot see this module.
"""

import json
import re
from typing import Any

import yaml
from jsonargparse import get_loader

_TASKS = (
    *("classification.ClassificationTask", "question_answering.QuestionTask", "text_generation.GenerationTask"),
    *("text_to_text.TextToTextTask", "token_classification.TokenTask", "mixture.MixtureTask"),
)
CLASSES = {
    "objectives.schedule.Schedule": "objectives.mixtures.schedule.Schedule",
    **{f"finetuning.{task}": f"finetuning.tasks.{task}" for task in _TASKS},
}
SETTINGS = {  # by their dotted paths in a config
    "transformer": "body",
    "start.transformer": "start.body",
    "start.framing.said_before": "start.template.target_before",
    "start.framing.said_behind": "start.template.target_behind",
    "start.framing": "start.template",
    "optimizer.final": "optimizer.min_lr_ratio",
    "optimizer.clip": "optimizer.max_grad_norm",
    "model.init_args.transformer": "model.init_args.body",
    "model.init_args.optimizer.final": "model.init_args.optimizer.min_lr_ratio",
    "model.init_args.optimizer.clip": "model.init_args.optimizer.max_grad_norm",
}
SECOND_SEGMENT = {True: "next_sentence", False: "none"}  # of a masked LM, by what its `next_sentence` was
STUDY = {"forks": "branches", "departures": "deviations"}  # of a declaration, and of results.json
INFO = {"begun_with": "initialized_from", "data.faults": "data.warnings"}  # of run.json
METRICS = {"train/stranger_share": "train/random_segment_share"}
PARAMETERS = (  # of a checkpoint, one after another
    (re.compile(r"^transformer\."), "body."),
    (re.compile(r"^(body\.(?:en|de)coder)\.(position_table|segment_table)\."), r"\1.embeddings.\2."),
    (re.compile(r"^(body\.(?:en|de)coder)\.embedding_norm\."), r"\1.embeddings.norm."),
)


def _renamed_path(path: str, names: dict[str, str]) -> str:
    """A dotted path, of which a part from the left may have an old name."""
    for old, new in names.items():
        if path == old or path.startswith(f"{old}."):
            return f"{new}{path.removeprefix(old)}"
    return path


def _renamed(tree: Any, names: dict[str, str], path: str = "") -> Any:
    """The same tree with today's keys, and with today's class paths among its values; a key may itself be dotted."""
    if isinstance(tree, list):
        return [_renamed(value, {}) for value in tree]
    if not isinstance(tree, dict):
        return CLASSES.get(tree, tree) if isinstance(tree, str) else tree
    above = len(f"{_renamed_path(path, names)}.") if path else 0
    paths = {key: f"{path}.{key}" if path else str(key) for key in tree}
    return {
        _renamed_path(paths[key], names)[above:] if isinstance(key, str) else key: _renamed(value, names, paths[key])
        for key, value in tree.items()
    }


def renamed_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run, or of an arm of a study: those of config.yaml, of a user's config, dotted ones as well."""
    return _renamed(config, SETTINGS)


def resolved_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Every setting of a run by today's names; of two settings for one thing, the more general one has it.

    A masked LM's `next_sentence` is read into `second_segment`, over which it goes where it is not null.
    """
    config = renamed_settings(config)
    model = config.get("model")
    if not isinstance(model, dict) or model.get("class_path") != "objectives.masked_lm.MaskedLM":
        return config
    given = model.get("init_args")
    if not isinstance(given, dict) or "next_sentence" not in given:
        return config
    rest = {name: value for name, value in given.items() if name != "next_sentence"}
    second = SECOND_SEGMENT.get(given["next_sentence"])
    return {**config, "model": {**model, "init_args": rest | ({} if second is None else {"second_segment": second})}}


def renamed_config(text: str) -> str:
    """The text of a YAML config with today's names: the same text where there is nothing to rename."""
    try:
        config = get_loader("yaml")(text)
    except (yaml.YAMLError, ValueError):  # the parser that reads the text names the mistake
        return text
    renamed = renamed_settings(config)
    return text if renamed == config else yaml.safe_dump(renamed, sort_keys=False, allow_unicode=True)


def renamed_study(tree: Any) -> Any:
    """A study's YAML, one of its declarations, or its results, with the settings of all its arms."""
    if not isinstance(tree, dict):
        return tree
    return {STUDY.get(key, key): _renamed_arms(value) for key, value in tree.items()}


def _renamed_arms(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_renamed_arms(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    return {key: renamed_settings(value) if key == "settings" else _renamed_arms(value) for key, value in tree.items()}


def renamed_results(content: bytes) -> bytes:
    """The content of results.json; what is no JSON is left to whoever reads it."""
    try:
        return json.dumps(renamed_study(json.loads(content))).encode()
    except ValueError:
        return content


def is_old_declaration(declaration: dict[str, Any]) -> bool:
    """Whether a declaration in study.json is of the first edition, in which each had a key that none has today."""
    return not STUDY.keys().isdisjoint(declaration)


def renamed_info(info: dict[str, Any]) -> dict[str, Any]:
    """What run.json holds."""
    return _renamed(info, INFO)


def renamed_metrics(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers by the names they are logged under: of summary.json, or of a row of metrics.csv."""
    return {METRICS.get(name, name): value for name, value in numbers.items()}


def renamed_parameter(name: str) -> str:
    """The name of a parameter of a checkpoint."""
    for old, new in PARAMETERS:
        name = old.sub(new, name)
    return name
