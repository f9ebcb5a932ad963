"""What has changed between the data that a run was begun on and those that it would go on with."""

from collections.abc import Mapping
from typing import Any


def _listed(names: list[str]) -> str:
    some = ", ".join(f"'{name}'" for name in names[:5])
    return f"{some} and {len(names) - 5} more" if len(names) > 5 else some


def changes_of_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each change of what a run's folder records of its data, in words; none where a run may go on.

    Args:
        before: `data` of run.json.
        now: the same of the data that are read now.
    """
    if before["sha256"] == now["sha256"]:
        return []
    changes = []
    added = [label for label in now.get("labels", []) if label not in before.get("labels", [])]
    gone = [label for label in before.get("labels", []) if label not in now.get("labels", [])]
    changes += [f"new labels {_listed(added)}"] * bool(added) + [f"labels {_listed(gone)} are gone"] * bool(gone)
    if not isinstance(before["sha256"], Mapping) or not isinstance(now["sha256"], Mapping):
        return [*changes, f"the text or the tokenizer (store {before['store']}, now {now['store']})"]
    for name, digest in before["sha256"].items():
        if name not in now["sha256"]:
            changes.append(f"no {name} any more")
        elif now["sha256"][name] != digest:
            counts = [described.get("rows", {}).get(name) for described in (before, now)]
            rows = f" ({counts[0]:,} rows, now {counts[1]:,})" if None not in counts else ""
            changes.append(f"{name} has other content{rows}")
    return [*changes, *(f"{name} is new" for name in now["sha256"] if name not in before["sha256"])]
