"""The runs of a study follow from its declaration, and what became of them from their folders alone."""

import csv
import json
import math
from dataclasses import replace

import pytest
import yaml

from evaluation.execution.deviations import deviations
from evaluation.execution.jobs import Job, StudyDir, logged
from evaluation.execution.planned import branch_jobs, run_jobs, tuning_jobs
from evaluation.execution.runner import declare, jobs_of
from evaluation.execution.sweep import at_edge, best_rates, last_loss
from evaluation.record.record import TextRecord
from evaluation.study.checks import earlier_precisions
from evaluation.study.plan import ArmPlan, BranchPlan, Plan
from evaluation.study.study import Arm, Hypothesis, Study
from training.setup.settings import LoggingSettings
from training.step.budget import Budget, StepCost
from training.step.stops import Diverged

CONFIG = {
    "seed": 0,
    "name": "planned",
    "body": {"width": 32},
    "trainer": {"precision": "32-true"},
    "optimizer": {"learning_rate": 1e-3},
    "budget": {"raw_tokens": "1k", "flops": None},
}
RATES = (1e-3, 2e-3, 4e-3)
TEXT = TextRecord(
    corpus="embedded",
    train_tokens=1000,
    validation_tokens=100,
    train_bytes=4000,
    documents=10,
    tokenizer="byte_bpe",
    vocab_size=480,
    window=32,
    ln_vocabulary=6.17,
    unigram_entropy=4.0,
)


def study_of(**changed: object) -> Study:
    declared = {
        "arms": {
            "a b": Arm(config=("a.yaml",), settings={"body.layers": "[1, 1]"}),
            "c": Arm(config=("c.yaml",)),
        },
        "seeds": (0, 1),
        "budget": Budget(raw_tokens="1k"),
    }
    return Study(**{**declared, **changed})  # type: ignore[arg-type]


def plan_of(study: Study, *, layers: tuple[int, int] = (2, 0), branches: tuple[BranchPlan, ...] = ()) -> Plan:
    cost = StepCost(raw_tokens=100, target_tokens=15, flops=1e6, epochs=0.1)
    arm = {
        "objective": "objectives.masked_lm.MaskedLM",
        "question": {},
        "settings": {"optimizer.schedule": "wsd", "optimizer.learning_rate": 1e-3},
        "config": CONFIG,
        "defaults": {},
        "parameters": 1000,
        "non_embedding": 600,
        "active": 600,
        "batch_size": 8,
        "cost": cost,
        "total_steps": 10,
        "tuning_steps": 3,
        "branches": branches,
    }
    arms = {label: ArmPlan(layers=layers, **arm) for label in study.arms}
    return Plan(fingerprint="", text=TEXT, data={}, logging=LoggingSettings(), arms=arms)


def finish(job: Job, loss: float) -> None:
    """What a run leaves that came to that loss."""
    job.run.path.mkdir(parents=True)
    job.run.write_summary({"steps": 1, "validation/loss": loss})


def fail(job: Job, exit_status: int) -> None:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.note_failure(exit_status, "loss nan")


def test_every_arm_runs_with_every_seed_and_the_arms_of_a_seed_follow_each_other(study_dir: StudyDir) -> None:
    study = study_of()
    jobs = run_jobs(study, plan_of(study), study_dir, dict.fromkeys(study.arms))
    assert [job.name for job in jobs] == ["a-b-s0", "c-s0", "a-b-s1", "c-s1"]
    assert jobs[0].arguments == (
        *("--config", "a.yaml", "--body.layers=[1, 1]", "--budget.raw_tokens=1000.0", "--trainer.precision=32-true"),
        *("--seed=0", "--name=a-b-s0", f"--runs={study_dir.folder}/runs", "--logging.group=study"),
    )


def test_the_sweep_has_a_share_of_the_budget_and_seeds_of_its_own(study_dir: StudyDir) -> None:
    study = study_of(learning_rates=RATES, tuning_seeds=(9,), tuning_share=0.3)
    jobs = tuning_jobs(study, plan_of(study), study_dir)
    assert [(job.arm, job.learning_rate, job.seed) for job in jobs] == [
        (arm, rate, 9) for arm in ("a b", "c") for rate in RATES
    ]
    assert {job.amount for job in jobs} == {300.0}
    assert all("--budget.raw_tokens=300.0" in job.arguments for job in jobs)
    assert f"--runs={study_dir.folder}/tuning" in jobs[0].arguments
    assert "--optimizer.learning_rate=0.002" in jobs[1].arguments


