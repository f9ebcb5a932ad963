"""The Hugging Face hub: whether it is reached, and the rows of its data sets."""

import re
import threading
from functools import cache
from typing import Any

from common.errors import MachineError, message_of
from data.files.formats import with_class_names
from data.files.local import Rows

SECONDS = 5.0  # to wait for an answer; the hub's own library tries for 23 s and more, again for every file
OFFLINE = "HF_HUB_OFFLINE is set"
_GATEWAY_ERRORS = (502, 503, 504)  # of a proxy that does not get through


@cache
def hub_reason() -> str | None:
    """Why the hub is not reached, None where it is: found once a process, by one request.

    Where it is not, its libraries take copies in their caches from then on, and fail at once where there is none.
    """
    from huggingface_hub import constants  # slow to import

    if constants.HF_HUB_OFFLINE:
        return OFFLINE
    found = ["no answer"]
    knock = threading.Thread(target=_knock, args=(found,), daemon=True)  # finding the address has no limit of its own
    knock.start()
    knock.join(SECONDS + 1)
    if not found[0]:
        return None
    from datasets import config  # slow to import

    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = config.HF_DATASETS_OFFLINE = True
    return found[0]


def _knock(found: list[str]) -> None:
    """Leaves in `found` why the hub does not answer, "" where it does."""
    from huggingface_hub import constants  # slow to import
    from huggingface_hub.utils import get_session

    try:
        answer = get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # of a library, or of what the user has put in its place
        found[0] = message_of(error) or type(error).__name__
    else:
        found[0] = f"status {answer.status_code}" if answer.status_code in _GATEWAY_ERRORS else ""


def hub_not_reached(what: str, error: Exception, *, remedy: str) -> MachineError:
    """The error of what is neither here nor in the hub's cache, while the hub is not reached.

    Args:
        what: the setting and the name, as a message begins.
        error: of the library that wanted it.
        remedy: where else it can be taken from.
    """
    from huggingface_hub import constants  # slow to import

    reason = hub_reason()
    if reason == OFFLINE:
        why = f"{OFFLINE}, so that the network is not tried: unset it where there is one"
    else:
        why = (
            f"{constants.ENDPOINT} is not reached over the network ({reason or ' '.join(str(error).split())}): try "
            f"again where there is one (HF_HUB_OFFLINE=1 takes what is in the cache without trying)"
        )
    return MachineError(f"{what} is no file here, no copy of it is in the hub's cache, and {why}, or {remedy}")


def hub_revision(name: str, configuration: str | None, revision: str | None = None) -> str | None:
    """The commit of a hub data set: of what the hub holds, else of the copy in the cache of `datasets`.

    Args:
        name: of the data set.
        configuration: its configuration.
        revision: a commit, which is given back as it is; a branch or a tag; by default the main branch.

    Returns:
        None where neither the hub nor a copy is reached; reading the rows gives the reason.
    """
    if revision is not None and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    import datasets  # slow to import

    hub_reason()
    chosen: dict[str, Any] = {} if revision is None else {"revision": revision}
    try:
        return datasets.load_dataset_builder(name, configuration, **chosen).hash
    except Exception:  # of a dozen kinds; whoever reads the rows meets it again, and it is named there
        return None


def hub_rows(
    name: str,
    configuration: str | None,
    split: str,
    *,
    column: str | None = None,
    revision: str | None = None,
) -> Rows:
    """The rows of a split of a hub data set, classes as their names; of its columns only one, where one is named."""
    import datasets  # slow to import

    hub_reason()
    datasets.disable_progress_bars()
    chosen: dict[str, Any] = {} if revision is None else {"revision": revision}
    found: Any = datasets.load_dataset(name, configuration, split=split, **chosen)
    names = [] if column is None else [column, column.partition(".")[0]]
    if needed := next((name for name in names if name in found.column_names), None):
        found = found.select_columns([needed])  # so that the others, such as images, are not decoded
    named = with_class_names(found.features)
    for number, row in enumerate(found, start=1):
        yield f"{name}, row {number}", named(row)
