"""Where the rows of a task come from: a hub data set, or local files.

Whatever the form, `Source.dataset` is a `datasets` data set, and `Source.rows` are its rows as dictionaries, each with
a name of its own for messages ("train.tsv, line 12").
"""

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from data.text.corpora import local_files, suffix_of
from data.text.formats import ORIGIN, local_rows

Format = Literal["auto", "csv", "tsv", "jsonl", "json", "parquet", "conll", "text"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".conll": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".txt": "text",
}


def looks_like_a_path(name: str) -> bool:
    """Whether a name that no file answers to was meant as a file rather than as a hub data set (`owner/name`)."""
    return bool(re.match(r"[./~]", name) or re.search(r"[*?\[\\]", name) or suffix_of(Path(name)) in FORMATS)


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
    format: Format = "auto"
    header: tuple[str, ...] = ()
    key: str = "task.train"

    def __str__(self) -> str:
        return ", ".join(self.name)

    def files(self) -> list[Path]:
        """The local files; empty for a hub data set.

        Raises:
            ValueError: where a path names nothing.
        """
        if not self.name or not all(self.name):
            raise ValueError(f"{self.key} names nothing: give a hub data set, or files")
        found = {name: local_files(name) for name in self.name}
        if not any(found.values()) and len(self.name) == 1 and not looks_like_a_path(self.name[0]):
            return []
        for name, files in found.items():
            if not files or Path(name).expanduser().is_dir():
                raise ValueError(f"{self.key}: no file at '{name}' (looked from {Path.cwd()})")
        return [file for files in found.values() for file in files]

    def kind(self) -> Format:
        """`format` with `auto` decided.

        Raises:
            ValueError: where suffixes tell nothing, or differ.
        """
        if self.format != "auto":
            return self.format
        suffixes = {suffix_of(file): file for file in self.files()}
        for suffix, file in suffixes.items():
            if suffix not in FORMATS:
                known = ", ".join(kind for kind in get_args(Format) if kind != "auto")
                raise ValueError(f"{self.key}: '{file}' does not tell its format; set it to one of {known}")
        kinds: list[Format] = list(dict.fromkeys(FORMATS[suffix] for suffix in sorted(suffixes)))
        if len(kinds) > 1:
            raise ValueError(f"{self.key}: {' and '.join(kinds)} files cannot be mixed; give one kind")
        return kinds[0]

    def dataset(self) -> Any:
        """The split as a `datasets` data set; local files are read as a stream.

        Raises:
            ValueError: where it cannot be read.
        """
        import datasets  # slow to import

        datasets.disable_progress_bars()
        files = [str(file) for file in self.files()]
        kind = self.kind() if files else "auto"
        if files and kind != "parquet":  # read here, so that quotes, bad bytes and bad lines are what they are
            reading = {"paths": files, "kind": kind, "header": self.header}
            return datasets.IterableDataset.from_generator(local_rows, gen_kwargs=reading)
        try:
            if files:
                names = [glob.escape(file) for file in files]
                return datasets.load_dataset("parquet", data_files=names, split="train", streaming=True)
            return datasets.load_dataset(self.name[0], self.configuration, split=self.split)
        except Exception as error:
            raise self._unreadable(error) from error

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every row with what it is called in messages, classes as their names.

        Raises:
            ValueError: where there is none, or one cannot be read.
        """
        from datasets import ClassLabel  # slow to import

        found, number = self.dataset(), 0
        classes = {}
        for column, feature in (found.features or {}).items():
            inner = getattr(feature, "feature", feature)
            if isinstance(inner, ClassLabel):
                classes[column] = inner
        try:
            for number, row in enumerate(found, start=1):
                origin = row.pop(ORIGIN, f"{self}, row {number}")
                yield origin, {**row, **{column: _names(classes[column], row[column]) for column in classes}}
        except Exception as error:
            if type(error) is ValueError:  # our own, which says which file and which line
                raise
            raise self._unreadable(error) from error
        if not number:
            where = f"'{self}'" if self.files() else f"split '{self.split}' of '{self}'"
            raise ValueError(f"{self.key}: {where} holds no rows")

    def _unreadable(self, error: Exception) -> ValueError:
        """The one error, on one line, for the dozen kinds that the library raises where it cannot read."""
        reason = " ".join(str(error.__cause__ or error).split())
        return ValueError(f"{self.key}: cannot read '{self}': {reason}")


def _names(classes: Any, value: Any) -> Any:
    """Names of a class or of a list of classes; None for -1, which is how hub data sets hide a label."""
    if isinstance(value, list):
        return [_names(classes, item) for item in value]
    return None if value is None or value < 0 else classes.int2str(value)
