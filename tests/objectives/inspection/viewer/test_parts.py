"""Parts of the viewer's data: who sees whom, and windows cut for examples.html."""

import numpy as np
import pytest

from data.stream.collate import collate
from objectives.causal_lm import CausalLM
from objectives.inspection.viewer.draws import rules_of
from objectives.inspection.viewer.examples import first_tokens
from objectives.inspection.viewer.generation import first_half, with_words_hidden
from objectives.masked_lm import MaskedLM
from objectives.prefix_lm import PrefixLM
from tests.objectives.texts import VOCABULARY, key, made, numbered, of_documents, window_of


@pytest.mark.parametrize("apart", [False, True])
def test_who_sees_whom_follows_documents_where_they_are_kept_apart(apart: bool) -> None:
    ids = numbered(6).tolist()
    windows = of_documents([[ids[:3]], [ids[3:]]], length=6)
    for kind, looks_ahead in ((CausalLM, False), (MaskedLM, True)):
        objective = made(kind, **({"second_segment": "none"} if looks_ahead else {}))
        example = objective.corruption(VOCABULARY)(windows[0], key(0), windows)
        lengths = objective.max_lengths(6)
        batch = collate([windows[0]], [example], pad=VOCABULARY.pad, max_lengths=lengths, keep_documents_apart=apart)
        ((stack, rule),) = rules_of(batch).items()
        assert stack == ("encoder" if looks_ahead else "decoder")
        if not apart:
            assert rule == ("all" if looks_ahead else "left")
            continue
        origins = example.encoder_origins if looks_ahead else example.decoder_origins
        assert origins is not None
        for query, row in enumerate(rule):
            for place, seen in enumerate(row):
                if min(origins[query], origins[place]) >= 0:
                    same = (origins[query] >= 3) == (origins[place] >= 3)
                    assert (seen == "1") == (same and (looks_ahead or place <= query))


def test_a_prefix_is_seen_as_a_whole() -> None:
    windows = of_documents([[numbered(12).tolist()]], length=12)
    objective = made(PrefixLM)
    example = objective.corruption(VOCABULARY)(windows[0], key(1), windows)
    lengths = objective.max_lengths(12)
    batch = collate([windows[0]], [example], pad=VOCABULARY.pad, max_lengths=lengths, keep_documents_apart=False)
    (rule,) = rules_of(batch).values()
    assert example.prefixes is not None
    inside = np.flatnonzero(example.prefixes)
    assert len(inside) > 1
    for query, row in enumerate(rule):
        expected = {*range(query + 1), *(inside.tolist() if query in inside else [])}
        assert {place for place, seen in enumerate(row) if seen == "1"} == expected


@pytest.mark.parametrize("most", [1, 3, 4, 9, 99])
def test_a_window_is_cut_with_the_sentences_and_documents_that_begin_in_it(most: int) -> None:
    window = window_of(range(200, 209), sentence_starts=(0, 3, 5), document_starts=(0, 5))
    cut = first_tokens(window, most)
    assert cut.tokens.tolist() == window.tokens.tolist()[:most]
    assert cut.sentence_starts.tolist() == [start for start in (0, 3, 5) if start < most]
    assert cut.document_starts.tolist() == [start for start in (0, 5) if start < most]
    assert cut.documents().tolist() == window.documents().tolist()[:most]


def test_every_fourth_word_is_hidden_and_the_first_half_continued() -> None:
    assert with_words_hidden("a b c d e f g") == "a [MASK] c d e [MASK] g"
    assert with_words_hidden("a [MASK] c d e f") == "a [MASK] c d e f"  # its own marks
    assert with_words_hidden("한") == "[MASK]"
    assert first_half("a b c d e") == "a b"
    assert first_half("한") == "한"
