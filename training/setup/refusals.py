"""What jsonargparse refuses, kept apart from a mistake of ours within a constructor that it calls."""

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import ArgumentError

from common.errors import UserError

_PARSERS = ("jsonargparse", "yaml")  # whose own errors are about what the user wrote


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what it was raised in place of, down to the first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def is_users(error: BaseException) -> bool:
    """Whether a value that the user wrote is at the bottom of an error: a UserError, or a parser's own."""
    causes = list(_causes(error))
    frames = traceback.extract_tb(causes[-1].__traceback__)
    is_parsers = bool(frames) and Path(frames[-1].filename).parent.name in _PARSERS
    return is_parsers or any(isinstance(cause, UserError) for cause in causes)


@contextmanager
def refusing(prefix: str = "", valid: Iterable[str] = ()) -> Iterator[None]:
    """Turns what jsonargparse refuses, in its several lines, into a UserError of one line.

    Args:
        prefix: stands before the line.
        valid: names that a setting may have.

    Raises:
        UserError: where the user's value is at the bottom of it; an exception of ours keeps its kind.
    """
    from training.setup.messages import one_line

    try:
        yield
    except (ArgumentError, ValueError, TypeError, OverflowError) as error:
        if not is_users(error) or (type(error) is UserError and not prefix):
            raise
        raise UserError(f"{prefix}{one_line(str(error), valid)}") from error
