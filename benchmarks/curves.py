"""Draws the losses of runs over raw tokens: python -m benchmarks.curves runs/demo-* --out curves.svg.

Each run has a panel of its own, with its own two landmarks: losses of different objectives are not to be ranked.
"""

import argparse
import csv
import json
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

TRAINING, VALIDATION, LANDMARK = "#9ecae1", "#08519c", "#888888"


def column(rows: list[dict[str, str]], name: str) -> tuple[list[float], list[float]]:
    """Raw tokens in millions and values, where there are values."""
    found = [(float(row["raw_tokens"]) / 1e6, float(row[name])) for row in rows if row.get(name)]
    return [x for x, _ in found], [y for _, y in found]


def draw(axes: Axes, run: Path) -> None:
    """A run's token loss, on training batches and on the held-out text."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    term = next(name for name in summary if name.startswith("validation/") and name != "validation/loss")
    axes.plot(*column(rows, term.replace("validation/", "train/")), color=TRAINING, linewidth=0.8, label="training")
    axes.plot(*column(rows, term), color=VALIDATION, marker="o", markersize=3, label="validation")
    for name, style in {"ln_vocabulary": ":", "unigram_entropy": "--"}.items():
        label = "ln V" if name == "ln_vocabulary" else "unigram entropy"
        axes.axhline(summary[name], color=LANDMARK, linestyle=style, linewidth=1, label=label)
    axes.set_title(run.name.split("-")[-1], fontsize=10)
    axes.set_xlabel("million raw tokens", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_ylim(bottom=0)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figure = Figure(figsize=(3 * len(options.runs), 2.8))
    panels = figure.subplots(1, len(options.runs), sharey=True, squeeze=False)
    for axes, run in zip(panels[0], options.runs, strict=True):
        draw(axes, run)
    panels[0][0].set_ylabel("nats a token", fontsize=8)
    panels[0][-1].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(options.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
