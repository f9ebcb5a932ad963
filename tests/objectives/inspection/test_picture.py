"""Pictures: rows that stand in columns, every token shown, every mask with what it hides."""

from collections.abc import Sequence
from itertools import chain, groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from data.stream.batch import IGNORE, NOWHERE, Example
from data.stream.windows import Windows
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.denoising import Denoising
from objectives.inspection.picture import MARGIN, MEANINGS, STYLES, Cell, Kind, Painter, Panel, draw, legend
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.objectives.texts import (
    CLS,
    EOS,
    FIXED,
    MASK,
    SENTINELS,
    SEP,
    VOCABULARY,
    examples_of,
    key,
    made,
    numbered,
    of_documents,
    texts,
    window_of,
)

PAINTER = Painter(VOCABULARY, lambda ids: " ".join(map(str, ids)))
FOUR = [made(MaskedLM, next_sentence=False), made(CausalLM), made(Denoising), made(SpanCorruption)]
every_objective = pytest.mark.parametrize("objective", FOUR, ids=lambda objective: type(objective).__name__)


def shown(row: Sequence[Cell]) -> list[str]:
    """Texts without the dot of a piece that goes on with a word."""
    return [cell.text.removeprefix("\u00b7") for cell in row]


def kinds(row: Sequence[Cell]) -> list[str]:
    return [cell.kind for cell in row]


@given(windows=texts(), objective=st.sampled_from([*FOUR, made(MaskedLM), made(Denoising, delete_rate=0.3)]))
@FIXED
def test_rows_stand_in_columns_one_for_each_position(windows: Windows, objective: Objective) -> None:
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        panels = PAINTER.panels(window, example)
        stacks = [ids for ids in (example.encoder_ids, example.decoder_ids) if ids is not None]
        assert len(panels) == len(stacks)
        for panel, ids in zip(panels, stacks, strict=True):
            assert {len(row) for row in panel.values()} == {len(ids)}
            assert shown(panel["reads"]) == [str(token) for token in ids]


@given(windows=texts(), objective=st.sampled_from([*FOUR, made(Denoising, delete_rate=0.3, random_rate=0.5)]))
@FIXED
def test_every_token_of_the_window_shows_up(windows: Windows, objective: Objective) -> None:
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        cells = chain.from_iterable(row for panel in PAINTER.panels(window, example) for row in panel.values())
        words = {word for text in shown(list(cells)) for word in text.split()}
        assert words >= {str(token) for token in window.tokens}


@given(windows=texts())
@FIXED
def test_below_each_mask_stands_what_it_hides(windows: Windows) -> None:
    """Read and hidden tokens together are the text in the order it had when it was hidden."""
    for objective in (
        made(SpanCorruption),
        made(SpanCorruption, roll=True),
        made(Denoising),
        made(Denoising, sampler="fairseq"),
    ):
        for window, example in examples_of(objective.corruption(VOCABULARY), windows):
            panel = PAINTER.panels(window, example)[0]
            assert example.encoder_origins is not None
            text = []
            for cell, below, origin in zip(panel["reads"], panel["for"], example.encoder_origins, strict=True):
                if cell.kind == "hidden":
                    assert (below.text == "") == (origin == NOWHERE)
                    text += below.text.split()
                else:
                    assert not below.text
                    text += [cell.text.removeprefix("\u00b7")] * int(origin != NOWHERE)
            order = example.order if example.order is not None else np.arange(len(window))
            assert text == [str(token) for token in window.tokens[order]]


def test_a_masked_lm_shows_what_became_of_each_token() -> None:
    a, b, c, d, e = numbered(5).tolist()
    example = Example(
        encoder_ids=np.array([CLS, a, MASK, SEP, c, e, 300, SEP]),
        encoder_origins=np.array([NOWHERE, 0, 1, NOWHERE, 2, 3, NOWHERE, NOWHERE]),
        segments=np.array([0, 0, 0, 0, 1, 1, 1, 1]),
        token_term="masked",
        labels={"masked": np.array([IGNORE, IGNORE, b, IGNORE, c, d, IGNORE, IGNORE])},
    )
    (panel,) = PAINTER.panels(window_of([a, b, c, d]), example)
    assert kinds(panel["reads"]) == [
        "special",
        "plain",
        "hidden",
        "special",
        "kept",
        "random",
        "random_segment",
        "special",
    ]
    assert shown(panel["predicts"]) == ["", "", str(b), "", str(c), str(d), "", ""]


def test_a_rotated_and_randomised_source_shows_its_random_tokens() -> None:
    objective = made(Denoising, random_rate=1.0, rotate_rate=1.0, mean_span_length=1.0)
    windows = of_documents([[numbered(100).tolist()]], length=100)
    ((window, example),) = examples_of(objective.corruption(VOCABULARY), windows)
    reads = PAINTER.panels(window, example)[0]["reads"]
    assert example.encoder_ids is not None
    assert example.encoder_origins is not None
    origins = example.encoder_origins
    for cell, token, origin in zip(reads, example.encoder_ids, origins, strict=True):
        expected = "plain" if origin >= 0 and token == window.tokens[origin] else "random"
        assert cell.kind == ("special" if VOCABULARY.is_special[token] else expected)


