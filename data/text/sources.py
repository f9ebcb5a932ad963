"""Where rows come from: a hub data set, or local files; each row with its origin ("train.tsv, line 12")."""

import errno
import itertools
import traceback
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, get_args

from common.errors import UserError, message_of
from common.repository import REPOSITORY
from data.files.encodings import AUTO
from data.files.formats import lines_of, looked_up, rows_of
from data.files.local import FORMATS, Format, Row, Rows, files_of, saved_split, suffix_of
from data.text.hub import hub_not_reached, hub_rows

# What the system refuses, however sound the file may be.
REFUSALS = (errno.EACCES, errno.EPERM, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENOMEM)
LOST_NETWORK = {"ConnectionError", "TimeoutError", "TransportError"}  # Python's, those of requests and of httpx
FormatSetting = Literal["auto", Format]
Item = TypeVar("Item")


def _is_ours(error: Exception) -> bool:
    """Whether an error comes of a line of this repository, and not of the file or the library that it reads."""
    if isinstance(error, OSError | EOFError | UnicodeError | zlib.error):  # of what such a line has Python read
        return False
    innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return innermost.is_relative_to(REPOSITORY) and "site-packages" not in innermost.parts


def read_or_named(items: Iterator[Item], *, key: str, name: str) -> Iterator[Item]:
    """The same items; the dozen kinds of error that libraries raise where they cannot read become one, on one line.

    Errors of this repository's own lines stay what they are, and so does what the system refuses.

    Args:
        items: what is read.
        key: the setting that names the source.
        name: of the source.

    Raises:
        UserError: where something cannot be read, naming the setting and the source or its file and line.
        MachineError: where the hub cannot be reached.
    """
    try:
        yield from items
    except UserError as error:  # which names file and line
        raise UserError(f"{key}: {error}") from error
    except Exception as error:
        if not LOST_NETWORK.isdisjoint(kind.__name__ for kind in type(error).__mro__):
            remedy = "name files, or a folder that `datasets.load_dataset(...).save_to_disk(FOLDER)` wrote elsewhere"
            raise hub_not_reached(f"{key}: '{name}'", error, remedy=remedy) from error
        if _is_ours(error) or isinstance(error, MemoryError) or getattr(error, "errno", None) in REFUSALS:
            raise
        raise UserError(f"{key}: cannot read '{name}': {message_of(error.__cause__ or error)}") from error


def marked_split(row: Row, column: str, origin: str) -> str:
    """What a row's column calls its split, in lower case.

    Raises:
        UserError: where the row has no such column.
    """
    if (found := looked_up(row, column)) is None:
        raise UserError(f"{origin} has no column '{column}' (it has: {', '.join(row)}), which task.split_column names")
    return str(found[0]).strip().lower()


@dataclass(frozen=True, kw_only=True)
class RowSource:
    """One split of a data set.

    Args:
        name: a hub data set, or local files and globs, read one after another.
        configuration: configuration of a hub data set (`mrpc` of `nyu-mll/glue`).
        split: split of a hub data set.
        format: kind of the local files. `auto`: by their suffix.
        header: names of the columns of a csv, tsv or CoNLL file that does not name them itself, and of the files of
            the format `parallel`, by default their suffixes (`en` of `train.en.gz`).
        columns: names that columns are looked up by -> those that they have here.
        encoding: of files that are not UTF-8, as `checked_encoding` gives it; bytes that are none of it are refused.
        chosen: a column, and the values (in lower case) of the rows that are taken; by default all.
        key: the setting that named the data set; for messages only.
    """

    name: tuple[str, ...]
    configuration: str | None = None
    split: str = "train"
    format: FormatSetting = "auto"
    header: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str = AUTO
    chosen: tuple[str, tuple[str, ...]] | None = None
    key: str = "task.train"

    def __str__(self) -> str:
        return ", ".join(self.name)

    def files(self) -> list[Path]:
        """The local files; empty for a hub data set.

        Raises:
            UserError: where a path names nothing.
        """
        if not self.name or not all(self.name):
            raise UserError(f"{self.key} names nothing: give a hub data set, or files")
        names = tuple(saved_split(name, self.split, self.key) for name in self.name)
        return files_of(names, key=self.key, folder_suffixes=())

    def kind(self) -> Format:
        """`format` with `auto` decided.

        Raises:
            UserError: where it is no format, a suffix is unknown, or suffixes differ.
        """
        if self.format != "auto":
            if self.format not in get_args(Format):  # null passes the command line
                raise UserError(
                    f"{self.key}: its format = {self.format} is none of auto, {', '.join(get_args(Format))}"
                )
            return self.format
        suffixes = {suffix_of(file): file for file in self.files()}
        for suffix, file in suffixes.items():
            if suffix not in FORMATS:
                known = ", ".join(get_args(Format))
                raise UserError(
                    f"{self.key}: '{file}' has no suffix of a known format; set its format to one of {known}"
                )
        kinds: list[Format] = list(dict.fromkeys(FORMATS[suffix] for suffix in sorted(suffixes)))
        if len(kinds) > 1:
            raise UserError(f"{self.key}: {' and '.join(kinds)} files cannot be mixed; give one kind")
        return kinds[0]

    def _parallel_rows(self) -> Rows:
        """A row for each line, a column for each name.

        Raises:
            UserError: where there are not as many columns as names, or a file has more lines than another.
        """
        files = [files_of((name,), key=self.key, folder_suffixes=()) for name in self.name]
        names = self.header or tuple(suffix_of(part[0]).removeprefix(".") for part in files)
        if len(names) != len(files) or len(set(names)) < len(names) or not all(names):
            raise UserError(
                f"{len(files)} parallel files ({self}) have the columns {', '.join(names)}: name one for "
                f"each with task.header"
            )
        read = partial(lines_of, encoding=self.encoding, strict=True)
        texts = [((path.name, line) for path in part for _, line in read(path)) for part in files]
        for number, lines in enumerate(itertools.zip_longest(*texts), start=1):
            if None in lines:
                ended = names[lines.index(None)]
                raise UserError(f"'{ended}' of {self} ends before line {number}, and another goes on")
            yield f"{lines[0][0]}, line {number}", {name: line for name, (_, line) in zip(names, lines, strict=True)}

    def rows(self) -> Rows:
        """Every row with its origin, classes as their names.

        Raises:
            UserError: where there is none, or one cannot be read.
        """
        files = self.files()
        if files and self.kind() == "parallel":
            found = self._parallel_rows()
        elif files:
            kind = self.kind()
            read = partial(rows_of, kind=kind, header=self.header, encoding=self.encoding, strict=True)
            found = (row for file in files for row in read(file))
        else:
            found = hub_rows(self.name[0], self.configuration, self.split)
        is_empty = True
        for origin, row in read_or_named(found, key=self.key, name=str(self)):
            if self.chosen is None or marked_split(row, self.chosen[0], origin) in self.chosen[1]:
                is_empty = False
                found_here = {name: looked_up(row, here) for name, here in self.columns.items()}
                yield origin, {**row, **{name: value[0] for name, value in found_here.items() if value is not None}}
        if is_empty:
            where = f"'{self}'" if files else f"split '{self.split}' of '{self}'"
            raise UserError(f"{self.key}: {where} holds no rows")
