"""What the tests of objectives share: texts by hand and at random, objectives with some settings, a test of chance."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from numpy.random import Generator
from torch import Tensor

from data.stream.batch import IGNORE, NOWHERE, Batch, Corruption, Example
from data.stream.collate import collate
from data.stream.order import Purpose, generator
from data.stream.windows import TokensInMemory, Window, WindowRule, Windows
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.core.strategy import Scorer
from tests.helpers import make_vocabulary, shared
from training.step.terms import Term

VOCABULARY = make_vocabulary(400, marks=True)
PAD, EOS, BOS, CLS, SEP, MASK = (getattr(VOCABULARY, role) for role in ("pad", "eos", "bos", "cls", "sep", "mask"))
SENTINELS = VOCABULARY.sentinels
FIRST = int(VOCABULARY.ordinary[0])  # the first id that stands for text
FIXED = settings(deadline=None, derandomize=True, max_examples=30)
SHAPE = {"width": 32, "layers": 2, "num_heads": 2}

SomeObjective = TypeVar("SomeObjective", bound=Objective)


def made(objective: type[SomeObjective], **knobs: Any) -> SomeObjective:
    """An objective with these settings."""
    return objective(**knobs)


def scorers_of(objective: Objective) -> dict[str, Scorer]:
    """The ways in which an objective scores texts."""
    return objective.inference.scorers(objective, VOCABULARY)


def module_of(objective: Objective, *, seed: int = 0, **body: Any) -> Pretraining:
    """What trains an objective over a small Transformer; nothing is built yet."""
    apart = {"document_masking": objective.keep_documents_apart}
    return Pretraining(objective, **shared(**SHAPE | apart | body), seed=seed)


def built(objective: Objective, *, window: int, seed: int = 0, **body: Any) -> Pretraining:
    """The same with its network."""
    module = module_of(objective, seed=seed, **body)
    module.build(vocab_size=VOCABULARY.size, window=window)
    return module


def mean_loss(terms: Mapping[str, Term]) -> Tensor:
    """What a step of one batch minimises."""
    return torch.stack([term.minimised_sum / (term.divisor or 1.0) for term in terms.values()]).sum()


def key(index: int = 0, *, seed: int = 0, epoch: int = 0) -> Generator:
    """The random numbers of a window."""
    return generator(seed, Purpose.NOISE, epoch, index)


def window_of(
    tokens: Sequence[int],
    *,
    sentence_starts: Sequence[int] = (0,),
    document_starts: Sequence[int] = (0,),
    previous: int = EOS,
) -> Window:
    """A window by hand."""
    return Window(
        index=0,
        tokens=np.array(tokens, dtype=np.uint16),
        previous=previous,
        sentence_starts=np.array(sentence_starts, dtype=np.int64),
        document_starts=np.array(document_starts, dtype=np.int64),
        first_document=0,
    )


def numbered(length: int) -> np.ndarray:
    """`length` different ordinary ids, as long as there are any."""
    return VOCABULARY.ordinary[np.arange(length) % len(VOCABULARY.ordinary)]


def of_documents(
    documents: Sequence[Sequence[Sequence[int]]], *, length: int, rule: WindowRule = "contiguous"
) -> Windows:
    """Windows of documents of sentences, whose tokens cannot be written to."""
    store = TokensInMemory.of(documents)
    for array in (store.tokens, store.sentence_starts, store.document_starts):
        array.flags.writeable = False
    return Windows(store, length=length, rule=rule, end_token=EOS)


@st.composite
def texts(draw: st.DrawFn, *, longest_window: int = 40) -> Windows:
    """Windows of up to 6 documents of up to 6 sentences of up to 9 tokens: any length, any rule, with EOS or without.

    The tokens alternate between many different ids and few, so that repetitions occur.
    """
    lengths = draw(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = VOCABULARY.ordinary[: draw(st.sampled_from([3, 200]))]
    documents = [[rng.choice(pool, size=length).tolist() for length in sentences] for sentences in lengths]
    if draw(st.booleans()):
        for document in documents:
            document[-1].append(EOS)
    rule: WindowRule = draw(st.sampled_from(["contiguous", "within_document"]))
    return of_documents(documents, length=draw(st.integers(1, longest_window)), rule=rule)


def examples_of(corrupt: Corruption, windows: Windows, *, epoch: int = 0) -> list[tuple[Window, Example]]:
    """Every window with its example."""
    shown = [windows[index] for index in range(len(windows))]
    return [(window, corrupt(window, key(window.index, epoch=epoch), windows)) for window in shown]


def batch_of(objective: Objective, windows: Windows, pairs: Sequence[tuple[Window, Example]] | None = None) -> Batch:
    """Windows, by default all of them, side by side."""
    shown, examples = zip(*(pairs or examples_of(objective.corruption(VOCABULARY), windows)), strict=True)
    return collate(
        shown,
        examples,
        pad=PAD,
        max_lengths=objective.max_lengths(windows.length),
        keep_documents_apart=objective.keep_documents_apart,
    )


def read_of(example: Example) -> tuple[np.ndarray, np.ndarray]:
    """What a denoiser reads between `<s>` and `</s>`, and its origins."""
    assert example.encoder_ids is not None
    assert example.encoder_origins is not None
    assert (example.encoder_ids[0], example.encoder_ids[-1]) == (BOS, EOS)
    assert example.encoder_origins[[0, -1]].tolist() == [NOWHERE, NOWHERE]
    return example.encoder_ids[1:-1], example.encoder_origins[1:-1]


def hidden_places(example: Example, length: int) -> np.ndarray:
    """bool[window], the places that no position of the encoder stands for but as a mask."""
    assert example.encoder_ids is not None
    assert example.encoder_origins is not None
    stands_for_text = ~np.isin(example.encoder_ids, [MASK, *SENTINELS]) & (example.encoder_origins != NOWHERE)
    hidden = np.ones(length, dtype=bool)
    hidden[example.encoder_origins[stands_for_text]] = False
    return hidden


def labelled(example: Example, term: str) -> np.ndarray:
    """The labels of a term that are none but IGNORE left out."""
    return example.labels[term][example.labels[term] != IGNORE]


def assert_alike(draws: Iterable[Hashable], outcomes: int) -> None:
    """Checks that so many outcomes came up, all equally likely: chance fails this once in a million times."""
    counts = Counter(draws)
    assert len(counts) == outcomes
    assert_distributed(list(counts.values()), np.full(outcomes, 1 / outcomes))


def assert_distributed(counts: Sequence[int] | np.ndarray, probabilities: np.ndarray) -> None:
    """Checks counts against probabilities by chi-square, its bound by Wilson and Hilferty (1931) at 1e-6."""
    assert np.isclose(probabilities.sum(), 1)
    expected = np.sum(counts) * probabilities
    assert expected.min() > 5, "too few draws for this test"
    statistic = float(((np.asarray(counts) - expected) ** 2 / expected).sum())
    freedom = len(expected) - 1
    bound = freedom * (1 - 2 / (9 * freedom) + 4.7534 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert statistic < bound, f"chi-square {statistic:.1f} of {freedom} degrees of freedom, bound {bound:.1f}"


def standard_error(rate: float, draws: int) -> float:
    """Of a share of so many independent draws."""
    return (rate * (1 - rate) / draws) ** 0.5
