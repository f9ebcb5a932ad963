"""A study's folder, and a run of the study: where it lies, and what became of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from common.errors import UserError
from common.files import read_json, write_whole
from evaluation.record.kinds import Status
from evaluation.study.study import amounts
from training.step.stops import Diverged
from training.storage.config_file import NONE, differences
from training.storage.run_dir import RunFolder


@dataclass(frozen=True, kw_only=True)
class StudyDir:
    """A study's folder.

    studies/NAME/
        study.json      the declaration, and those that stood before it
        plan.json       what it comes to
        tuning/         runs of the sweep over learning rates
        runs/           runs
        logs/           what each run's process printed, and how it failed
        results.json    and the report beside it
        unmeasured.txt  what no evaluation could measure, where there is such
    """

    folder: Path

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def declaration(self) -> Path:
        return self.folder / "study.json"

    @property
    def unmeasured(self) -> Path:
        return self.folder / "unmeasured.txt"

    @property
    def results(self) -> Path:
        return self.folder / "results.json"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


class MeasuredRun(Protocol):
    """What measuring needs of a run, be it a study's or one that exists: see `Job`."""

    @property
    def name(self) -> str: ...
    @property
    def arm(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def run(self) -> RunFolder: ...
    @property
    def branch(self) -> bool: ...
    @property
    def amount(self) -> float: ...

    def outcome(self) -> tuple[Status, str]: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of train.py.

    Attributes:
        study_dir: of its study.
        under: `runs` or `tuning`.
        measure, amount: its budget.
        total_steps: None where a clock decides.
        learning_rate: where the sweep decides it.
        branch: whether it branches off a run of the whole budget.
        arguments: of train.py.
    """

    study_dir: StudyDir
    under: Literal["runs", "tuning"]
    name: str
    arm: str
    seed: int
    measure: str
    amount: float
    total_steps: int | None
    learning_rate: float | None = None
    branch: bool = False
    arguments: tuple[str, ...]

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.study_dir.folder / self.under / self.name)

    @property
    def log(self) -> Path:
        return self.study_dir.folder / "logs" / f"{self.under}-{self.name}.log"

    @property
    def _failure(self) -> Path:
        return self.log.with_suffix(".failed.json")

    def note_failure(self, exit_status: int, reason: str) -> None:
        """Keeps why its process ended before the run did."""
        write_whole(self._failure, json.dumps({"exit_status": exit_status, "reason": reason}))

    def forget_failure(self) -> None:
        """Called where it is tried again."""
        self._failure.unlink(missing_ok=True)

    def summary(self) -> dict[str, Any] | None:
        """What came out of the run; None where it did not come to its end, or its folder is damaged."""
        return self.run.read_summary() if self.outcome()[0] == "finished" else None

    def outcome(self) -> tuple[Status, str]:
        """What became of it so far, and why it is not finished.

        A damaged file of its folder is why, and blocks no other run; to try again would change nothing.
        """
        try:
            self.run.check()
            if self.run.read_summary() is not None:
                return "finished", ""
        except UserError as error:
            return "failed", str(error)
        if self._failure.is_file():
            try:
                failure = read_json(self._failure, remedy="the run is tried again")
            except UserError as error:
                return "unfinished", str(error)
            is_result = failure.get("exit_status") == Diverged.exit_status
            return ("failed" if is_result else "unfinished"), str(failure.get("reason"))
        return "unfinished", "not begun" if not self.run.metrics.is_file() else "interrupted"

    def what_became_of_it(self) -> list[Path]:
        """The files that its outcome is read from."""
        return [path for path in (self.run.path / "summary.json", self._failure) if path.is_file()]

    def check_same(self, config: dict[str, Any], data: dict[str, str], defaults: Mapping[str, Any] = NONE) -> None:
        """Refuses to take another run for this one.

        Args:
            config: every setting of the arm.
            defaults: of these settings.
            data: hashes of the token store's files.

        Raises:
            UserError: where its folder holds a run of other settings, with both values of each, or on other text.
        """
        if not self.run.is_run:
            return
        try:
            before, info = self.run.read_config(), self.run.read_info()
        except UserError:  # which its outcome names, and which is no reason to refuse the study
            return
        rate = config["optimizer"]["learning_rate"] if self.learning_rate is None else self.learning_rate
        now = {**config, "seed": self.seed, "optimizer": {**config["optimizer"], "learning_rate": rate}}
        budgets = [amounts(before["budget"]), amounts({**config["budget"], self.measure: self.amount})]
        changed = differences({**before, "budget": budgets[0]}, {**now, "budget": budgets[1]}, defaults)
        if changed:
            raise UserError(
                f"{self.run.path} holds a run with other settings ({'; '.join(changed)}): give this study another "
                f"--name, or remove that folder"
            )
        if info.get("data", {}).get("sha256", data) != data:
            raise UserError(
                f"{self.run.path} was trained on another token store: the text or the tokenizer has changed; give this "
                f"study another --name"
            )

    def is_over(self) -> bool:
        """Whether trying again would change nothing: it is finished, or it diverged."""
        return self.outcome()[0] != "unfinished"


def logged(run: RunFolder) -> list[dict[str, float]]:
    """The rows of a run's metrics.csv, with what was logged in each; none of a damaged one, which its outcome names."""
    try:
        rows = run.read_metrics()
    except UserError:
        return []
    return [{name: float(value) for name, value in row.items() if name and value} for row in rows]
