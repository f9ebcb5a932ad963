"""Last-word prediction: the word that ends a passage should be the one that the run predicts.

    given    In my palm is a clear stone , and inside it is a small ivory statuette . A guardian
    target   angel

A passage counts where every token of its last word, given those before it, is the likeliest of all (Paperno et al.
2016, LAMBADA; as lm-evaluation-harness counts). Where that is near zero the nats of the word show more.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from data.files.encodings import AUTO, checked_encoding
from data.text.cleaning import clean
from data.text.corpora import Corpus
from evaluation.scoring.cached import CachedScorer, Passage, PrecisionSetting, progress, several
from evaluation.scoring.loaded import loaded
from evaluation.scoring.results import EvaluationResult, macro_mean, sampled_items


def without_last_word(text: str) -> Passage | None:
    """The last word, with the white space before it, behind the rest; None where there are not two words."""
    text = clean(text, Counter()).strip()
    words = text.rsplit(maxsplit=1)
    if len(words) < 2:
        return None
    return Passage(text=text[len(words[0]) :], prefix=words[0])


@dataclass(frozen=True, kw_only=True)
class LastWord:
    """Accuracy on the last word of passages, and its nats.

    Args:
        files: of passages, each a file, a folder or a glob; JSON lines with `text`, or any other form of a corpus.
        encoding: of files that are not UTF-8, such as cp949; `auto` follows a byte-order mark.
        precision: of the products; `auto` is the faster one.
        cache: folder that remembers likelihoods; by default in the run's.

    Raises:
        UserError: where a path names no file.
    """

    files: str | tuple[str, ...]
    encoding: str = AUTO
    precision: PrecisionSetting = "float32"
    cache: Path | None = None

    def __post_init__(self) -> None:
        self._corpus().files()

    def _corpus(self) -> Corpus:
        return Corpus(
            source=several(self.files),
            documents="line",
            encoding=checked_encoding(self.encoding, "last_word.encoding"),
            key="last_word.files",
        )

    def __call__(self, run_folder: Path) -> list[EvaluationResult]:
        """Accuracy, and nats a word, by the objective's scorer for continuations.

        Raises:
            UserError: where no passage has two words, or the objective continues no texts.
        """
        scorer = CachedScorer(loaded(run_folder), precision=self.precision, cache=self.cache)
        name = scorer.continuation
        passages = [found for text in self._corpus().texts() if text and (found := without_last_word(text))]
        if not passages:
            raise UserError(f"last_word.files = {', '.join(several(self.files))} holds no passage of two words")
        with progress("last word", len(passages)) as advance:
            found = scorer.score(name, passages, advance)
        strata = ("all",) * len(passages)
        caveat = scorer.scorers[name].caveat
        items = sampled_items(
            {
                "given": [passage.prefix for passage in passages],
                "word": [passage.text.strip() for passage in passages],
                "likeliest": found.are_likeliest,
                "nats": -found.log_likelihoods,
            }
        )
        return [
            EvaluationResult(
                metric="last_word",
                scores=found.are_likeliest.astype(np.float64),
                strata=strata,
                mean=macro_mean(found.are_likeliest, strata),
                higher_is_better=True,
                rankable=True,
                unit="%",
                description="Passages whose last word is the likeliest.",
                caveat=caveat,
                items=items,
            ),
            EvaluationResult(
                metric="last_word/nats",
                scores=-found.log_likelihoods,
                strata=strata,
                mean=macro_mean(-found.log_likelihoods, strata),
                higher_is_better=False,
                rankable=True,
                beside={
                    "tokens a word": float(found.tokens.mean()),
                    "share longer than a window": float(found.are_longer.mean()),
                },
                unit="nats a word",
                description="Of the last word of passages.",
                caveat=caveat,
            ),
        ]
