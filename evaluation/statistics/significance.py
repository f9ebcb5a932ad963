"""Tests of a difference between two arms, and what they can and cannot find with the seeds at hand.

Declared before any study was run: Student's t decides, two-sided at 5 % after Holm, with the variances of
`intervals.py`, so that a verdict and its interval agree. The exact sign-flip test stands beside it. It assumes no
normal distribution, but its least two-sided p is 0.0625 of 5 seeds and 0.0078 of 8, which Holm over 12 hypotheses makes
0.094: it could decide nothing at the numbers of seeds that one can train. Student's t assumes that the seeds'
differences are normal; each is a mean over many items, of two runs that share their text, so that skew cancels. Where
the two disagree, a reader sees it.
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

from evaluation.statistics.intervals import Estimate

ALPHA = 0.05  # of all declared hypotheses together
POWER = 0.8
MOST_SEEDS = 16  # of which all flips are counted: 65,536 of them take a second
DIGITS = 9  # of a share of the largest sum: what agrees in these is a tie
BATCH = 1 << 14  # flips that are summed at once


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of the exact randomisation test of paired differences, float64[n], around 0 (Fisher 1935).

    All 2^n flips of signs count, ties with the observed mean among those as extreme as it; differences of 0 are their
    own flips. There are `MOST_SEEDS` differences at most.
    """
    assert len(differences) <= MOST_SEEDS, "their flips double with each"
    largest = float(np.abs(differences).sum())
    if not largest:
        return 1.0

    def share(values: np.ndarray, axis: int) -> np.ndarray:  # of the largest sum; rounded, so that a tie is a tie
        return np.round(values.sum(axis=axis), DIGITS)

    found = stats.permutation_test(
        (differences / largest,),
        share,
        permutation_type="samples",
        n_resamples=2 ** len(differences),
        vectorized=True,
        batch=BATCH,
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for being so many (Holm 1979): one at most alpha keeps all errors together below alpha.

    The k-th smallest is multiplied by the number of those not smaller, and is no less than the adjusted ones before.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values, dtype=np.float64)[order]))
    return adjusted.tolist()


def difference_test(difference: Estimate) -> float:
    """Two-sided p of no difference; of one item a seed it is the paired t test's."""
    return min(1.0, 2 * difference.tail(abs(difference.mean)))


def equivalence_test(difference: Estimate, margin: float) -> float:
    """The p of a difference of the margin or more, by two one-sided tests (TOST, Schuirmann 1987).

    At most 0.05 just where the 90 % interval lies within the margin.
    """
    return max(difference.tail(margin + difference.mean), difference.tail(margin - difference.mean))


def _detected(freedom: int, alpha: float, power: float) -> float:
    """Standard errors that a one-sided t test of level alpha finds with this power (noncentral t).

    Of a two-sided test at half its level: significance on the wrong side, a chance below 10^-5 at this power, is left
    out.
    """
    freedom = min(freedom, 100_000)  # t is normal to 5 digits there
    return float(special.nctdtrinc(freedom, 1 - power, -special.stdtrit(freedom, alpha)))


def detectable_difference(difference: Estimate, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """The minimum detectable effect in the metric's units, were seeds and items to vary as they did here."""
    return difference.spread(lambda freedom: _detected(freedom, alpha / 2, power))


def _confirmed(freedom: int, alpha: float, power: float) -> float:
    """Standard errors to either side within which TOST of level alpha confirms a difference of 0 with this power."""
    quantile = -special.stdtrit(freedom, alpha)
    shares = (np.arange(10_000) + 0.5) / 10_000
    needed = quantile * np.sqrt(special.chdtri(freedom, shares) / freedom)  # by each error that may be estimated

    def shortfall(margin: float) -> float:
        return power - float(np.maximum(2 * special.ndtr(margin - needed) - 1, 0).mean())

    return float(optimize.root_scalar(shortfall, bracket=(0.0, 40 + 10 * quantile), method="brentq").root)


def confirmable_margin(difference: Estimate, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest margin within which arms that do not differ are shown to be equivalent, in the metric's units."""
    return difference.spread(lambda freedom: _confirmed(freedom, alpha, power))
