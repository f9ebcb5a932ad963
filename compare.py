r"""Compares objectives: python compare.py --config configs/comparisons/demo.yaml.

Trains every arm with every seed on the same text in the same order at one budget, scores them by evaluations that
are valid across objectives, and writes a report:

    python compare.py --config configs/comparisons/four_objectives.yaml --dry-run
    python compare.py --config configs/comparisons/four_objectives.yaml --seeds '[0, 1]' --budget.raw_tokens 2M \
        --branches '[1M]'

Folders of runs that exist, in place of a declaration, are put into one report, which names what is unequal in them:

    python compare.py runs/causal_lm-s0 runs/masked_lm-s0
    python compare.py runs/causal_lm-s* runs/masked_lm-s* --evaluations '[continuation]'

Everything lies in studies/NAME. The same command again does what is left to do: runs that are finished are not
repeated, interrupted ones go on, and failed ones are tried again. See docs/compare.md.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import shlex
import sys
from pathlib import Path

from rich.console import Console

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from evaluation.execution.jobs import StudyDir
from evaluation.execution.runner import declare, environments_of, jobs_of, locked, plan_of, print_plan, train_study
from evaluation.existing import compare_runs, default_name
from evaluation.findings import check_evaluations, evaluations_of
from evaluation.outcome import finish_study, is_finished
from evaluation.study.parse import parse, parse_runs
from training.monitoring.next_command import print_next
from training.script.script import script

DEFAULTS = Path(__file__).parent / "configs/base.yaml"
WIDTH = 120  # where there is no terminal
DRY_RUN = "--dry-run"
EXAMPLE = "Thank you for inviting me to your party last week ."


def of_runs(arguments: list[str], console: Console) -> int:
    """The report on runs that exist; returns the exit status."""
    options, named = parse_runs(arguments)
    study_dir = StudyDir(folder=options.studies / (options.name or default_name(options.runs)))
    evaluations = evaluations_of(named)
    compare_runs(options.runs, study_dir, evaluations, command=shlex.join(arguments), console=console)
    print_next("show.py", "--html", study_dir.folder / "texts.html", EXAMPLE, "--runs", *options.runs)
    return 0


@script(interrupted="stopped; the same command goes on from there\n")
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status: 1 where a run or a score is missing from what came out."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    if arguments and not arguments[0].startswith("-"):
        return of_runs(arguments, console)
    study, options = parse(arguments, __doc__)
    study_dir, fingerprint = StudyDir(folder=options.studies / options.name), study.fingerprint(DEFAULTS)
    with locked(study_dir):
        evaluations = evaluations_of(study.evaluations)
        plan = plan_of(study, fingerprint, DEFAULTS, study_dir)
        jobs, environments = jobs_of(study, plan, study_dir), environments_of(plan, options.parallel)
        if not jobs.are_over():
            check_evaluations(evaluations, study.hypotheses)
        if options.dry_run:
            print_plan(console, study, plan, jobs, at_once=len(environments))
            print_next("compare.py", *(argument for argument in arguments if argument != DRY_RUN))
            return 0
        declarations = declare(study, fingerprint, study_dir)
        if is_finished(study_dir, jobs):
            over = f"nothing to do: {len(jobs.all)} runs are over"
            console.print(f"{over}, and {study_dir.results} holds what came out", soft_wrap=True)
        else:
            print_plan(console, study, plan, jobs, at_once=len(environments))
            jobs = train_study(study, plan, study_dir, environments, console)
            finish_study(
                *(study, plan, study_dir, jobs, declarations, evaluations),
                command=shlex.join(arguments),
                console=console,
            )
        are_complete = jobs.are_complete() and not study_dir.unmeasured.is_file()
        if are_complete:
            print_next("summarize.py", study_dir.folder)
        else:
            print_next("compare.py", *arguments)
        return int(not are_complete)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
