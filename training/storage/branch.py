"""A run that begins as another did: from a checkpoint up to which both had the same learning rates.

Under `wsd` the learning rate is flat until it decays, so that one parent run serves decays to several budgets; a branch
comes to what a run of its own to that budget would have come to, bit by bit.
"""

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import write_folder_whole, written_whole
from training.optimizers.optim import learning_rate_factor
from training.step.module import ExactModule
from training.storage.checkpoint import checkpoint_step, damage
from training.storage.config_file import NONE, differences
from training.storage.run_dir import RunFolder


class ParentRun:
    """The run that a branch comes from, as it was at one of its checkpoints.

    Args:
        checkpoint: a checkpoint in the folder of a run.

    Raises:
        UserError: where it is none, or it is damaged.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint, self.folder = checkpoint, RunFolder.of(checkpoint)
        self.step = checkpoint_step(checkpoint)
        info = self.folder.read_info()
        if self.step is None or not checkpoint.is_dir() or not info:
            raise UserError(f"branch_from = {checkpoint} must be a checkpoint in a run's folder, such as "
                             f"runs/NAME/checkpoints/step-00001000")  # fmt: skip
        self.total_steps: int | None = info.get("total_steps")
        self.data: dict[str, str] = info.get("data", {}).get("sha256", {})

    def check_settings(self, config: dict[str, Any], defaults: Mapping[str, Any] = NONE) -> None:
        """Raises UserError where a branch has other settings than its budget."""
        lines = differences(self.folder.read_config(), config, defaults)
        changed = [line for line in lines if not line.startswith("budget.")]
        if changed:
            raise UserError(f"a branch of {self.folder.path} differs from it in its budget alone, and here "
                             f"{'; '.join(changed)}")  # fmt: skip

    def check_run(self, module: ExactModule, *, total_steps: int | None, data: dict[str, str]) -> None:
        """Raises UserError where a run of that length would not have come to this checkpoint."""
        if self.data != data:
            raise UserError(f"branch_from = {self.checkpoint}: {self.folder.path} was trained on another token store")
        if total_steps is None or self.total_steps is None:
            raise UserError(f"branch_from = {self.checkpoint}: a run whose budget is minutes has no branches")
        assert self.step is not None
        module.check_branch(self.step, parent_steps=self.total_steps, total_steps=total_steps)
        optimizer = module.optimizer_config
        for step in range(self.step):
            was, now = (learning_rate_factor(optimizer, step, total) for total in (self.total_steps, total_steps))
            if was != now:
                raise UserError(
                    f"branch_from = {self.checkpoint}: from update {step:,} on a run of {total_steps:,} steps has "
                    f"another learning rate than the parent run's {self.total_steps:,}: branch from step {step:,} at "
                    f"the latest, with optimizer.schedule = wsd and a warmup in steps"
                )

    def copy_to(self, folder: RunFolder) -> None:
        """Gives a new run's folder the checkpoint, and what was logged up to it.

        Raises:
            UserError: where the checkpoint is damaged.
        """
        if name := damage(self.checkpoint):
            raise UserError(f"branch_from = {self.checkpoint}: {name} is damaged (its SHA-256 differs)")
        assert self.step is not None
        rows = self.folder.read_metrics(until=self.step)
        used = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
        with written_whole(folder.metrics) as writing, writing.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, used, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

        def fill(writing: Path) -> None:
            for path in self.checkpoint.iterdir():
                shutil.copyfile(path, writing / path.name)

        write_folder_whole(folder.checkpoints / self.checkpoint.name, fill)
