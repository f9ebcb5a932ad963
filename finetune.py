r"""Fine-tunes a checkpoint: python finetune.py --config configs/tasks/sst2.yaml --checkpoint runs/masked_lm-s0.

Settings are those of configs/tasks/base.yaml, of every --config after it, and of the command line, the last one
winning. The same command again resumes the run. A grid of settings is one command as well:

    python finetune.py --config configs/tasks/sst2.yaml --checkpoint runs/masked_lm-s0 \
        --grid.learning_rates [1e-4,3e-4,1e-3] --grid.seeds [0,1,2]

With --dry-run the rows are read and the settings checked, and nothing is trained; it needs no checkpoint.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import sys

from rich.console import Console

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from finetuning.dry_run import dry_run, names_checkpoint
from finetuning.grid import best_of, example_for, fine_tune, grid_of, table_of
from training.monitoring.next_command import print_next
from training.monitoring.tables import print_whole
from training.script.script import script

WIDTH = 120  # where there is no terminal
DRY_RUN = "--dry-run"


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    if DRY_RUN in arguments:
        settings = [argument for argument in arguments if argument != DRY_RUN]
        for line in dry_run(settings):
            console.print(line, soft_wrap=True, markup=False)
        if names_checkpoint(settings):
            print_next("finetune.py", *settings)
        return 0
    if (grid := grid_of(arguments)) is not None:
        runs = list(grid.run())
        print_whole(console, table_of(runs))
        print_next("predict.py", *example_for(best_of(runs).folder))
        return 0
    result = fine_tune(arguments)
    for name, value in result.scores.items():
        console.print(f"{name}  {value:.4f}")
    print_next("predict.py", *example_for(result.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
