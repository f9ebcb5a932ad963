"""Pages of made-up records, as a browser reads them."""

from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from unittest import mock

from markupsafe import Markup

from evaluation.record.record import StudyRecord
from evaluation.report import report

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """What a browser makes of a page: its tags, its text, and whether every tag is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@contextmanager
def undrawn() -> Iterator[None]:
    """Reports have nothing in the place of their drawings, which are nearly all that it takes to write them."""
    with (
        mock.patch.object(report, "svg", return_value=Markup("<svg></svg>")),
        mock.patch.object(report, "png", return_value=b""),
    ):
        yield


def without_drawings(record: StudyRecord) -> Page:
    """The page of a record but for its drawings: what is found in its text is not there because a drawing has it."""
    with undrawn():
        return Page(report.html(record))
