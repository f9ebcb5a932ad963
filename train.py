r"""Trains one run: python train.py --config configs/masked_lm.yaml.

Settings are those of configs/base.yaml, of every --config after it, and of the command line, the last one winning:

    python train.py --config configs/causal_lm.yaml --config configs/shapes/small.yaml --data.corpus my_texts/ \
        --budget.raw_tokens 100M --trainer.devices 8

The same command again goes on where the run stopped. See docs/pretrain.md.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import sys
from pathlib import Path
from typing import cast

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from data.datamodule import DataModule
from models.bodies.make import BodyConfig
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.inspection.attention_of_run import AttentionCallback
from objectives.inspection.viewer.examples import ExamplesCallback
from objectives.mixtures.teacher import settle
from objectives.weights.export import export_readiness
from training.machine.hardware import total_memory
from training.monitoring.next_command import print_next, print_readiness
from training.script.script import script
from training.session import train
from training.setup.cli import RunCLI


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    cli = RunCLI(
        Objective,
        DataModule,
        BodyConfig,
        Pretraining,
        defaults=Path(__file__).parent / "configs/base.yaml",
        arguments=arguments,
        settle=settle,
    )
    module = cast(Pretraining, cli.model)
    module.check_window(cli.datamodule.window)
    data, trainer = cli.datamodule, cli.trainer
    micro_batch = data.batch_size // (trainer.world_size * data.micro_batches(trainer.world_size))
    module.check_memory(data.window, 1 if data.is_auto else micro_batch, total_memory(trainer.strategy.root_device))
    module.check_initial_weights()
    print_readiness(cli.folder, export_readiness(module.objective, module.config, module.num_blocks))
    logging = cli.config_init["logging"]
    attention = [AttentionCallback(cli.folder)] if logging.attention else []
    train(cli, [ExamplesCallback(cli.folder, logging.examples), *attention])
    example = module.objective.inference.example
    if example is None:
        print_next("summarize.py", cli.config.runs)
    else:
        print_next("generate.py", cli.folder, example)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
