"""Where rows come from: a hub data set, or local files; each row with its origin ("train.tsv, line 12")."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from common.errors import UserError
from data.text.files import FORMATS, Format, files_of, suffix_of
from data.text.formats import Rows, rows_of, with_class_names

FormatSetting = Literal["auto", Format]
Item = TypeVar("Item")


def hub_rows(name: str, configuration: str | None, split: str, *, column: str | None = None) -> Rows:
    """The rows of a split of a hub data set, classes as their names; of its columns only one, where one is named."""
    import datasets  # slow to import

    datasets.disable_progress_bars()
    found: Any = datasets.load_dataset(name, configuration, split=split)
    if column in found.column_names:
        found = found.select_columns([column])  # so that the others, such as images, are not decoded
    named = with_class_names(found.features)
    for number, row in enumerate(found, start=1):
        yield f"{name}, row {number}", named(row)


def read_or_named(items: Iterator[Item], *, key: str, name: str) -> Iterator[Item]:
    """The same items; the dozen kinds of error that libraries raise where they cannot read become one, on one line.

    Args:
        items: what is read.
        key: the setting that names the source.
        name: of the source.

    Raises:
        UserError: where something cannot be read, naming the setting and the source or its file and line.
    """
    try:
        yield from items
    except Exception as error:
        if type(error) is UserError:  # our own, which names file and line
            raise UserError(f"{key}: {error}") from error
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{key}: cannot read '{name}': {reason}") from error


@dataclass(frozen=True, kw_only=True)
class RowSource:
    """One split of a data set.

    Args:
        name: a hub data set, or local files and globs, read one after another.
        configuration: configuration of a hub data set (`mrpc` of `nyu-mll/glue`).
        split: split of a hub data set.
        format: kind of the local files. `auto`: by their suffix.
        header: names of the columns of a csv, tsv or CoNLL file that does not name them itself.
        key: the setting that named the data set; for messages only.
    """

    name: tuple[str, ...]
    configuration: str | None = None
    split: str = "train"
    format: FormatSetting = "auto"
    header: tuple[str, ...] = ()
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
        return files_of(self.name, key=self.key, folder_suffixes=())

    def kind(self) -> Format:
        """`format` with `auto` decided.

        Raises:
            UserError: where a suffix is unknown, or suffixes differ.
        """
        if self.format != "auto":
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

    def rows(self) -> Rows:
        """Every row with its origin, classes as their names.

        Raises:
            UserError: where there is none, or one cannot be read.
        """
        files = self.files()
        if files:
            kind = self.kind()
            found = (row for file in files for row in rows_of(file, kind, header=self.header))
        else:
            found = hub_rows(self.name[0], self.configuration, self.split)
        is_empty = True
        for row in read_or_named(found, key=self.key, name=str(self)):
            is_empty = False
            yield row
        if is_empty:
            where = f"'{self}'" if files else f"split '{self.split}' of '{self}'"
            raise UserError(f"{self.key}: {where} holds no rows")
