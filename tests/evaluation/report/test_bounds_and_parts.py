"""What a report writes of upper bounds and of parts of a metric's items, and what a body beside the main one costs."""

import dataclasses
import re

import numpy as np
import pytest

from evaluation.record.record import BoundRecord, MetricRecord, StudyRecord, SummaryRecord
from evaluation.report.figures import parts
from evaluation.report.figures.estimates import evaluations
from evaluation.report.figures.theme import svg
from evaluation.report.tables import parts_table
from evaluation.scoring.results import EvaluationResult
from evaluation.statistics.aggregate import bounds_of, scores_of, summaries
from evaluation.statistics.hypotheses import judge
from evaluation.study.study import Hypothesis
from tests.evaluation.report.made_up import make_record
from tests.evaluation.report.pages import without_drawings

BOUND = BoundRecord(draws=128, error=0.0123)


def scored(mean: float, bound: BoundRecord | None = None) -> EvaluationResult:
    """The result of one run on ten items that vary a little."""
    scores = mean + np.linspace(-0.1, 0.1, 10)
    return EvaluationResult(
        metric="continuation", scores=scores, strata=("all",) * 10, mean=mean, higher_is_better=False, rankable=True,
        unit="bits a byte", bound=bound,
    )  # fmt: skip


def a_study(diffusion: float, causal: float) -> StudyRecord:
    """Two arms and five seeds, of which the first arm's scores are upper bounds."""
    shifts = (-0.01, 0.0, 0.01, 0.02, -0.02)
    results = {
        "masked_lm": {seed: {"continuation": scored(diffusion + shift, BOUND)} for seed, shift in enumerate(shifts)},
        "causal_lm": {seed: {"continuation": scored(causal - shift / 2)} for seed, shift in enumerate(shifts)},
    }
    bounds, found = bounds_of(results), scores_of(results)
    hypothesis = Hypothesis(arm="masked_lm", against="causal_lm", metric="continuation", direction="less")
    record = make_record()
    return dataclasses.replace(
        record,
        arms=record.arms[:2],
        runs=(),
        metrics=(MetricRecord(name="continuation", unit="bits a byte", higher_is_better=False),),
        summaries=summaries(found, bounds=bounds),
        verdicts=judge([hypothesis], found, num_seeds=5, bounds=set(bounds)),
    )


def test_the_error_of_the_mean_of_bounds_falls_with_the_seeds() -> None:
    (bound,) = bounds_of({"a": {seed: {"continuation": scored(2.0, BOUND)} for seed in range(4)}}).values()
    assert (bound.draws, bound.error) == (128, pytest.approx(0.0123 / 2))
    assert bounds_of({"a": {0: {"continuation": scored(2.0)}}}) == {}


def test_a_bound_is_written_with_its_sign_its_draws_and_its_error() -> None:
    record = a_study(diffusion=2.5, causal=2.0)
    text = without_drawings(record).text.replace("\xa0", " ")
    assert text.count("≤ 2.500") == 3  # in the overview, in what is not shown, and in the table of the evaluation
    assert "upper bound, 128 draws a text, Monte Carlo error 0.006 bits a byte" in text
    assert "≤ 2.000" not in text
    figure = evaluations(record)
    assert figure is not None
    assert "≤" in figure.caption
    drawing = str(svg(figure.panels[0])).replace("\xa0", " ")
    assert "masked_lm  ≤ 2.500" in drawing
    assert "causal_lm  2.000" in drawing


def test_a_bound_above_another_score_has_no_verdict_and_one_below_it_has() -> None:
    above = a_study(diffusion=2.5, causal=2.0)
    assert above.verdicts[0].outcome == "untested"
    text = without_drawings(above).text.replace("\xa0", " ")
    assert "No verdict: masked_lm has an upper bound of continuation, which proves nothing unless it is lower." in text
    assert "worse than" not in text
    below = a_study(diffusion=1.5, causal=2.0)
    assert below.verdicts[0].outcome == "supported"
    text = without_drawings(below).text.replace("\xa0", " ")
    assert "masked_lm is 0.500 bits a byte lower than causal_lm on continuation" in text
    assert "≤ 1.500" in text


def test_without_bounds_nothing_speaks_of_them() -> None:
    record = make_record()
    figure = evaluations(record)
    assert figure is not None
    for text in (without_drawings(record).text, *(str(svg(panel)) for panel in figure.panels)):
        assert "≤" not in text
        assert "upper bound" not in text


def with_parts() -> StudyRecord:
    """A metric on short and on long texts, of two of the arms."""
    record, name = make_record(), "fine_tuned/translation"
    names = {f"{name}/source up to 20": (0.5, 0.45), f"{name}/source over 20": (0.4, 0.2)}
    metrics = tuple(MetricRecord(name=part, unit="%", part_of=name) for part in names)
    found = [
        SummaryRecord(arm=arm, metric=part, seeds=5, mean=mean, low=mean - 0.03, high=mean + 0.03)
        for part, means in names.items()
        for arm, mean in zip(("masked_lm", "causal_lm"), means, strict=True)
    ]
    whole = SummaryRecord(arm="masked_lm", metric=name, seeds=5, mean=0.45, low=0.4, high=0.5)
    return dataclasses.replace(
        record,
        metrics=(*record.metrics, MetricRecord(name=name, unit="%"), *metrics),
        summaries=(*record.summaries, whole, *found),
    )


def test_parts_of_a_metric_are_one_figure_with_intervals_and_one_table() -> None:
    record = with_parts()
    (metric,) = parts.with_parts(record)
    assert [part.part for part in record.parts_of(metric.name)] == ["source up to 20", "source over 20"]
    table = parts_table(record, metric)
    assert list(table.header) == ["arm", "source up to 20", "source over 20"]
    assert [[(cell.text, cell.below) for cell in row] for row in table.cells][1] == [
        ("causal_lm", ()), ("45.0", ("[42.0,\u00a048.0]",)), ("20.0", ("[17.0,\u00a023.0]",)),
    ]  # fmt: skip
    assert [cell.text for cell in table.cells[2]] == ["denoising", "–", "–"]
    figure = parts.parts_figure(record)
    assert figure is not None
    drawing = str(svg(figure.panels[0]))
    assert re.search(r"causal_lm, source over 20: 20\.0 % \[17\.0, 23\.0\]", drawing)
    assert "higher is better" in drawing
    page = without_drawings(record)
    assert "parts" in {attributes.get("id") for tag, attributes in page.tags if tag == "section"}
    summary = page.text.split("What it does not show", 1)[0]
    assert "source over 20" not in summary  # the first screen has the metric on all rows
    assert parts.parts_figure(make_record()) is None


def test_the_parameters_of_a_body_beside_the_main_one_are_told() -> None:
    record = make_record()
    electra = dataclasses.replace(record.arms[0], beside={"generator": 350_000})
    text = without_drawings(dataclasses.replace(record, arms=(electra, *record.arms[1:]))).text
    assert "350k of them the generator's" in text
    assert "of them the" not in without_drawings(record).text