def test_the_best_rate_has_the_lowest_mean_loss_over_the_tuning_seeds(study_dir: StudyDir) -> None:
    study = study_of(learning_rates=RATES, tuning_seeds=(8, 9), arms={"c": Arm(config=("c.yaml",))})
    sweep = tuning_jobs(study, plan_of(study), study_dir)
    losses = {(8, 1e-3): 5.0, (8, 2e-3): 4.0, (8, 4e-3): 3.0, (9, 1e-3): 5.0, (9, 2e-3): 4.0}
    assert best_rates(study, sweep) == {}
    for job in sweep:
        if (loss := losses.get((job.seed, job.learning_rate or 0))) is not None:
            finish(job, loss)
    assert best_rates(study, sweep) == {}  # one run of it goes on
    fail(sweep[-1], Diverged.exit_status)  # the best rate of the first seed is none for the second
    assert last_loss(sweep[-1]) == math.inf
    rates = best_rates(study, sweep)
    assert rates == {"c": 2e-3}
    assert at_edge(study, rates) == []
    assert at_edge(study, {"c": 4e-3}) == ["c"]


def test_runs_wait_for_the_sweep_and_branches_for_their_trunks(study_dir: StudyDir) -> None:
    study = study_of(learning_rates=RATES, tuning_seeds=(9,), branches=("500",))
    plan = plan_of(study, branches=(BranchPlan(amount=500, step=4, total_steps=5),))
    jobs = jobs_of(study, plan, study_dir)
    assert (len(jobs.tuning), jobs.runs, jobs.branches) == (6, [], [])
    assert not jobs.are_over()
    for job in jobs.tuning:
        finish(job, 1 / (job.learning_rate or 1))
    jobs = jobs_of(study, plan, study_dir)
    assert jobs.rates == {"a b": 4e-3, "c": 4e-3}
    assert "--checkpoints.at_steps=[4]" in jobs.runs[0].arguments
    assert "--optimizer.learning_rate=0.004" in jobs.runs[0].arguments
    finish(jobs.runs[0], 2.0)
    jobs = jobs_of(study, plan, study_dir)
    (branch,) = jobs.branches
    assert (branch.name, branch.amount, branch.total_steps, branch.branch) == ("a-b-s0-to-500", 500, 5, True)
    assert f"--branch_from={jobs.runs[0].run.checkpoints}/step-00000004" in branch.arguments
    assert "--optimizer.learning_rate=0.004" in branch.arguments


def test_a_folder_that_holds_another_run_is_not_taken_for_this_one(study_dir: StudyDir) -> None:
    study = study_of()
    job = run_jobs(study, plan_of(study), study_dir, dict.fromkeys(study.arms))[2]
    job.check_same(CONFIG, {})
    job.run.path.mkdir(parents=True)
    before = {**CONFIG, "seed": 1, "name": "a-b-s1", "budget": {"raw_tokens": 1000.0, "flops": None}}

    def leave(**changed: object) -> None:
        (job.run.path / "config.yaml").write_text(yaml.safe_dump({**before, **changed}), encoding="utf-8")

    leave(logging={"every_steps": 3})
    job.check_same(CONFIG, {})
    for changed, expected in (
        ({"body": {"width": 64}}, "body.width: 64 -> 32"),
        ({"optimizer": {"learning_rate": 2e-3}}, "optimizer.learning_rate: 0.002 -> 0.001"),
        ({"budget": {"raw_tokens": "2k", "flops": None}}, r"budget.raw_tokens: 2000.0 -> 1000.0"),
        ({"seed": 3}, "seed: 3 -> 1"),
    ):
        leave(**changed)
        with pytest.raises(ValueError, match=rf"other settings \({expected}\): give this study another --name"):
            job.check_same(CONFIG, {})


def test_an_arm_that_has_runs_is_planned_in_their_precision(study_dir: StudyDir) -> None:
    study = study_of(learning_rates=RATES, tuning_seeds=(9,))
    assert earlier_precisions(study, study_dir.folder) == {}
    (run, *_), (_, tuned, *_) = (
        run_jobs(study, plan_of(study), study_dir, dict.fromkeys(study.arms)),
        [job for job in tuning_jobs(study, plan_of(study), study_dir) if job.arm == "c"],
    )
    for job, precision in ((run, "bf16-mixed"), (tuned, "32-true")):
        job.run.path.mkdir(parents=True)
        job.run.write_config({**CONFIG, "trainer": {"precision": precision}})
    assert earlier_precisions(study, study_dir.folder) == {}  # neither got as far as its data
    for job in (run, tuned):
        job.run.write_info(data={})
    assert earlier_precisions(study, study_dir.folder) == {"a b": "bf16-mixed", "c": "32-true"}


