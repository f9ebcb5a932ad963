"""Attention maps as a picture: a panel for each layer and head, queries down and keys across."""

import io
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure as Sheet

from objectives.inspection.attention import AttentionMap
from training.monitoring.charts import chart_style

Labels = Callable[[Sequence[int]], list[str]]
FileKind = Literal["png", "svg"]

POINTS_AN_INCH = 72
POSITION, SMALLEST, WIDEST = 9.0, 90.0, 2400.0  # points of a position, of a panel at least, and of a row at most
READABLE = 6.5  # points that a position needs for its token to be written
MARGIN, GAP, HEADING = 70.0, 16.0, 44.0  # points for tokens, between panels, and above each group
_RULES = {"font.size": 7, "axes.titlesize": 7, "axes.titlepad": 2, "xtick.labelsize": 6, "ytick.labelsize": 6}


def heading(one: AttentionMap) -> str:
    """What looks at what, such as "body: decoder looks at the encoder"."""
    return f"{one.role}: {one.stack} looks at {'itself' if one.kind == 'self' else 'the encoder'}"


def groups_of(maps: Sequence[AttentionMap]) -> list[list[AttentionMap]]:
    """The layers of each stack and kind together."""
    return [list(group) for _, group in groupby(maps, key=lambda one: one[:3])]


def _tick(axes: Axes, names: list[str] | None, along: Literal["x", "y"]) -> None:
    if names is None:
        axes.set(**{f"{along}ticks": []})
    elif along == "x":
        axes.set_xticks(range(len(names)), names, rotation=90)
    else:
        axes.set_yticks(range(len(names)), names)


def attention_figure(maps: Sequence[AttentionMap], labels: Labels, kind: FileKind) -> bytes:
    """The first row's maps, as a file of that kind.

    Shades are of the square root of a weight, so that small ones are seen. Tokens are written where there is room.

    Args:
        maps: of some bodies.
        labels: the text of each token of a sequence.
        kind: of the file.
    """
    assert maps
    groups = groups_of(maps)
    most_heads = max(one.weights_BHQK.shape[1] for one in maps)
    most_positions = max(max(one.weights_BHQK.shape[2:]) for one in maps)
    side = min(max(SMALLEST, POSITION * most_positions), max(SMALLEST / 3, WIDEST / most_heads))
    width = MARGIN + most_heads * (side + GAP)
    height = sum(HEADING + MARGIN + len(group) * (side + GAP) for group in groups)
    with chart_style(_RULES):
        sheet, y = Sheet(figsize=(width / POINTS_AN_INCH, height / POINTS_AN_INCH)), 0.0
        for group in groups:
            sheet.text(8 / width, 1 - (y + HEADING / 2) / height, heading(group[0]), fontsize=10, fontweight="bold")
            y += HEADING
            ids = [one.tolist() for one in (group[0].query_ids_BQ[0], group[0].key_ids_BK[0])]
            queries, keys = (labels(one) if side / len(one) >= READABLE else None for one in ids)
            for one in group:
                for head, weights_QK in enumerate(one.weights_BHQK[0].float().cpu().numpy()):
                    x = MARGIN + head * (side + GAP)
                    axes = sheet.add_axes((x / width, 1 - (y + side) / height, side / width, side / height))
                    axes.imshow(weights_QK, cmap="Blues", norm=PowerNorm(0.5, 0, 1), aspect="auto")
                    axes.set_title(f"layer {one.layer + 1}, head {head + 1}")
                    _tick(axes, keys if one is group[-1] else None, "x")
                    _tick(axes, queries if head == 0 else None, "y")
                y += side + GAP
            y += MARGIN
        file = io.BytesIO()
        sheet.savefig(file, format=kind, dpi=2 * POINTS_AN_INCH, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()
