"""How well a tokenizer fits a text: tokens a word and a byte, tokens that are unknown, and what its own would take."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, takewhile
from threading import Event
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from data.tokens.tokenizer import KINDS, train_tokenizer

Report = Callable[[str], None]
SAMPLE_BYTES = 2_000_000  # of the text, half to train a tokenizer on and half to count tokens in
_OWN_IDS = 8_192  # of that tokenizer, at most: more would not be learned from the sample
_FAR_MORE = 1.5  # times the tokens
_MANY_UNKNOWN = 0.01  # of the tokens


def described(counts: dict[str, Any]) -> str:
    """What a split holds, in one line."""
    line = "{documents:,} documents, {sentences:,} sentences, {tokens:,} tokens".format(**counts)
    words = f"{counts['tokens'] / counts['words']:.2f} a word, " if counts["words"] else ""
    unknown = f", {counts['unknown'] / counts['tokens']:.2%} of them unknown" if counts["unknown"] else ""
    return f"{line} ({words}{counts['tokens'] / counts['bytes']:.3f} a byte){unknown}"


def warn_of_unknown(counts: dict[str, Any], split: str, report: Report) -> None:
    """Warns where a vocabulary lacks much of the text: every word that it lacks is the same token."""
    share = counts["unknown"] / counts["tokens"]
    if share > _MANY_UNKNOWN:
        report(
            f"warning: {share:.1%} of the tokens of {split} are unknown to the vocabulary, and one and the same token "
            f"to the model: choose data.tokenizer = {KINDS[0]}, which represents every text, or a larger vocab_size"
        )


class Fit(NamedTuple):
    """How a tokenizer fits a sample of a text, beside one of its own.

    Attributes:
        taken: tokens that the tokenizer makes of half of it.
        needed: tokens that one makes which is trained on the other half.
        ids: of that one.
    """

    taken: int
    needed: int
    ids: int


def fit_of(sentences: Iterable[str], tokenizer: Tokenizer) -> Fit:
    """How a tokenizer from elsewhere fits an even sample of a text."""
    held = list(sentences)
    ids = max(min(tokenizer.get_vocab_size(), _OWN_IDS), 512)
    own = train_tokenizer(iter(held[::2]), kind="byte_bpe", vocab_size=ids)
    taken, needed = (
        sum(len(encoding.ids) for encoding in one.encode_batch_fast(held[1::2] or held, add_special_tokens=False))
        for one in (tokenizer, own)
    )
    return Fit(taken, needed, ids)


@contextmanager
def fit_beside(sample: Iterable[list[str]], tokenizer: Tokenizer) -> Iterator[Future[Fit]]:
    """How a tokenizer fits a sample, found by a thread; where what is done meanwhile fails, the sample ends early."""
    failed = Event()
    wanted = takewhile(lambda _: not failed.is_set(), sample)
    with ThreadPoolExecutor(1) as thread:
        try:
            yield thread.submit(fit_of, chain.from_iterable(wanted), tokenizer)
        except BaseException:
            failed.set()
            raise


def warn_of_misfit(fit: Fit, num_tokens: int, report: Report) -> None:
    """Warns where a tokenizer from elsewhere, which made so many tokens of a text, takes far more than its own."""
    if fit.needed and fit.taken > _FAR_MORE * fit.needed:
        report(
            f"warning: data.tokenizer makes {num_tokens:,} tokens of this corpus, {fit.taken / fit.needed:.1f} times "
            f"as many as one of {fit.ids:,} ids that is trained on it (about "
            f"{round(num_tokens * fit.needed / fit.taken):,}): its vocabulary is of another language or kind of text"
        )
