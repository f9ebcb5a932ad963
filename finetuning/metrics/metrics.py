"""How good answers are: labels, numbers, entities and spans. What is written is judged in `overlap.py`.

Scores are fractions of one, not percent. Labels come as ids: int[items], or bool[items, labels] where a text may have
several; a reference of -1 is a label that training did not have, which no prediction equals.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from finetuning.metrics.spans import to_entities


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric's value.

    Args:
        value: of all items together.
        items: float64[items] whose mean `value` is, so that items can be drawn again; None where it is no mean.
        parts: what it is made of, such as precision and recall.
        settings: what the number depends on, as its library spells it.
    """

    value: float
    items: np.ndarray | None = None
    parts: dict[str, float] = field(default_factory=dict)
    settings: str = ""


def mean_of(items: Iterable[float]) -> Score:
    """The score that is the mean of its items.

    Raises:
        ValueError: where there is none.
    """
    scores = np.asarray(list(items), dtype=np.float64)
    if not len(scores):
        raise ValueError("there is nothing to score: no item")
    return Score(value=float(scores.mean()), items=scores)


def harmonic_f1(both: float, predicted: float, wanted: float) -> float:
    """F1 of `both` right among `predicted` and `wanted`; 0 where nothing is right."""
    return 2 * both / (predicted + wanted) if both else 0.0


