"""Mistakes in how runs are compared: intervals too narrow, errors that add up, verdicts that claim too much."""

from tests.mutation.mutant import Mutant

INTERVALS = "tests/evaluation/statistics/test_intervals.py"
STATISTICS = "tests/evaluation/statistics/test_significance.py"
HYPOTHESES = "tests/evaluation/statistics/test_hypotheses.py"

MUTANTS = [
    Mutant(
        file="evaluation/statistics/intervals.py",
        original="set(self.seeds) & set(other.seeds)",
        replacement="set(self.seeds)",
        mistake="seeds that one arm lacks are paired",
        tests=(INTERVALS,),
    ),
    Mutant(
        file="evaluation/statistics/intervals.py",
        original="np.mean(list(self.by_stratum.values()), axis=0)",
        replacement="self.values.mean(axis=1)",
        mistake="strata with many items count more",
        tests=(INTERVALS,),
    ),
    Mutant(
        file="evaluation/statistics/intervals.py",
        original="by_seed.var(ddof=1) / num_seeds",
        replacement="by_seed.var() / num_seeds",
        mistake="few seeds seem to vary less than seeds do",
        tests=(INTERVALS,),
    ),
    Mutant(
        file="evaluation/statistics/intervals.py",
        original="(of_items**2 - residual)",
        replacement="of_items**2",
        mistake="the residual counts twice, among seeds and among items",
        tests=(INTERVALS,),
    ),
    Mutant(
        file="evaluation/statistics/intervals.py",
        original="variance = factor(self.num_seeds - 1) ** 2",
        replacement="variance = factor(self.num_seeds) ** 2",
        mistake="Student's t has a degree of freedom too many",
        tests=(INTERVALS,),
    ),
    Mutant(
        file="evaluation/statistics/intervals.py",
        original="-special.stdtrit(freedom, (1 - level) / 2))",
        replacement="-special.stdtrit(freedom, 1 - level))",
        mistake="a 95 % interval is one of 90 %",
        tests=(INTERVALS,),
    ),
    Mutant(
        file="evaluation/statistics/intervals.py",
        original="if np.ptp(by_seed) > ROUNDING * np.abs(scores.values).max():",
        replacement="if True:",
        mistake="rounding passes for a spread over seeds",
        tests=(INTERVALS, HYPOTHESES),
    ),
    Mutant(
        file="evaluation/statistics/significance.py",
        original="np.round(values.sum(axis=axis), DIGITS)",
        replacement="values.sum(axis=axis)",
        mistake="flips that tie with the observed mean but for rounding do not count",
        tests=(STATISTICS,),
    ),
    Mutant(
        file="evaluation/statistics/significance.py",
        original='permutation_type="samples",',
        replacement='permutation_type="samples", alternative="greater",',
        mistake="a p of one side",
        tests=(STATISTICS,),
    ),
    Mutant(
        file="evaluation/statistics/significance.py",
        original="np.arange(len(p_values), 0, -1)",
        replacement="np.arange(len(p_values) - 1, -1, -1)",
        mistake="Holm counts one hypothesis too few",
        tests=(STATISTICS,),
    ),
    Mutant(
        file="evaluation/statistics/significance.py",
        original="np.maximum.accumulate(factors",
        replacement="(factors",
        mistake="an adjusted p falls below that of a smaller p",
        tests=(STATISTICS,),
    ),
    Mutant(
        file="evaluation/statistics/significance.py",
        original="return max(difference.tail(margin + difference.mean)",
        replacement="return min(difference.tail(margin + difference.mean)",
        mistake="equivalence is shown to one side only",
        tests=(STATISTICS,),
    ),
    Mutant(
        file="evaluation/statistics/significance.py",
        original="1 - power, -special.stdtrit(freedom, alpha)",
        replacement="power, -special.stdtrit(freedom, alpha)",
        mistake="the minimum detectable effect is the one that is missed in 80 % of studies",
        tests=(STATISTICS,),
    ),
    Mutant(
        file="evaluation/statistics/hypotheses.py",
        original="holm([1.0 if p is None else p for p in p_values])",
        replacement="[1.0 if p is None else p for p in p_values]",
        mistake="each hypothesis has 5 % of errors to itself",
        tests=(HYPOTHESES,),
    ),
    Mutant(
        file="evaluation/statistics/hypotheses.py",
        original='(found.mean > 0) == (hypothesis.direction == "greater")',
        replacement="found.mean > 0",
        mistake="what was expected to be less is supported where it is greater",
        tests=(HYPOTHESES,),
    ),
    Mutant(
        file="evaluation/statistics/hypotheses.py",
        original="detectable_difference(found, alpha=alpha)",
        replacement="detectable_difference(found)",
        mistake="among many hypotheses a difference seems as easy to find as alone",
        tests=(HYPOTHESES,),
    ),
    Mutant(
        file="evaluation/statistics/hypotheses.py",
        original="if not found.seed_variance:",
        replacement="if len(difference.seeds) < 2:",
        mistake="seeds that do not vary are put to the test",
        tests=(HYPOTHESES,),
    ),
    Mutant(
        file="evaluation/statistics/aggregate.py",
        original="if np.isfinite(result.scores).all()}",
        replacement="if result.scores.size}",
        mistake="a run that diverged breaks the report",
        tests=(HYPOTHESES,),
    ),
]
