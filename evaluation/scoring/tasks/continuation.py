"""Continuation: how many bits a byte of held-out text takes, given the text before it.

    given    <- 128 bytes of a document ->
    target                                  <- the next 128 bytes ->

-log2 p(what follows | what stands before) / UTF-8 bytes of what follows, as lm-evaluation-harness defines
`bits_per_byte`; half is given, as in GPT-BERT (Charpentier and Samuel 2024). Each objective is scored by the first of
its scorers whose probabilities of all that may follow sum to 1, so this is a likelihood for all of them. Text is cut
at white space and counted in bytes, so that every tokenizer has the same targets.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.ranges import check_ranges, count
from data.files.encodings import AUTO, checked_encoding
from data.store.store import TokenStore
from data.text.cleaning import clean
from data.text.corpora import Corpus
from evaluation.record.record import BoundRecord
from evaluation.scoring.cached import CachedScorer, Passage, PrecisionSetting, progress, several, store_of
from evaluation.scoring.loaded import loaded
from evaluation.scoring.results import EvaluationResult, macro_mean, sampled_items
from objectives.weights.load import TrainedRun

HELD_OUT = "held out"  # the text that the run itself was validated on
_WORD = re.compile(r"\s*\S+")


def runs_of_words(text: str, num_bytes: int) -> Iterator[str]:
    """`text` in runs of at most so many UTF-8 bytes, as long as may be, each but the first starting with white space.

    A longer word is cut where a character ends. White space at the end of the text is left out.
    """
    run, room = "", num_bytes
    for match in _WORD.finditer(text):
        word, size = match[0], len(match[0].encode())
        if run and size > room:
            yield run
            run, room = "", num_bytes
        while size > room:  # a word alone
            cut = len(word.encode()[:num_bytes].decode(errors="ignore"))
            yield word[:cut]
            word = word[cut:]
            size = len(word.encode())
        run, room = run + word, room - size
    if run:
        yield run


def passages_of(document: str, num_bytes: int) -> Iterator[Passage]:
    """Stretches of at most so many bytes of a document, one behind the other, each cut into halves."""
    runs = runs_of_words(clean(document, Counter()).strip(), num_bytes // 2)
    for prefix, text in itertools.zip_longest(runs, runs):
        if text is not None:
            yield Passage(text=text, prefix=prefix.lstrip())


def held_out_documents(run: TrainedRun) -> Iterator[str]:
    """What the run was validated on, as its tokenizer reads it back.

    Raises:
        UserError: where the token store is no longer there.
    """
    folder = store_of(run)
    if folder is None:
        raise UserError(f"the text that {run.folder} was validated on is gone: name continuation.files")
    store = TokenStore(folder, "validation")
    bounds = np.append(store.document_starts, len(store.tokens)).tolist()
    for start, end in itertools.pairwise(bounds):
        yield run.tokenizer.decode(store.tokens[start:end].tolist(), skip_special_tokens=True)


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """Bits a byte of what follows.

    Args:
        files: of held-out text, each a file, a folder or a glob; by default what the run was validated on.
        bytes: of a stretch of text, of which half is given; it should make no more tokens than a window has.
        passages: stretches that are read, evenly spread over the text; null for all of them.
        encoding: of files that are not UTF-8, such as cp949; `auto` follows a byte-order mark.
        precision: of the products; `auto` is the faster one.
        cache: folder that remembers likelihoods; by default in the run's.

    Raises:
        UserError: where a value is impossible, or a path names no file.
    """

    files: str | tuple[str, ...] = ()
    bytes: int = 256
    passages: int | None = 256
    encoding: str = AUTO
    precision: PrecisionSetting = "float32"
    cache: Path | None = None

    def __post_init__(self) -> None:
        least = 8  # bytes, of which half is given, and a character takes up to four
        check_ranges("continuation.", {"bytes": count(1 << 30, low=least), "passages": count(10**12)}, vars(self))
        if self.files:
            self._corpus().files()

    def _corpus(self) -> Corpus:
        return Corpus(
            source=several(self.files),
            encoding=checked_encoding(self.encoding, "continuation.encoding"),
            key="continuation.files",
        )

    def chosen(self, run: TrainedRun) -> list[Passage]:
        """The stretches that are read.

        Raises:
            UserError: where the text has none.
        """
        documents = self._corpus().texts() if self.files else held_out_documents(run)
        found = [passage for document in documents if document for passage in passages_of(document, self.bytes)]
        if not found:
            names = ", ".join(several(self.files))
            text = f"continuation.files = {names}" if names else f"the text that {run.folder} was validated on"
            raise UserError(
                f"{text} has no document of {self.bytes // 2} bytes and a word behind them: lower continuation.bytes"
            )
        wanted = min(self.passages or len(found), len(found))
        return [found[number * len(found) // wanted] for number in range(wanted)]

    def __call__(self, run_folder: Path) -> list[EvaluationResult]:
        """Bits a byte, by the objective's scorer for continuations.

        A passage's score is its bits over the mean bytes of all, so that the mean of the scores is all bits over all
        bytes.

        Raises:
            UserError: where there is no such text, or the objective continues none.
        """
        scorer = CachedScorer(loaded(run_folder), precision=self.precision, cache=self.cache)
        name, passages = scorer.continuation, self.chosen(scorer.run)
        with progress("continuation", len(passages)) as advance:
            found = scorer.score(name, passages, advance)
        bits = -found.log_likelihoods / math.log(2)
        num_bytes = np.array([len(passage.text.encode()) for passage in passages])
        strata = ("all",) * len(passages)
        scores = bits / num_bytes.mean()
        draws = scorer.scorers[name].draws
        error = float(math.sqrt((found.standard_errors**2).sum()) / math.log(2) / num_bytes.sum())
        return [
            EvaluationResult(
                metric="continuation",
                scores=scores,
                strata=strata,
                mean=macro_mean(scores, strata),
                higher_is_better=False,
                rankable=True,
                beside={
                    "bits a token": float(bits.sum() / found.tokens.sum()),
                    "bytes": float(num_bytes.sum()),
                    "share longer than a window": float(found.are_longer.mean()),
                    **({} if draws is None else {"draws a text": draws, "standard error of the bound": error}),
                },
                bound=None if draws is None else BoundRecord(draws=draws, error=error),
                unit="bits a byte",
                description="Of held-out text, given as much text before it.",
                caveat=scorer.scorers[name].caveat,
                items=sampled_items(
                    {
                        "given": [passage.prefix for passage in passages],
                        "text": [passage.text for passage in passages],
                        "bits": bits,
                        "bits a byte": bits / num_bytes,
                    }
                ),
            )
        ]
