"""Metrics of labels, numbers, entities and answers. Those of generated texts are in `overlap.py`.

Scores are fractions of one, not percent. Labels come as ids: int[items], or bool[items, labels] where a text may have
several; a reference of -1 is a label that is unseen in training, which no prediction equals.
"""

import math
import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from common.errors import UserError
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
    """The score that is the mean of its items, at least one."""
    scores = np.asarray(list(items), dtype=np.float64)
    assert len(scores), "no split is without a row"
    return Score(value=float(scores.mean()), items=scores)


def harmonic_f1(both: float, predicted: float, wanted: float) -> float:
    """F1 of `both` correct among `predicted` and `wanted`; 0 where none is correct."""
    return 2 * both / (predicted + wanted) if both else 0.0


def _labels(predictions: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    predicted, wanted = np.asarray(predictions), np.asarray(references)
    assert predicted.shape == wanted.shape, "every prediction has its reference"
    assert len(wanted), "no split is without a row"
    return predicted, wanted


# --- labels ---


def accuracy(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Share of items whose label, or whole set of labels, is predicted."""
    predicted, wanted = _labels(predictions, references)
    return mean_of((predicted == wanted).reshape(len(wanted), -1).all(axis=1))


def _f1(predictions: ArrayLike, references: ArrayLike, average: str, labels: list[int] | None = None) -> Score:
    """scikit-learn's F1 with its precision and recall; 0 where they divide nothing by nothing."""
    from sklearn.metrics import precision_recall_fscore_support  # slow to import

    predicted, wanted = _labels(predictions, references)
    if predicted.shape[1:] == (1,):  # sets of one label: scikit-learn takes having it and not having it for two
        predicted, wanted, labels = predicted[:, 0].astype(int), wanted[:, 0].astype(int), [1]
    settings: dict[str, Any] = {"average": average, "labels": labels, "zero_division": 0}
    precision, recall, value, _ = precision_recall_fscore_support(wanted, predicted, **settings)
    return Score(value=float(value), parts={"precision": float(precision), "recall": float(recall)})


def macro_f1(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Mean of the labels' F1, each counting alike; of single labels those that occur at all."""
    return _f1(predictions, references, "macro")


def micro_f1(predictions: ArrayLike, references: ArrayLike) -> Score:
    """F1 over all labels of all items together; of single labels it is their accuracy."""
    return _f1(predictions, references, "micro")


def f1(predictions: ArrayLike, references: ArrayLike) -> Score:
    """F1 of the second of two labels, id 1, one an item."""
    predicted, wanted = _labels(predictions, references)
    assert predicted.ndim == 1, "one label an item"
    assert max(predicted.max(), wanted.max()) <= 1, "two labels"
    return _f1(predicted, wanted, "macro", [1])


def mcc(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Matthews correlation of single labels (Gorodkin 2004); 0 where predictions or references are all alike."""
    from sklearn.metrics import matthews_corrcoef  # slow to import

    predicted, wanted = _labels(predictions, references)
    if len(np.union1d(predicted, wanted)) == 1:
        return Score(value=0.0)  # scikit-learn's value too, which comes with a warning
    return Score(value=float(matthews_corrcoef(wanted, predicted)))


# --- numbers ---


def _correlation(name: str, predictions: ArrayLike, references: ArrayLike) -> Score:
    from scipy import stats  # slow to import

    predicted, wanted = (side.astype(np.float64) for side in _labels(predictions, references))
    if np.ptp(predicted) == 0 or np.ptp(wanted) == 0:
        return Score(value=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return Score(value=float(getattr(stats, name)(predicted, wanted).statistic))


def pearson(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Linear correlation; 0 where predictions or references are all alike."""
    return _correlation("pearsonr", predictions, references)


def spearman(predictions: ArrayLike, references: ArrayLike) -> Score:
    """Correlation of ranks, equals sharing theirs; 0 where predictions or references are all alike."""
    return _correlation("spearmanr", predictions, references)


# --- entities ---


def span_f1(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Score:
    """F1 of entities, correct where kind, beginning and end are (CoNLL 2003); `parts` has each kind's.

    Args:
        predictions: the tags of each sentence, read as `to_entities` does; references the same.
        references: as many, of the same lengths.
    """
    correct, found, expected = Counter[str](), Counter[str](), Counter[str]()
    for predicted, wanted in zip(predictions, references, strict=True):
        assert len(predicted) == len(wanted), "every word has a tag of either side"
        entities, gold = set(to_entities(predicted)), set(to_entities(wanted))
        correct.update(entity.kind for entity in entities & gold)
        found.update(entity.kind for entity in entities)
        expected.update(entity.kind for entity in gold)
    assert references, "no split is without a row"
    both, num_found, num_expected = correct.total(), found.total(), expected.total()
    parts = {"precision": both / max(num_found, 1), "recall": both / max(num_expected, 1)}
    kinds = sorted(found | expected)
    parts |= {f"f1/{kind}": harmonic_f1(correct[kind], found[kind], expected[kind]) for kind in kinds}
    return Score(value=harmonic_f1(both, num_found, num_expected), parts=parts)


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
    """Every prediction against the reference that it is most like; "" is correct where there is no answer."""
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

    A Korean word carries its particle, so that a span with one letter too many scores 0 here: take
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
    """Bits per UTF-8 byte, whatever the tokens.

    Args:
        nats: negative log-likelihood of each text.
        num_bytes: UTF-8 bytes of each text.

    Raises:
        UserError: where there is no byte.
    """
    total = float(np.asarray(num_bytes, dtype=np.float64).sum())
    if not total:
        raise UserError("there is nothing to score: no text has a byte")
    return Score(value=float(np.asarray(nats, dtype=np.float64).sum()) / (math.log(2) * total))
