"""The report is a function of the record: everything in it is there, text is text, and nothing comes from elsewhere."""

import dataclasses
import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.record.files import read_record, write_record
from evaluation.record.record import StudyRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report import report
from evaluation.report.figures.estimates import hypotheses
from evaluation.report.report import all_figures, write_report
from evaluation.report.summary import answers
from evaluation.report.text.formatting import apart, difference, interval, number
from evaluation.report.text.verdicts import sentence
from tests.evaluation.report.made_up import HOSTILE, KOREAN, make_record
from tests.evaluation.report.pages import Page, without_drawings

Change = Callable[[str], str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the made-up record's report, where an earlier one had left a figure that this one has not."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "figures").mkdir()
    for suffix in ("png", "svg"):  # svg: as reports had them once
        (folder / f"figures/phenomena-gone.{suffix}").touch()
    write_report(make_record(), folder)
    return folder


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    """The page of the made-up record."""
    return (written / "report.html").read_text(encoding="utf-8")


def numbers_of(record: StudyRecord) -> list[str]:
    """Means, intervals, differences and p values, as they are written."""
    units = {metric.name: metric.unit for metric in record.metrics}
    found = []
    for summary in record.summaries:
        unit = units[summary.metric]
        found += [number(summary.mean, unit), interval(summary.low, summary.high, unit)]
    for verdict in record.verdicts:
        unit = units[verdict.metric]
        found += [difference(verdict.estimate, unit), sentence(record, verdict), verdict.outcome]
        found += [interval(verdict.equivalence_low, verdict.equivalence_high, unit, signed=True)]
        found += [number(value, unit) for value in (verdict.standard_deviation, verdict.confirmable_margin)]
    return found


@pytest.mark.parametrize("record", [make_record(), make_record(seeds=1, tuned=False), make_record(failed=2)],
                         ids=["five seeds", "one seed", "two failed"])  # fmt: skip
def test_every_number_stands_in_the_page(record: StudyRecord) -> None:
    page = without_drawings(record)
    for text in numbers_of(record):
        assert text in page.text
    for arm in record.arms:
        assert arm.label in page.text
    assert record.command in page.text


def test_text_of_a_corpus_stays_text() -> None:
    page = without_drawings(make_record(failed=1))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "object", "embed", "form")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count(" ".join(HOSTILE.split())) > 3  # as it was: a departure, a reason, a window, a continuation
    assert KOREAN in page.text


def test_nothing_comes_from_elsewhere(page: str) -> None:
    for tag, attributes in Page(page).tags:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "@import" not in page
    assert not re.search(r"url\(\s*['\"]?(?!data:|#)", page)