def test_permuted_sentences_show_the_number_they_had() -> None:
    window = window_of([200, 201, 202, 203, 204, EOS], sentence_starts=(0, 2, 3))
    numbers = np.array([1, 1, 2, 3, 3, 3])
    corrupt = made(Denoising, infill_rate=0.0).corruption(VOCABULARY)
    for index in range(20):
        example = corrupt(window, key(index), of_documents([[[200]]], length=1))
        assert example.order is not None
        panel = PAINTER.panels(window, example)[0]
        if example.order.tolist() == list(range(6)):
            assert "from" not in panel
        else:
            expected = [f"({number})" for number, _ in groupby(numbers[example.order])]
            assert [cell.text for cell in panel["from"] if cell.text] == expected
            assert panel["from"][1].text == expected[0]


@every_objective
def test_answers_stand_where_something_is_to_be_filled(objective: Objective) -> None:
    windows = of_documents([[numbered(20).tolist()]], length=20)
    ((window, example),) = examples_of(objective.corruption(VOCABULARY), windows)
    labels = next(iter(example.labels.values()))
    answers = np.where(np.arange(len(labels)) % 2 == 0, labels, 300)
    panels = PAINTER.panels(window, example, answers)
    assert all("model" not in panel for panel in panels[:-1])
    row = panels[-1]["model"]
    for place, (cell, label) in enumerate(zip(row, labels, strict=True)):
        assert (cell.text == "") == (label == IGNORE)
        if label not in (IGNORE, 300):
            assert cell.kind == ("correct" if place % 2 == 0 else "wrong")


@pytest.mark.parametrize(
    ("text", "cell"), [(" word", "word"), ("\n", "\u21b5"), ("\t", "\u21e5"), (" ", "\u2423"), ("", "\u2423")]
)
def test_white_space_is_visible(text: str, cell: str) -> None:
    begins = int(np.flatnonzero(VOCABULARY.begins_word)[0])
    painter = Painter(VOCABULARY, lambda ids: text)
    assert painter.row(np.array([begins]), ["plain"])[0].text == cell


def test_a_piece_that_goes_on_with_a_word_begins_with_a_dot() -> None:
    begins, goes_on = (
        int(VOCABULARY.ordinary[VOCABULARY.begins_word[VOCABULARY.ordinary] == is_first][0])
        for is_first in (True, False)
    )
    plain: list[Kind] = ["plain"] * 5
    row = PAINTER.row(np.array([begins, goes_on, IGNORE, MASK, goes_on]), plain)
    assert [cell.text for cell in row] == [str(begins), f"\u00b7{goes_on}", "", str(MASK), str(goes_on)]


words = st.text(st.sampled_from("abc가나🙂"), max_size=9)
panels = st.integers(1, 12).flatmap(
    lambda size: st.fixed_dictionaries(
        {name: st.lists(words.map(Cell), min_size=size, max_size=size) for name in ("reads", "predicts")}
    )
)


@given(panel=panels, width=st.integers(20, 60))
@FIXED
def test_drawing_keeps_every_word_in_its_column_and_within_the_width(panel: Panel, width: int) -> None:
    drawn = draw(panel, width).plain
    for name, row in panel.items():
        lines = [line for line in drawn.splitlines() if line.startswith(name)]
        assert [word for line in lines for word in line[MARGIN:].split()] == [cell.text for cell in row if cell.text]
    longest = max(cell_len(cell.text) for row in panel.values() for cell in row)
    assert all(cell_len(line) <= max(width, MARGIN + longest) for line in drawn.splitlines())


def test_words_of_one_column_begin_at_the_same_place() -> None:
    panel: Panel = {"reads": [Cell("가나다"), Cell("b")], "predicts": [Cell("a"), Cell("나")]}
    reads, predicts = draw(panel, 40).plain.splitlines()
    assert cell_len(reads[: reads.index("b")]) == cell_len(predicts[: predicts.index("나")]) == MARGIN + 7


def test_the_legend_explains_the_colours_used_and_no_others() -> None:
    panel: Panel = {"reads": [Cell("a", "hidden"), Cell("b"), Cell("", "random")], "predicts": [Cell("c", "target")]}
    text = legend([panel]).plain
    assert MEANINGS["hidden"] in text
    assert MEANINGS["target"] in text
    assert MEANINGS["random"] not in text
    assert set(MEANINGS) | {"plain", "special"} == set(STYLES)


def test_the_sentinels_are_shown_as_hidden_on_the_encoders_side() -> None:
    windows = of_documents([[numbered(60).tolist()]], length=60)
    ((window, example),) = examples_of(made(SpanCorruption).corruption(VOCABULARY), windows)
    reads = PAINTER.panels(window, example)[0]["reads"]
    assert example.encoder_ids is not None
    assert [cell.kind == "hidden" for cell in reads] == np.isin(example.encoder_ids, SENTINELS).tolist()
