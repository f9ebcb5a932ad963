"""Overlap of generated texts with their references: ROUGE, BLEU, chrF and equality, in English and in Korean.

Scores are fractions of one: sacreBLEU's 100 is 1 here. Every text has one reference or several.
"""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import regex

from finetuning.metrics.metrics import Score, harmonic_f1, mean_of

Unit = Literal["word", "character"]
_WORD = regex.compile(r"[\p{L}\p{N}\p{M}]+")


def rouge_tokens(text: str, unit: Unit = "word") -> list[str]:
    """Words of a text in lower case, runs of letters, digits and marks of any script; or the characters of these.

    On ASCII the words are rouge-score's without its stemmer, which knows of no other letters.
    """
    words = _WORD.findall(unicodedata.normalize("NFC", text).lower())
    return words if unit == "word" else list("".join(words))


def common_subsequence(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, all of `one` at once in the bits of a number (Hyyrö 2004)."""
    places: dict[Hashable, int] = {}
    for place, item in enumerate(one):
        places[item] = places.get(item, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full  # bit i is 0 where the subsequence grows with one[i]
    for item in other:
        matches = row & places.get(item, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(one) - row.bit_count()


def _ngrams(tokens: Sequence[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(itertools.pairwise(tokens) if length == 2 else ((token,) for token in tokens))


def _rouge_n(length: int) -> Callable[[list[str], list[str]], float]:
    def compare(predicted: list[str], wanted: list[str]) -> float:
        found, expected = _ngrams(predicted, length), _ngrams(wanted, length)
        return harmonic_f1((found & expected).total(), found.total(), expected.total())

    return compare


def _rouge_l(predicted: list[str], wanted: list[str]) -> float:
    return harmonic_f1(common_subsequence(predicted, wanted), len(predicted), len(wanted))


def _best(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    unit: Unit,
    compare: Callable[[list[str], list[str]], float],
) -> Score:
    """Every prediction against the reference that it is most like."""
    items = []
    for predicted, wanted in zip(predictions, references, strict=True):
        tokens = rouge_tokens(predicted, unit)
        items.append(max(compare(tokens, rouge_tokens(reference, unit)) for reference in wanted))
    return mean_of(items)


def rouge1(predictions: Sequence[str], references: Sequence[Sequence[str]], unit: Unit = "word") -> Score:
    """Mean F1 of words (Lin 2004); of several references the best counts.

    A Korean word carries its particle, so that words are strict there and characters lenient.
    """
    return _best(predictions, references, unit, _rouge_n(1))


def rouge2(predictions: Sequence[str], references: Sequence[Sequence[str]], unit: Unit = "word") -> Score:
    """Mean F1 of pairs of neighbouring words."""
    return _best(predictions, references, unit, _rouge_n(2))


def rougeL(predictions: Sequence[str], references: Sequence[Sequence[str]], unit: Unit = "word") -> Score:  # noqa: N802
    """Mean F1 of the longest common subsequence of words, the whole text being one sentence."""
    return _best(predictions, references, unit, _rouge_l)


def rouge1_characters(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """`rouge1` of characters."""
    return rouge1(predictions, references, unit="character")


def rouge2_characters(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """`rouge2` of characters."""
    return rouge2(predictions, references, unit="character")


def rougeL_characters(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:  # noqa: N802
    """`rougeL` of characters."""
    return rougeL(predictions, references, unit="character")


def exact(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """Share of texts that are one of their references, character by character but for white space at the ends."""
    pairs = zip(predictions, references, strict=True)
    return mean_of(float(text.strip() in [reference.strip() for reference in wanted]) for text, wanted in pairs)


def _by_number(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[Any]]:
    """The first references of all texts, then the second ones, None where a text has so many not."""
    assert len(predictions) == len(references), "every prediction has its references"
    assert predictions, "no split is without a row"
    return [list(column) for column in itertools.zip_longest(*references)]


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """BLEU of the whole (Papineni et al. 2002) as sacreBLEU has it, with its own words (13a).

    These end at white space and punctuation, so that a Korean particle makes another word: take `chrf` there.
    """
    from sacrebleu.metrics.bleu import BLEU  # slow to import

    metric = BLEU(force=True)  # force: no remark on texts that were split into words before
    score = metric.corpus_score(predictions, _by_number(predictions, references))
    return Score(value=score.score / 100, settings=str(metric.get_signature()))


def chrf(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """F2 of runs of one to six characters over the whole, chrF (Popović 2015), as sacreBLEU has it."""
    from sacrebleu.metrics.chrf import CHRF  # slow to import

    metric = CHRF()
    score = metric.corpus_score(predictions, _by_number(predictions, references))
    return Score(value=score.score / 100, settings=str(metric.get_signature()))
