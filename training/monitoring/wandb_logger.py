"""How a run's logger of Weights & Biases begins: online, offline where its server is not reached, or not at all."""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from common.errors import UserError, message_of
from common.files import expanded
from training.setup.settings import LoggingSettings

Mode = Literal["online", "offline"]
PROJECT = "objective-lab"
SECONDS_TO_ANSWER = 5.0
SECONDS_TO_BEGIN = 20.0
LONGEST_NAME = 128  # of a run; W&B refuses longer ones


def warn(message: str) -> None:
    """Prints what W&B refused, which ends nothing."""
    print(f"W&B: {message}", file=sys.stderr)


def how_to_sync(folder: Path) -> str:
    """The command that sends what lies in a folder."""
    return f"`wandb sync {folder}/wandb/offline-run-*` sends it later"


def reachable(mode: Mode, folder: Path) -> Mode:
    """`offline`, with a line on it, where W&B's server does not answer within seconds."""
    if mode == "offline":
        return mode
    import requests

    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    try:
        requests.head(url, timeout=SECONDS_TO_ANSWER, allow_redirects=False)
    except requests.RequestException as error:
        warn(f"{url} does not answer ({type(error).__name__}): this run is logged offline; {how_to_sync(folder)}")
        return "offline"
    return mode


class TokenAxisLogger(WandbLogger):
    """Weights & Biases, with every number drawn over raw tokens.

    Names are defined one by one: Lightning defines `*` over its own step, and which of two patterns wins is not
    documented.
    """

    _defined: frozenset[str] = frozenset()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs numbers, among them `raw_tokens`."""
        for name in sorted(metrics.keys() - self._defined):
            self.experiment.define_metric(name, step_metric=None if name == "raw_tokens" else "raw_tokens")
        self._defined |= metrics.keys()
        super().log_metrics(metrics, step)


def make_wandb_logger(
    folder: Path,
    settings: LoggingSettings,
    *,
    mode: Mode,
    run_id: str,
    job_type: str,
    tags: Sequence[str],
    config: dict[str, Any],
) -> TokenAxisLogger:
    """A logger of the run in `folder`, which goes on under its id; offline where W&B cannot be reached.

    With `settings.private` no command line, git remote, machine or package list is sent; environment variables never
    are.

    Raises:
        UserError: where W&B refuses a name, or a variable of the environment.
    """
    import wandb  # slow to import, and not needed with --logging.wandb off
    from pydantic import ValidationError

    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))  # where artifacts wait, instead of the home folder
    if expanded("~") == Path("~"):  # W&B ends without a home, of which some containers know none
        os.environ["HOME"] = tempfile.gettempdir()
    private = settings.private

    def made(mode: Mode) -> TokenAxisLogger:
        logger = TokenAxisLogger(
            project=settings.project or os.environ.get("WANDB_PROJECT", PROJECT),
            entity=settings.entity or os.environ.get("WANDB_ENTITY"),
            name=folder.name[:LONGEST_NAME],
            id=run_id,
            save_dir=folder,
            resume="allow",
            mode=mode,
            group=settings.group,
            job_type=job_type,
            tags=[*tags, *settings.tags],
            settings=wandb.Settings(
                console="off",
                disable_git=private,
                x_disable_meta=private,
                x_save_requirements=not private,
                save_code=False,
                init_timeout=SECONDS_TO_BEGIN,
            ),
            config=config,
        )
        logger._wandb_init.pop("anonymous", None)  # wandb 0.31 warns of it, and a later one may refuse it
        return logger

    if getattr(rank_zero_only, "rank", 0):  # the other processes log nothing
        return made("offline")

    def started(mode: Mode) -> TokenAxisLogger:
        logger = made(mode)
        assert logger.experiment is not None  # begins the run
        return logger

    mode = reachable(mode, folder)
    try:
        try:
            return started(mode)
        except wandb.Error as error:
            if mode == "offline":
                raise
            warn(f"the run was not taken ({message_of(error)}): it is logged offline; {how_to_sync(folder)}")
            return started("offline")
    except (wandb.Error, ValidationError) as error:
        raise UserError(
            f"W&B refuses what it was given ({message_of(error)}): mend logging.project, logging.entity or the WANDB_ "
            f"variables of the environment, or set logging.wandb off"
        ) from None
