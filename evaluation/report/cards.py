"""A declared hypothesis as the report shows it: what was expected, what became of it, and its difference drawn."""

from dataclasses import dataclass

from markupsafe import Markup

from evaluation.record.record import StudyRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report.figures import difference_strip
from evaluation.report.verdicts import Tone, expected, sentence, tone

SIGNS: dict[Tone, str] = {"yes": "\u2713", "no": "\u2717", "open": "?"}  # beside the colour, which not all can see


@dataclass(frozen=True)
class Card:
    """A hypothesis of a study with its verdict."""

    record: StudyRecord
    verdict: VerdictRecord

    def html(self) -> Markup:
        kind, unit = tone(self.verdict), self.record.unit(self.verdict.metric)
        drawing = difference_strip(self.verdict, unit)
        form = (
            '<article class="verdict {}"><div><p class="expected">{}</p>'
            '<p class="chip"><span aria-hidden="true">{}</span> {}</p><p>{}</p></div>{}</article>'
        )
        return Markup(form).format(
            kind,
            expected(self.verdict, unit),
            SIGNS[kind],
            self.verdict.outcome,
            sentence(self.record, self.verdict),
            drawing.svg() if drawing else "",
        )
