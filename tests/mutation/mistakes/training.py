"""Mistakes in what every run does alike: the exact step, the schedule, what is saved and what is taken up again."""

from tests.mutation.mutant import Mutant

MODULE = "tests/training/step/test_module.py"
GRADIENT = f"{MODULE}::test_the_gradient_is_that_of_the_whole_batch_however_it_is_split"
OPTIM = "tests/training/optimizers/test_optim.py"
BUDGET = "tests/training/step/test_budget.py"
CHECKPOINT = "tests/training/storage/test_checkpoint.py"
SESSION = "tests/training/test_session.py"
RESUMED = f"{SESSION}::test_a_killed_run_goes_on_bit_by_bit"
TWO_PROCESSES = (
    "tests/training/step/test_distributed.py"
    "::test_two_processes_take_the_step_that_one_takes_and_one_goes_on_from_their_checkpoint"
)
RUN = "tests/training/storage/test_run_dir.py"
LOGS = "tests/training/monitoring/test_logs.py"
CLI = "tests/training/setup/test_cli.py"
REPEATED = "tests/training/step/test_repeated.py"
SCRIPT = "tests/training/script/test_script.py"
OLD_NAMES = "tests/training/storage/test_old_names.py"

MUTANTS = [
    Mutant(
        file="training/step/module.py",
        original="value / totals[name].to(value.dtype)",
        replacement="value / max(terms[name].count, 1)",
        mistake="a mean of means: each micro-batch is divided by its own labels",
        tests=(GRADIENT,),
    ),
    Mutant(
        file="training/step/module.py",
        original="self.accumulated * self.trainer.world_size * scale",
        replacement="self.accumulated * scale",
        mistake="the mean that the devices take of gradients is not undone",
        tests=(TWO_PROCESSES,),
    ),
    Mutant(
        file="training/step/module.py",
        original="self.accumulated * self.trainer.world_size * scale",
        replacement="self.trainer.world_size * scale",
        mistake="the mean over micro-batches is not undone",
        tests=(GRADIENT,),
    ),
    Mutant(
        file="training/step/module.py",
        original="before = self._sums_before or (self.training_sums, self.training_measures)",
        replacement="before = (self.training_sums, self.training_measures)",
        mistake="what a step that ran out of memory had summed up is counted again",
        tests=(REPEATED,),
    ),
    Mutant(
        file="training/step/repeated.py",
        original="optimizer.zero_grad(set_to_none=True)",
        replacement="optimizer.zero_grad",
        mistake="gradients of a pass that ran out of memory stay in the step that is repeated",
        tests=(REPEATED,),
    ),
    Mutant(
        file="training/step/repeated.py",
        original="torch.distributed.all_reduce(found)",
        replacement="torch.distributed.all_reduce(found.clone())",
        mistake="one process alone repeats the step for which its memory is short",
        tests=(REPEATED,),
    ),
    Mutant(
        file="training/step/micro.py",
        original="(seed << 40) + (step * accumulated + micro) * world + rank",
        replacement="(seed << 40) + step",
        mistake="every micro-batch draws the same dropout",
        tests=(MODULE,),
    ),
    Mutant(
        file="training/step/micro.py",
        original="(step * accumulated + micro) * world + rank",
        replacement="(step * accumulated + micro)",
        mistake="dropout is not keyed by the device",
        tests=(MODULE,),
    ),
    Mutant(
        file="training/step/module.py",
        original="math.isfinite(self.gradient_norm) and math.isfinite(loss)",
        replacement="math.isfinite(loss)",
        mistake="an infinite gradient is let through",
        tests=(MODULE,),
    ),
    Mutant(
        file="training/step/module.py",
        original="elif self.optimizer_config.max_grad_norm is not None:",
        replacement="elif self.optimizer_config.max_grad_norm is None:",
        mistake="the gradient is not clipped",
        tests=(MODULE,),
    ),
    Mutant(
        file="training/step/module.py",
        original="self.raw_tokens += int(raw_tokens)",
        replacement="self.raw_tokens += int(targets)",
        mistake="target tokens are drawn as raw ones",
        tests=(MODULE, SESSION),
    ),
    Mutant(
        file="training/step/module.py",
        original='int(progress["raw_tokens"]), int(progress["target_tokens"])',
        replacement="0, 0",
        mistake="a resumed run counts its tokens from nought",
        tests=(RESUMED,),
    ),
    Mutant(
        file="training/optimizers/optim.py",
        original="return (step + 1) / max(warmup, step + 1)",
        replacement="return step / max(warmup, step + 1)",
        mistake="the warmup is a step late, and the first update does nothing",
        tests=(OPTIM,),
    ),
    Mutant(
        file="training/optimizers/optim.py",
        original="config.min_lr_ratio + (1 - config.min_lr_ratio) * (1 + math.cos",
        replacement="(1 + math.cos",
        mistake="the cosine falls below its floor",
        tests=(OPTIM,),
    ),
    Mutant(
        file="training/optimizers/optim.py",
        original="parameter.dim() >= 2 and",
        replacement="parameter.dim() >= 1 and",
        mistake="norms and biases decay",
        tests=(OPTIM,),
    ),
    Mutant(
        file="training/optimizers/optim.py",
        original="part.load_state_dict(state)",
        replacement="part.state_dict()",
        mistake="the state of Muon and its AdamW is not restored",
        tests=(OPTIM,),
    ),
    Mutant(
        file="training/step/budget.py",
        original="return math.ceil(round(quantity(",
        replacement="return math.floor(round(quantity(",
        mistake="the rest of a token budget is not used",
        tests=(BUDGET,),
    ),
    Mutant(
        file="training/monitoring/callbacks.py",
        original="found[self.settings.keep :]",
        replacement="found[: -self.settings.keep]",
        mistake="the oldest checkpoints are kept in place of the newest",
        tests=(SESSION,),
    ),
    Mutant(
        file="training/monitoring/callbacks.py",
        original='if cost < self.best["loss"]:',
        replacement='if cost > self.best["loss"]:',
        mistake="the worst checkpoint is taken for the best",
        tests=(f"{SESSION}::test_the_newest_checkpoints_and_the_best_are_kept",),
    ),
    Mutant(
        file="training/storage/checkpoint.py",
        original="if found.get(name) != expected.get(name)",
        replacement="if name not in found",
        mistake="a checkpoint's hashes are not compared",
        tests=(CHECKPOINT,),
    ),
    Mutant(
        file="common/files.py",
        original='writing = folder.with_name(f".{folder.name}.writing")',
        replacement="writing = folder",
        mistake="a checkpoint is written in its place",
        tests=(CHECKPOINT,),
    ),
    Mutant(
        file="training/storage/checkpoint.py",
        original="sorted(found, reverse=True)",
        replacement="sorted(found)",
        mistake="the oldest checkpoint is taken for the newest",
        tests=(CHECKPOINT,),
    ),
    Mutant(
        file="training/storage/config_file.py",
        original='"data.micro_batch_size", "data.workers"',
        replacement='"data.micro_batch_size", "data.batch_size", "data.workers"',
        mistake="a run may go on with another batch size",
        tests=(RUN,),
    ),
    Mutant(
        file="training/storage/old_names.py",
        original='if path == old or path.startswith(f"{old}."):',
        replacement="if path.startswith(old):",
        mistake="a setting whose name only begins like an old one is renamed",
        tests=(OLD_NAMES,),
    ),
    Mutant(
        file="training/storage/old_names.py",
        original="return not STUDY.keys().isdisjoint(declaration)",
        replacement="return False",
        mistake="a study of the first edition is taken for one that was declared otherwise",
        tests=(OLD_NAMES,),
    ),
    Mutant(
        file="training/script/script.py",
        original="return ending.status",
        replacement="return 0",
        mistake="a run that was stopped ends as if it had come to its end",
        tests=(SCRIPT,),
    ),
    Mutant(
        file="training/storage/metrics_file.py",
        original='int(row["step"]) <= until',
        replacement='int(row["step"]) < until',
        mistake="the row of the step that a run goes on from is lost",
        tests=(LOGS,),
    ),
    Mutant(
        file="training/session.py",
        original="ckpt_path=resumed",
        replacement="ckpt_path=None",
        mistake="optimizer, counts and weights are not restored",
        tests=(RESUMED,),
    ),
    Mutant(
        file="training/session.py",
        original="[*own, *callbacks, saving]",
        replacement="[saving, *own, *callbacks]",
        mistake="a step is saved before it is measured",
        tests=(RESUMED, SESSION),
    ),
    Mutant(
        file="training/monitoring/telemetry.py",
        original='"flops": trainer.global_step * module.flops_per_step',
        replacement='"flops": module.flops_per_step',
        mistake="the axis of FLOPs stands still",
        tests=(SESSION,),
    ),
    Mutant(
        file="training/setup/cli.py",
        original='("body", "optimizer", "budget", "seed")',
        replacement='("body", "optimizer", "budget")',
        mistake="the seed decides neither first weights nor dropout",
        tests=(CLI,),
    ),
]
