"""config.yaml: read without executing anything, and what may differ where the same run goes on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from common.errors import UserError, message_of
from training.storage.old_names import resolved_settings
from training.storage.yaml_text import check_yaml, load

RESTORE = "restore it from a copy, or begin the run anew with --resume never"
NONE: Mapping[str, Any] = MappingProxyType({})
_GROUPS = ("body", "budget", "data", "logging", "optimizer")

# What a run may go on with otherwise than it began: how it is computed and shown, not what is computed.
FREE = (
    *(
        "config",
        "name",
        "runs",
        "resume",
        "branch_from",
        "compile",
        "gradient_checkpointing",
        "logging",
        "checkpoints",
        "validation",
    ),
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.deterministic"),
    *("trainer.attention", "trainer.loggers", "trainer.profiler"),
    *("data.micro_batch_size", "data.workers", "data.cache"),
    "model.init_args.teacher",  # the hash of its weights is compared, wherever they lie
)


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dictionaries under their dotted names."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _numbered(value: Any) -> Any:
    """The same, lists of dictionaries as dictionaries under their entries' numbers."""
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        value = {str(number): entry for number, entry in enumerate(value)}
    return {key: _numbered(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def changed_settings(
    before: dict[str, Any], now: dict[str, Any], defaults: Mapping[str, Any] = NONE
) -> dict[str, tuple[Any, Any]]:
    """Both values of every setting that differs, by its dotted name; of a mixture's tasks by their numbers.

    A setting that `before` does not name, since there was none when that was written, had its default of today; null
    is as good as no setting.

    Args:
        before: every setting of the earlier run or session.
        now: every setting of this one.
        defaults: of the signatures of today, nested or under dotted names.
    """
    old, new, default = (dict(flat(_numbered(settings))) for settings in (before, now, defaults))
    values = {key: (old.get(key, default.get(key)), new.get(key)) for key in {**old, **new}}
    return {key: pair for key, pair in values.items() if pair[0] != pair[1]}


def differences(before: dict[str, Any], now: dict[str, Any], defaults: Mapping[str, Any] = NONE) -> list[str]:
    """`key: before -> now` for every setting that must not change and did, by `changed_settings`."""
    changed = changed_settings(before, now, defaults).items()
    return [
        f"{key}: {old} -> {new}"
        for key, (old, new) in changed
        if not any(key == name or key.startswith(f"{name}.") for name in FREE)
    ]


def parse_settings(path: Path, content: bytes) -> dict[str, Any]:
    """What a config.yaml holds; nothing in it is executed.

    Raises:
        UserError: where it is no YAML of settings.
    """
    try:
        check_yaml(text := content.decode())
        config = load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged (no YAML of settings: {message_of(error)}); {RESTORE}") from None
    if not isinstance(config, dict) or not all(isinstance(config.get(group, {}), dict) for group in _GROUPS):
        raise UserError(f"{path} is damaged (it does not hold the settings of a run); {RESTORE}")
    return resolved_settings(config)