def _labels(predictions: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    predicted, wanted = np.asarray(predictions), np.asarray(references)
    assert predicted.shape == wanted.shape, "every prediction has its reference"
    if not len(wanted):
        raise ValueError("there is nothing to score: no item")
    return predicted, wanted


def _counts(predictions: ArrayLike, references: ArrayLike) -> np.ndarray:
    """int64[labels, 3], how often each label is right, predicted and wanted.

    Of single labels those count that occur among predictions or references.
    """
    predicted, wanted = _labels(predictions, references)
    if predicted.ndim == 1:
        names = np.union1d(predicted, wanted)
        predicted, wanted = predicted[:, None] == names, wanted[:, None] == names
    predicted, wanted = predicted.astype(bool), wanted.astype(bool)
    return np.stack([(predicted & wanted).sum(0), predicted.sum(0), wanted.sum(0)], axis=1)


# --- labels ---


def accuracy(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Share of items whose label, or whole set of labels, is right."""
    predicted, wanted = _labels(predictions, references)
    return mean_of((predicted == wanted).reshape(len(wanted), -1).all(axis=1))


def macro_f1(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Mean of the labels' F1, each counting alike; of single labels those that occur at all."""
    return Score(value=float(np.mean([harmonic_f1(*label) for label in _counts(predictions, references).tolist()])))


def micro_f1(predictions: ArrayLike, references: ArrayLike) -> Score:
    """F1 over all labels of all items together; of single labels it is their accuracy."""
    return Score(value=harmonic_f1(*_counts(predictions, references).sum(axis=0).tolist()))


def f1(predictions: ArrayLike, references: ArrayLike) -> Score:
    """F1 of the second of two labels, id 1.

    Raises:
        ValueError: where there are more labels than two.
    """
    predicted, wanted = _labels(predictions, references)
    if predicted.ndim > 1 or max(predicted.max(), wanted.max()) > 1:
        raise ValueError("task.metric = 'f1' is of two labels, one a text: take macro_f1 or micro_f1")
    both, told, there = ((predicted == 1) & (wanted == 1)).sum(), (predicted == 1).sum(), (wanted == 1).sum()
    parts = {"precision": float(both / max(told, 1)), "recall": float(both / max(there, 1))}
    return Score(value=harmonic_f1(int(both), int(told), int(there)), parts=parts)


def mcc(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Matthews correlation of single labels (Gorodkin 2004); 0 where predictions or references are all alike."""
    predicted, wanted = _labels(predictions, references)
    right, told, there = (column.astype(np.float64) for column in _counts(predicted, wanted).T)
    total = float(len(wanted))
    spread = math.sqrt((total**2 - told @ told) * (total**2 - there @ there))
    return Score(value=float((right.sum() * total - told @ there) / spread) if spread else 0.0)


# --- numbers ---


def pearson(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Linear correlation; 0 where predictions or references are all alike."""
    predicted, wanted = (side.astype(np.float64) for side in _labels(predictions, references))
    if np.ptp(predicted) == 0 or np.ptp(wanted) == 0:
        return Score(value=0.0)
    predicted, wanted = predicted - predicted.mean(), wanted - wanted.mean()
    predicted, wanted = predicted / np.linalg.norm(predicted), wanted / np.linalg.norm(wanted)
    return Score(value=float(np.clip(predicted @ wanted, -1.0, 1.0)))


def spearman(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Correlation of ranks, equals sharing theirs; 0 where predictions or references are all alike."""
    from scipy.stats import rankdata  # slow to import

    return pearson(*(rankdata(side) for side in _labels(predictions, references)))


# --- entities ---


def span_f1(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Score:
    """F1 of entities, right only where kind, beginning and end are (CoNLL 2003); `parts` has each kind's.

    Args:
        predictions: the tags of each sentence, read as `to_entities` does; references the same.
        references: as many, of the same lengths.
    """
    right, told, there = Counter[str](), Counter[str](), Counter[str]()
    for predicted, wanted in zip(predictions, references, strict=True):
        assert len(predicted) == len(wanted), "every word has a tag of either side"
        found, gold = set(to_entities(predicted)), set(to_entities(wanted))
        right.update(entity.kind for entity in found & gold)
        told.update(entity.kind for entity in found)
        there.update(entity.kind for entity in gold)
    if not references:
        raise ValueError("there is nothing to score: no sentence")
    both, predicted_all, wanted_all = right.total(), told.total(), there.total()
    parts = {"precision": both / max(predicted_all, 1), "recall": both / max(wanted_all, 1)}
    kinds = sorted(told | there)
    parts |= {f"f1/{kind}": harmonic_f1(right[kind], told[kind], there[kind]) for kind in kinds}
    return Score(value=harmonic_f1(both, predicted_all, wanted_all), parts=parts)


# --- answers to questions ---

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_KORQUAD_SPACES = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))


def squad_form(answer: str) -> str:
    """An answer in lower case without ASCII punctuation, English articles and spare white space, as SQuAD compares."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def korquad_form(answer: str) -> str:
    """An answer as KorQuAD 1.0 compares: quotes and brackets part words, articles are no matter."""
    return " ".join(answer.translate(_KORQUAD_SPACES).lower().translate(_PUNCTUATION).split())


def _best(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    form: Callable[[str], str],
    compare: Callable[[str, str], float],
) -> Score:
    """Every prediction against the reference that it is most like; "" is right where no answer is."""
    items = []
    for predicted, answers in zip(predictions, references, strict=True):
        wanted = [answer for answer in map(form, answers) if answer] or [""]
        items.append(max(compare(form(predicted), answer) for answer in wanted))
    return mean_of(items)


def bag_f1(predicted: Sequence[str], wanted: Sequence[str]) -> float:
    """F1 of two bags of words or characters; where one is empty, whether both are."""
    if not predicted or not wanted:
        return float(not predicted and not wanted)
    return harmonic_f1((Counter(predicted) & Counter(wanted)).total(), len(predicted), len(wanted))


def exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """Share of answers equal to one of the references, in `squad_form` (SQuAD 2.0's script).

    Args:
        predictions: an answer a question; "" for no answer.
        references: the answers of each question; none where it has none.
    """
    return _best(predictions, references, squad_form, lambda one, other: float(one == other))


def answer_f1(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """Mean F1 of the answers' words, in `squad_form` (SQuAD 2.0's script); arguments as of `exact_match`.

    A Korean word carries its particle, so that a span that is right but for one letter scores 0 here: take
    `korquad_f1` there.
    """
    return _best(predictions, references, squad_form, lambda one, other: bag_f1(one.split(), other.split()))


def korquad_exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """`exact_match` in `korquad_form` (KorQuAD 1.0's script)."""
    return _best(predictions, references, korquad_form, lambda one, other: float(one == other))


def korquad_f1(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """Mean F1 of the answers' characters, in `korquad_form` (KorQuAD 1.0's script)."""

    def compare(one: str, other: str) -> float:
        return bag_f1(one.replace(" ", ""), other.replace(" ", ""))

    return _best(predictions, references, korquad_form, compare)


# --- text ---


def bits_per_byte(nats: ArrayLike, num_bytes: ArrayLike) -> Score:
    """Bits that a text's UTF-8 bytes cost on average, whatever the tokens.

    Args:
        nats: negative log-likelihood of each text.
        num_bytes: UTF-8 bytes of each text.

    Raises:
        ValueError: where there is no byte.
    """
    total = float(np.asarray(num_bytes, dtype=np.float64).sum())
    if not total:
        raise ValueError("there is nothing to score: no text has a byte")
    return Score(value=float(np.asarray(nats, dtype=np.float64).sum()) / (math.log(2) * total))
