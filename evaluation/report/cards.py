"""A declared hypothesis as the report shows it: what was expected, what became of it, and its difference drawn."""

from dataclasses import dataclass

from markupsafe import Markup

from evaluation.record.record import VerdictRecord
from evaluation.report.figures import difference_strip
from evaluation.report.html import plain
from evaluation.report.sentences import tone

SIGNS = {"yes": "\u2713", "no": "\u2717", "open": "?"}  # beside the colour, for those who do not see it
EXPECTED = {"greater": "is higher than", "less": "is lower than", "equivalent": "is equivalent to"}


def expected(verdict: VerdictRecord, unit: str) -> str:
    """The hypothesis as a sentence without its full stop."""
    said = f"{verdict.arm} {EXPECTED[verdict.direction]} {verdict.against} on {verdict.metric}"
    if verdict.direction != "equivalent":
        return said
    margin = f"{100 * verdict.margin:g}" if unit == "%" else f"{verdict.margin:g}"
    return f"{said}, within {margin} {'points' if unit == '%' else unit}".rstrip()


@dataclass(frozen=True)
class Card:
    """A hypothesis with its verdict; `unit` is its metric's."""

    verdict: VerdictRecord
    unit: str = ""

    def html(self) -> Markup:
        kind, drawing = tone(self.verdict), difference_strip(self.verdict, self.unit)
        form = (
            '<article class="verdict {}"><div><p class="expected">{}</p>'
            '<p class="chip"><span aria-hidden="true">{}</span> {}</p><p>{}</p></div>{}</article>'
        )
        return Markup(form).format(
            kind,
            expected(self.verdict, self.unit),
            SIGNS[kind],
            self.verdict.verdict,
            self.verdict.sentence,
            drawing.svg() if drawing else "",
        )

    def markdown(self) -> str:
        heading = plain(f"{expected(self.verdict, self.unit)}: {self.verdict.verdict}.")
        return f"**{heading}** {plain(self.verdict.sentence)}"
