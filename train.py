"""Trains one run: python train.py --config configs/masked_lm.yaml.

Settings are those of configs/base.yaml, of every --config after it, and of the command line, the last one winning:

    python train.py --config configs/causal_lm.yaml --config configs/shapes/small.yaml --data.corpus my_texts/ \
        --budget.raw_tokens 100M --trainer.devices 8

The same command again goes on where the run stopped. See README.md.
"""

import sys
from pathlib import Path
from typing import cast

from common.processors import set_up
from training.setup.script import script

set_up()  # before torch is loaded


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    from data.datamodule import DataModule
    from models.bodies.make import BodyConfig
    from objectives.core.base import Objective
    from objectives.core.pretraining import Pretraining
    from objectives.inspection.examples import ExamplesCallback
    from objectives.start.warm_start import take_tokenizer
    from training.session import train
    from training.setup.cli import RunCLI

    cli = RunCLI(
        Objective,
        DataModule,
        BodyConfig,
        Pretraining,
        defaults=Path(__file__).parent / "configs/base.yaml",
        arguments=arguments,
        settle=take_tokenizer,
    )
    module = cast(Pretraining, cli.model)
    module.check_window(cli.datamodule.window)
    module.check_init_from()
    train(cli, [ExamplesCallback(cli.folder, cli.config_init["logging"].examples)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
