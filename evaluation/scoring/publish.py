"""What an evaluation found, sent to the W&B run that it is of: means in its summary, and a table of predictions."""

from collections.abc import Sequence

from evaluation.scoring.results import EvaluationResult
from training.monitoring.logs import wandb_mode
from training.monitoring.wandb_logger import make_wandb_logger, warn
from training.monitoring.wandb_run import finish, log_predictions
from training.setup.settings import LoggingSettings, WandbMode
from training.storage.run_dir import RunFolder

JOB_TYPE = "pretrain"  # as the run has it, which goes on under its id


def publish_scores(run: RunFolder, results: Sequence[EvaluationResult], wandb: WandbMode | None) -> None:
    """Sends results to the run's own W&B run, or keeps them in its folder to be sent later.

    Args:
        run: that was scored.
        results: of its evaluations.
        wandb: where to; None for where the run's own numbers went.
    """
    kept = run.read_config().get("logging", {})
    names = ("project", "entity", "group", "private")
    settings = LoggingSettings(wandb=wandb or kept.get("wandb", "off"), **{n: kept[n] for n in names if n in kept})
    mode, run_id = wandb_mode(settings.wandb), run.read_info().get("wandb_id")
    if mode == "off" or run_id is None:
        return
    try:
        logger = make_wandb_logger(run.path, settings, mode=mode, run_id=run_id, job_type=JOB_TYPE, tags=(), config={})
        logger.experiment.summary.update({f"score/{result.metric}": result.mean for result in results})
        for result in results:
            if result.items:
                log_predictions(logger, result.items, f"score/{result.metric}/predictions")
        finish(logger, failed=False)
    except Exception as error:  # wandb raises ValueError, TypeError, CommError and others
        warn(f"the scores were not sent ({' '.join(str(error).split())})")
