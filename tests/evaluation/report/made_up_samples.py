"""What four objectives might do to a window: the samples of the made-up study."""

from collections.abc import Sequence

from evaluation.record.record import SampleRecord
from objectives.inspection.picture import Cell


def _row(words: Sequence[str], kind: str = "plain") -> list[Cell]:
    return [Cell(word, kind) for word in words]  # pyright: ignore[reportArgumentType]


def make_samples(window: int, words: Sequence[str]) -> list[SampleRecord]:
    """What four objectives might do to words, the second and the last of which are hidden."""
    hidden = {1, len(words) - 1}
    reads = tuple(Cell("[MASK]", "hidden") if i in hidden else Cell(word) for i, word in enumerate(words))
    targets = tuple(Cell(word, "target") if i in hidden else Cell() for i, word in enumerate(words))
    model = tuple(
        Cell(word, "correct" if i == 1 else "wrong") if i in hidden else Cell() for i, word in enumerate(words)
    )
    shifted = tuple(_row(words[1:], "target"))
    spans = ["<extra_id_0>", words[1], "<extra_id_1>", words[-1]]
    decoder = {"reads": tuple(_row(["</s>", *words])), "predicts": tuple(_row([*words, "</s>"], "target"))}
    return [
        SampleRecord(arm="masked_lm", window=window, panels=({"reads": reads, "predicts": targets, "model": model},)),
        SampleRecord(arm="causal_lm", window=window, panels=({"reads": tuple(_row(words[:-1])), "predicts": shifted},)),
        SampleRecord(arm="denoising", window=window, panels=({"reads": reads, "for": targets}, decoder)),
        SampleRecord(
            arm="span_corruption",
            window=window,
            panels=(
                {"reads": reads, "for": targets},
                {"reads": tuple(_row(["<pad>", *spans[:-1]])), "predicts": tuple(_row(spans, "target"))},
            ),
        ),
    ]