def test_a_run_on_another_text_is_not_taken_for_one_on_this(study_dir: StudyDir) -> None:
    study = study_of()
    job = run_jobs(study, plan_of(study), study_dir, dict.fromkeys(study.arms))[0]
    job.run.path.mkdir(parents=True)
    (job.run.path / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    (job.run.path / "run.json").write_text('{"data": {"sha256": {"tokens": "1"}}}', encoding="utf-8")
    job.check_same(CONFIG, {"tokens": "1"})
    with pytest.raises(ValueError, match="was trained on another token store: the text or the tokenizer has changed"):
        job.check_same(CONFIG, {"tokens": "2"})


def test_a_run_that_diverged_is_over_and_missing_and_one_that_broke_is_not_over(study_dir: StudyDir) -> None:
    study = study_of()
    jobs = jobs_of(study, plan_of(study), study_dir)
    for job in jobs.runs:
        finish(job, 1.0)
    assert jobs.are_complete()
    (jobs.runs[0].run.path / "summary.json").unlink()
    fail(jobs.runs[0], Diverged.exit_status)
    assert jobs.runs[0].outcome() == ("failed", "loss nan")
    assert jobs.are_over()
    assert not jobs.are_complete()
    fail(jobs.runs[0], 1)
    assert jobs.runs[0].outcome() == ("unfinished", "loss nan")
    assert not jobs.are_over()


def test_rows_of_metrics_hold_what_was_logged_in_each(study_dir: StudyDir) -> None:
    study = study_of()
    job = run_jobs(study, plan_of(study), study_dir, dict.fromkeys(study.arms))[0]
    assert logged(job.run) == []
    job.run.path.mkdir(parents=True)
    with job.run.metrics.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["step", "train/loss", "validation/loss"], [1, 5.5, ""], [2, "", 4.5]])
    assert logged(job.run) == [{"step": 1, "train/loss": 5.5}, {"step": 2, "validation/loss": 4.5}]


def test_no_branch_is_made_of_an_arm_without_branches(study_dir: StudyDir) -> None:
    study = study_of()
    plan = plan_of(study)
    assert branch_jobs(study, plan, run_jobs(study, plan, study_dir, dict.fromkeys(study.arms))) == []


def test_a_declaration_that_changes_after_runs_have_finished_is_named(study_dir: StudyDir) -> None:
    study = study_of()
    study_dir.folder.mkdir(parents=True)
    first = declare(study, "one", study_dir)
    assert declare(study, "one", study_dir) == first
    jobs = jobs_of(study, plan_of(study), study_dir)
    assert not any("declaration" in deviation for deviation in deviations(study, plan_of(study), jobs, first))
    finish(jobs.runs[0], 1.0)
    later = study_of(
        evaluations={"continuation": {}},
        hypotheses=(Hypothesis(arm="a b", against="c", metric="continuation", direction="less"),),
    )
    both = declare(later, "two", study_dir)
    assert len(json.loads(study_dir.declaration.read_text(encoding="utf-8"))) == 2
    (change,) = [deviation for deviation in deviations(later, plan_of(later), jobs, both) if "declaration" in deviation]
    assert "was changed (evaluations, hypotheses) at" in change
    assert "after 1 runs had finished" in change


def test_deviations_name_few_seeds_an_edge_of_the_sweep_and_a_missing_size(study_dir: StudyDir) -> None:
    study = study_of(learning_rates=RATES, tuning_seeds=(9,))
    plan = plan_of(study)
    arms = {**plan.arms, "both": plan_of(study, layers=(1, 1)).arms["c"]}
    for job in tuning_jobs(study, plan, study_dir):
        finish(job, job.learning_rate or 0)
    mixed = replace(plan, arms=arms)
    deviation = deviations(study, mixed, jobs_of(study, plan, study_dir), [])
    assert "2 seeds, where the protocol has at least 8." in deviation
    assert "The best learning rate of c, 0.001, lies at the edge of those tried." in deviation
    assert any(line.startswith("MaskedLM has no arm of 4 blocks") for line in deviation)
    assert "One budget: no run branches off to smaller ones." in deviation
