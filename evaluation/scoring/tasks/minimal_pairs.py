"""Minimal pairs: of two sentences that differ in one point, the one that speakers accept should be likelier.

    good     The cats annoy Tim.
    bad      The cats annoys Tim.

A pair counts 1, 0, or 1/2 where both are equally likely (Warstadt et al. 2020, BLiMP; a tie that counts as right
gives a model that knows nothing 100 %). The score is the mean over paradigms of each paradigm's mean.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from common.errors import UserError
from common.ranges import check_ranges, count
from data.files.encodings import AUTO, checked_encoding
from data.files.formats import rows_of
from data.files.local import FORMATS, local_files, suffix_of
from data.files.unpacking import decoded_lines
from data.store.store import TokenStore
from data.text.cleaning import clean
from evaluation.scoring.cached import CachedScorer, Passage, PrecisionSetting, progress, several, store_of, tokens_of
from evaluation.scoring.likelihood import longest_of
from evaluation.scoring.loaded import loaded
from evaluation.scoring.results import EvaluationResult, macro_mean, sampled_items
from objectives.weights.load import TrainedRun

FORMS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
TOKENS_AT_ONCE = 1 << 22
SPECIAL_POSITIONS = 16  # more than any objective has around a sentence, or a scorer in it
WINDOWS_AT_MOST = 32  # of a run without a table of positions: its time and memory grow with the square of them


class Pair(NamedTuple):
    """Two sentences, what they differ in (`phenomenon/paradigm`, or the paradigm alone), and where they stand."""

    good: str
    bad: str
    stratum: str
    origin: str = ""


def _two_line_pairs(path: Path, encoding: str) -> Iterator[Pair]:
    """The pairs of a text in Zorro's form: of two lines the first is the bad sentence, the second the good one.

    A file is called after its phenomenon and paradigm: `agreement_subject_verb-across_relative_clause.txt`
    (github.com/phueb/Zorro).

    Raises:
        UserError: naming the line that has no other.
    """
    phenomenon, _, paradigm = path.name.partition(".")[0].rpartition("-")
    stratum = f"{phenomenon}/{paradigm}" if phenomenon else paradigm
    read = decoded_lines(path, encoding=encoding, strict=True)
    lines = [(number, clean(line, Counter()).strip()) for number, line in enumerate(read, start=1)]
    inked = [(number, line) for number, line in lines if line]
    for place in range(0, len(inked), 2):
        if place + 1 == len(inked) or inked[place + 1][0] != inked[place][0] + 1:
            raise UserError(f"{path}, line {inked[place][0]}: a bad sentence without the good one on the next line")
        yield Pair(inked[place + 1][1], inked[place][1], stratum, f"{path}, line {inked[place][0]}")


def read_pairs(path: Path, encoding: str = AUTO) -> Iterator[Pair]:
    """The pairs of a file: rows with `sentence_good` and `sentence_bad`, or the two lines of Zorro's .txt.

    The paradigm is `UID`, or the file's name; the phenomenon `linguistics_term`, where there is one.

    Raises:
        UserError: naming the line that is none.
    """
    kind = FORMATS[suffix_of(path)]
    if kind == "text":
        yield from _two_line_pairs(path, encoding)
        return
    for origin, row in rows_of(path, kind, encoding=encoding, strict=True):
        good, bad = (_sentence(row, name) for name in ("sentence_good", "sentence_bad"))
        where = f"{path}{origin.removeprefix(path.name)}"
        if not good or not bad:
            raise UserError(f"{where}: a pair needs sentence_good and sentence_bad, with text in both")
        yield Pair(good, bad, _stratum(row, path), where)


def _sentence(row: dict[str, Any], name: str) -> str:
    """A cleaned text of a row; empty where there is none."""
    sentence = row.get(name)
    return clean(sentence, Counter()).strip() if isinstance(sentence, str) else ""


def _stratum(row: dict[str, Any], path: Path) -> str:
    paradigm, phenomenon = row.get("UID") or path.name.partition(".")[0], row.get("linguistics_term")
    return f"{phenomenon}/{paradigm}" if phenomenon else str(paradigm)


def verdicts(good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """float64[pairs], 1 where the good sentence has the higher score, 0 where the bad one has, 1/2 where neither."""
    return (good > bad) + 0.5 * (good == bad)


def unigram_log_likelihoods(run: TrainedRun, texts: Sequence[np.ndarray]) -> np.ndarray | None:
    """float64[texts], sums of log frequencies of tokens in the text the run was trained on, each count raised by 1.

    None where that text is no longer there.
    """
    folder = store_of(run)
    if folder is None:
        return None
    tokens, counts = TokenStore(folder, "train").tokens, np.ones(run.vocabulary.size)
    for start in range(0, len(tokens), TOKENS_AT_ONCE):
        counts += np.bincount(tokens[start : start + TOKENS_AT_ONCE], minlength=run.vocabulary.size)
    log_shares = np.log(counts / counts.sum())
    return np.array([log_shares[text].sum() for text in texts])


@dataclass(frozen=True, kw_only=True)
class MinimalPairs:
    """Accuracy on minimal pairs.

    Args:
        files: of pairs, each a file, a folder or a glob.
        scorers: names of scorers beside the objective's primary one, or all that it has; each is a metric of its own.
        pairs: the first so many of each file, where time is short; by default all.
        skip_long: leaves out, and counts, pairs with a sentence that is longer than the run reads, which are refused
            otherwise.
        encoding: of files that are not UTF-8, such as cp949; `auto` follows a byte-order mark.
        precision: of the products; `auto` is the faster one.
        cache: folder that remembers likelihoods; by default in the run's.

    Raises:
        UserError: where a path names no file, or pairs are none.
    """

    files: str | tuple[str, ...]
    scorers: tuple[str, ...] | Literal["all"] = ()
    pairs: int | None = None
    skip_long: bool = False
    encoding: str = AUTO
    precision: PrecisionSetting = "float32"
    cache: Path | None = None

    def __post_init__(self) -> None:
        check_ranges("minimal_pairs.", {"pairs": count(10**12)}, vars(self))
        checked_encoding(self.encoding, "minimal_pairs.encoding")
        self.paths()

    def paths(self) -> list[Path]:
        """The files, sorted within each of `files`.

        Raises:
            UserError: where there are none.
        """
        if not self.files:
            raise UserError("minimal_pairs.files names nothing: give files, folders or globs")
        found = {name: [path for path in local_files(name) if suffix_of(path) in FORMS] for name in several(self.files)}
        for name, paths in found.items():
            if not paths:
                raise UserError(
                    f"minimal_pairs.files: no pairs ({', '.join(FORMS[:-1])}, or Zorro's .txt) at '{name}' (looked "
                    f"from {Path.cwd()})"
                )
        return [path for paths in found.values() for path in paths]

    def __call__(self, run_folder: Path) -> list[EvaluationResult]:
        """The accuracy by each scorer, the primary one's under the evaluation's own name.

        Raises:
            UserError: where a file holds no pairs, or a scorer is not the objective's.
        """
        scorer = CachedScorer(loaded(run_folder), precision=self.precision, cache=self.cache)
        names = dict.fromkeys([scorer.primary, *(scorer.scorers if self.scorers == "all" else self.scorers)])
        scorer.check(names)
        encoding = checked_encoding(self.encoding)
        files = [list(islice(read_pairs(path, encoding), self.pairs)) for path in self.paths()]
        files, skipped = self._that_fit(scorer.run, files, names)
        pairs = [pair for file in files for pair in file]
        if not pairs:
            raise UserError(f"minimal_pairs.files = {', '.join(several(self.files))} holds no pairs")
        results, beside = [], self._baselines(scorer.run, pairs) | ({"skipped pairs": skipped} if skipped else {})
        with progress("minimal pairs", 2 * len(pairs) * len(names)) as advance:
            for name in names:
                found = [scorer.score(name, _passages(file), advance).log_likelihoods for file in files if file]
                results.append(self._result(scorer, name, pairs, np.concatenate(found), beside))
        return results

    def _that_fit(self, run: TrainedRun, files: list[list[Pair]], names: Iterable[str]) -> tuple[list[list[Pair]], int]:
        """The pairs of each file that the run can read, and how many it cannot.

        Raises:
            UserError: naming the first of those by file and line, unless they are to be skipped.
        """
        kept, skipped, most = [], 0, run.max_positions
        limit = most if run.network.body.has_position_table else WINDOWS_AT_MOST * most

        def is_long(text: np.ndarray) -> bool:
            if len(text) > limit or len(text) <= limit - SPECIAL_POSITIONS:
                return len(text) > limit
            nothing = np.zeros(0, dtype=np.int64)
            return any(longest_of(run.scorers[name].examples(nothing, text)) > limit for name in names)

        for file in files:
            texts = [tokens.text for tokens in tokens_of(run.tokenizer, _passages(file))]
            fits = [not (is_long(good) or is_long(bad)) for good, bad in zip(texts[::2], texts[1::2], strict=True)]
            if not all(fits) and not self.skip_long:
                place = fits.index(False)
                raise UserError(
                    f"{file[place].origin}: a sentence of {max(map(len, texts[2 * place : 2 * place + 2])):,} tokens, "
                    f"and {run.folder} reads {limit:,} positions at most: shorten it, or leave such pairs out with "
                    f"--skip_long (in a study: skip_long: true)"
                )
            kept.append([pair for pair, is_kept in zip(file, fits, strict=True) if is_kept])
            skipped += fits.count(False)
        return kept, skipped

    def _baselines(self, run: TrainedRun, pairs: Sequence[Pair]) -> dict[str, float]:
        """What length alone reaches, the shorter sentence being taken for the better one, and frequencies alone."""
        strata = [pair.stratum for pair in pairs]
        texts = [tokens.text for tokens in tokens_of(run.tokenizer, _passages(pairs))]
        found = {"length only": -np.array([len(text) for text in texts])}
        if (unigram := unigram_log_likelihoods(run, texts)) is not None:
            found["unigram"] = unigram
        return {name: macro_mean(verdicts(scores[::2], scores[1::2]), strata) for name, scores in found.items()}

    def _result(
        self,
        scorer: CachedScorer,
        name: str,
        pairs: Sequence[Pair],
        log_likelihoods: np.ndarray,
        beside: dict[str, float],
    ) -> EvaluationResult:
        scores, strata = verdicts(log_likelihoods[::2], log_likelihoods[1::2]), tuple(pair.stratum for pair in pairs)
        way, is_primary = scorer.scorers[name], name == scorer.primary
        ties = float((scores == 0.5).mean())
        return EvaluationResult(
            metric="minimal_pairs" if is_primary else f"minimal_pairs/{name}",
            scores=scores,
            strata=strata,
            mean=macro_mean(scores, strata),
            higher_is_better=True,
            rankable=not way.is_control,
            beside={**beside, "ties": ties},
            unit="%",
            description=f"Pairs of which the better sentence is likelier{'' if is_primary else f', by {name}'}.",
            chance=0.5,
            caveat="a negative control" if way.is_control else way.caveat,
            items=sampled_items(
                {
                    "paradigm": strata,
                    "good": [pair.good for pair in pairs],
                    "bad": [pair.bad for pair in pairs],
                    "log-likelihood of the good": log_likelihoods[::2],
                    "log-likelihood of the bad": log_likelihoods[1::2],
                    "score": scores,
                }
            ),
        )


def _passages(pairs: Sequence[Pair]) -> list[Passage]:
    """Good and bad in turn."""
    return [Passage(sentence) for pair in pairs for sentence in (pair.good, pair.bad)]