def test_figures_are_drawings_with_a_title_for_those_who_do_not_see_them(written: Path, page: str) -> None:
    figures = all_figures(make_record())
    assert {"evaluations", "hypotheses", "learning-rates"} <= {figure.name for figure in figures}
    labels = [html.unescape(label) for label in re.findall(r'role="img" aria-label="([^"]+)"', page)]
    for figure in figures:
        assert (written / f"figures/{figure.name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        if not figure.name.startswith("phenomena"):  # a table in the page
            assert all(panel.label in labels for panel in figure.panels)


def test_the_same_record_is_the_same_file(page: str) -> None:
    assert report.html(make_record()) == page


def test_colours_of_figures_are_the_pages(page: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--series-0)" in drawings
    assert not re.search(r"#[0-9a-f]{6}", drawings)


def test_every_axis_has_its_unit() -> None:
    for figure in all_figures(make_record()):
        for panel in figure.panels:
            assert re.search(r"nats a target|points|bits a byte|%", panel.label), panel.label


def test_the_answer_comes_first(page: str) -> None:
    text = Page(page).text
    answer = (
        "causal_lm is 4.2 points higher than masked_lm on minimal_pairs (95 % interval [+2.9, +5.5], p = 0.001, "
        "5 seeds)."
    )
    assert answer in text.replace("\xa0", " ")
    order = ["In short", answer[:40], "better than masked_lm", "Evaluations that are valid", "Validation loss against",
             "causal_lm is higher than masked_lm on minimal_pairs", "Deviations from the protocol"]  # fmt: skip
    text = text.split("Reproducing this", 1)[1]  # behind the contents
    places = [text.index(one) for one in order]
    assert places == sorted(places)


def test_sections_that_have_nothing_to_show_are_left_out() -> None:
    bare = dataclasses.replace(
        make_record(tuned=False), samples=(), continuations=(), verdicts=(), deviations=(), windows=()
    )
    page = without_drawings(bare)
    titles = {attributes.get("id") for tag, attributes in page.tags if tag == "section"}
    assert titles == {"summary", "evaluations", "curves", "phenomena", "ground", "cost", "runs", "reproduce"}
    assert "Deviations" not in page.text


def test_two_seeds_and_the_plateau_have_no_verdict_and_the_first_line_says_why() -> None:
    record = make_record(seeds=2)
    reason = "2 seeds are too few to estimate how far seeds lie apart; declare 3 or more"
    verdict = VerdictRecord(
        arm="causal_lm", against="masked_lm", metric="minimal_pairs", direction="greater", seeds=2,
        outcome="untested", estimate=0.003, reason=reason,
    )  # fmt: skip
    page = without_drawings(dataclasses.replace(record, verdicts=(verdict,)))
    assert f"No verdict: {reason}." in page.text
    assert "undecided against masked_lm" in page.text
    assert "contradicted" not in page.text.replace("Supported and contradicted", "")


def test_figures_that_an_earlier_report_had_are_removed(written: Path) -> None:
    there = {path.name for path in (written / "figures").iterdir()}
    assert there == {f"{figure.name}.png" for figure in all_figures(make_record())}


def test_one_seed_has_no_intervals_and_the_report_says_what_it_cannot_show() -> None:
    page = without_drawings(make_record(seeds=1, tuned=False))
    assert "One seed shows no difference between arms" in page.text
    assert "supported" not in page.text
    assert not re.search(r"\[\d+\.\d+, \d+\.\d+\]", page.text)


def test_runs_that_failed_are_named_with_their_reason() -> None:
    record = make_record(failed=2)
    page = without_drawings(record)
    assert "What 2 of 20 runs would have added: they did not finish (span_corruption)" in page.text
    assert page.text.count("loss is not finite at step 412") == 2


def test_losses_are_marked_as_ranking_no_objectives() -> None:
    text = without_drawings(make_record()).text
    assert re.search(r"validation_loss, nats\. Of its own question\. Not to be ranked between objectives\.", text)
    assert "Losses of different arms are not to be ranked" in text


def test_arms_that_did_not_read_the_same_windows_are_warned_of() -> None:
    record = make_record()
    other = dataclasses.replace(record.runs[0], windows_sha256="f" * 64)
    page = without_drawings(dataclasses.replace(record, runs=(other, *record.runs[1:])))
    assert "In 1 of 5 seeds the arms did NOT read the same windows" in page.text


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record(failed=1)
    write_record(record, tmp_path / "results.json")
    assert read_record(tmp_path / "results.json") == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-100], r"results.json is no record of format 2: the file: "),
        (lambda text: text.replace('"seed": 0', '"seed": "many"', 1), r"is no record of format 2: runs.0.seed: "),
        (lambda text: text.replace('"question"', '"qestion"', 1), r"is no record of format 2: qestion: "),
    ],
)
def test_a_broken_record_is_refused_in_one_line(change: Change, message: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_record(make_record(), path)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as refused:
        read_record(path)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(ValueError, match="no results at"):
        read_record(tmp_path / "nowhere.json")


def test_arms_at_the_plateau_are_named_together_and_once() -> None:
    plateau = "not left the plateau at the unigram entropy"
    pairs = (
        ("causal_lm", "masked_lm", f"causal_lm and masked_lm have {plateau}"),
        ("denoising", "masked_lm", f"denoising and masked_lm have {plateau}"),
        ("span_corruption", "denoising", f"denoising has {plateau}"),
    )
    verdicts = tuple(
        VerdictRecord(
            arm=arm,
            against=against,
            metric="minimal_pairs",
            direction="greater",
            seeds=5,
            outcome="untested",
            estimate=0.1,
            reason=reason,
        )
        for arm, against, reason in pairs
    )
    record = dataclasses.replace(make_record(), verdicts=verdicts)
    assert answers(record) == [f"No verdict: causal_lm, masked_lm and denoising have {plateau}."]
    assert hypotheses(record) is None  # an estimate without a verdict is not drawn


def test_what_is_the_same_beside_every_score_stands_once_above_the_table() -> None:
    rows = [{"bytes": "6,008", "bits a token": "9.7"}, {"bytes": "6,008", "bits a token": "8.0", "draws": "128"}]
    assert apart(rows) == ("bytes 6,008", ["bits a token 9.7", "bits a token 8.0, draws 128"])
    assert apart(rows[:1]) == ("", ["bytes 6,008, bits a token 9.7"])
    assert apart([rows[0], rows[0]]) == ("bytes 6,008, bits a token 9.7", ["", ""])


def test_an_interval_of_a_share_ends_where_shares_do() -> None:
    assert interval(-1.011, 1.624, "%") == "[0.0, 100.0]"
    assert interval(-0.25, 0.5, "%", signed=True) != interval(0.0, 0.5, "%", signed=True)
    assert interval(-1.0, 2.0, "nats") == interval(-1.0, 2.0)
