"""Fine-tunes a checkpoint: python finetune.py --config configs/tasks/sst2.yaml --checkpoint runs/masked_lm-s0.

Settings are those of configs/tasks/base.yaml, of every --config after it, and of the command line, the last one
winning. The same command again resumes the run. A grid of settings is one command as well:

    python finetune.py --config configs/tasks/sst2.yaml --checkpoint runs/masked_lm-s0 \
        --grid.learning_rates [1e-4,3e-4,1e-3] --grid.seeds [0,1,2]
"""

import sys

from common.processors import set_up
from training.setup.script import script

set_up()  # before torch is loaded

WIDTH = 120  # where there is no terminal


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    from rich.console import Console

    from finetuning.grid import fine_tune, grid_of, table_of

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    if (grid := grid_of(arguments)) is not None:
        console.print(table_of(list(grid.run())))
        return 0
    for name, value in fine_tune(arguments).scores.items():
        console.print(f"{name}  {value:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
