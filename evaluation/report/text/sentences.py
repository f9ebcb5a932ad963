"""What a study shows and what it does not, in plain words that follow from its record alone."""

from evaluation.record.kinds import Measure
from evaluation.record.record import RunRecord, StudyRecord
from evaluation.report.text.formatting import among, estimated, number, score, seeds
from evaluation.report.text.verdicts import sentence, tone
from training.monitoring.display import short

MEASURES: dict[Measure, str] = {
    "raw_tokens": "raw tokens",
    "flops": "training FLOPs",
    "target_tokens": "target tokens",
    "minutes": "minutes of training",
}


def what_was_done(record: StudyRecord) -> str:
    """The study in two sentences."""
    count = len(record.arms)
    each = "Each run" if count * len(record.seeds) > 1 else "The run"
    return (
        f"{count} arm{'s' * (count != 1)} ({among([arm.label for arm in record.arms])}) on {record.text.corpus}, "
        f"{seeds(len(record.seeds))} each. {each} had {short(record.budget)} {MEASURES[record.measure]}."
    )


def pairing(record: StudyRecord) -> tuple[str, bool]:
    """Whether arms with one seed read the same windows, as a sentence and as a fact.

    A longer run goes on with more windows, so that only arms whose runs ended at one token can be held to it.
    """
    by_seed: dict[tuple[int, float], dict[str, str]] = {}
    for run in record.runs:
        if run.windows_sha256 and run.curve and run.budget is None:
            by_seed.setdefault((run.seed, run.curve[-1].raw_tokens), {})[run.arm] = run.windows_sha256
    groups = [arms for arms in by_seed.values() if len(arms) > 1]
    if not groups:
        return (
            "No two runs of one seed read equally many windows: their orders cannot be held side by side.",
            True,
        )
    apart = sum(len(set(arms.values())) > 1 for arms in groups)
    if apart:
        return (
            f"In {apart} of {len(groups)} seeds the arms did NOT read the same windows in the same order (their "
            f"SHA-256 differ): comparisons within a seed are not paired."
        ), False
    return (
        f"Arms with one seed read the same windows in the same order: their SHA-256 agree in all {len(groups)} "
        f"group{'s' * (len(groups) != 1)} of runs."
    ), True


def unfinished(record: StudyRecord) -> list[RunRecord]:
    """Runs that did not come to their end."""
    return [run for run in record.runs if run.status != "finished"]


def rates_at_the_edge(record: StudyRecord) -> list[str]:
    """Arms whose best learning rate is the lowest or the highest that was tried."""
    rates = sorted({run.learning_rate for run in record.tuning})
    return [arm.label for arm in record.arms if len(rates) > 1 and arm.learning_rate in (rates[0], rates[-1])]


def limits(record: StudyRecord) -> list[str]:
    """What a reader might infer, and what the study does not show."""
    found = []
    if len(record.seeds) == 1:
        found.append(
            "One seed shows no difference between arms: another seed of the same arm would have come out elsewhere, "
            "and nothing here shows by how much. The numbers describe these runs and no procedure."
        )
    found += [sentence(record, verdict) for verdict in record.verdicts if tone(verdict) == "open"]
    for summary in record.summaries:
        if summary.bound is not None and summary.budget is None:
            unit = record.unit(summary.metric)
            found.append(
                f"How {summary.arm} stands to arms below it on {summary.metric}: {score(summary, unit)} {unit} is an "
                f"{estimated(summary.bound, unit)}. Its true value may be lower: only where the bound is below another "
                f"arm's score does it prove anything."
            )
    if len({arm.objective for arm in record.arms}) > 1:
        found.append(
            "Which objective is better by its loss: each has prediction targets of its own, and losses of different "
            "objectives are not comparable, even between perfect models."
        )
    if missing := unfinished(record):
        arms = among(list(dict.fromkeys(run.arm for run in missing)))
        found.append(
            f"What {len(missing)} of {len(record.runs)} runs would have added: they did not finish ({arms}), and what "
            f"stands here of these arms rests on the others."
        )
    if edge := rates_at_the_edge(record):
        found.append(
            f"What {among(edge)} would have come to with another learning rate: the best one lies at the edge of "
            f"those that were tried."
        )
    if not pairing(record)[1]:
        found.append(pairing(record)[0])
    return found


def totals(run: RunRecord) -> dict[str, str]:
    """What a run had consumed by its last validation."""
    if not run.curve:
        return dict.fromkeys(("raw_tokens", "flops", "target_tokens", "loss"), number(None))
    last = run.curve[-1]
    return {
        "raw_tokens": short(last.raw_tokens),
        "flops": short(last.flops),
        "target_tokens": short(last.target_tokens),
        "loss": number(last.loss),
    }
