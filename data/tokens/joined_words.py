"""Words encoded many at once: as one text, in which each is found again by the bytes of its tokens.

An encoder takes 1.6 times as long for a text of one word as for one of a hundred words in a text.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from tokenizers import Encoding, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from data.tokens.pieces import cuts_before_white_space, reads_bytes

WORDS_TOGETHER = 100
# Settings of BPE by which tokens depend on more than merges, or have other letters than those of their bytes.
_BESIDE_MERGES = ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")


def numbers(values: Iterable[int], count: int) -> np.ndarray:
    """int64[count], of that many values."""
    return np.fromiter(values, dtype=np.int64, count=count)


def ids_of(encodings: Sequence[Encoding]) -> tuple[np.ndarray, np.ndarray]:
    """int32[tokens] and int64[texts], the ids of texts, one behind another, and how many each has."""
    ids = [encoding.ids for encoding in encodings]
    lengths = numbers(map(len, ids), len(ids))
    return np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=lengths.sum()), lengths


def bytes_of_tokens(tokenizer: Tokenizer) -> np.ndarray | None:
    """int64[ids], how many bytes of a text each token stands for; None where that is not known.

    Known of BPE over bytes that is given the text as it is, cuts before white space, has a token for each byte, and
    comes to its tokens by merges alone.
    """
    model, vocab = tokenizer.model, tokenizer.get_vocab()
    is_by_merges = isinstance(model, BPE) and not any(getattr(model, setting) for setting in _BESIDE_MERGES)
    is_of_bytes = reads_bytes(tokenizer) and set(ByteLevel.alphabet()) <= vocab.keys()
    if not is_by_merges or not is_of_bytes or tokenizer.normalizer or not cuts_before_white_space(tokenizer):
        return None
    counts = np.zeros(max(vocab.values()) + 1, dtype=np.int64)
    for token, place in vocab.items():
        counts[place] = len(token)  # a character for each byte
    for place, token in tokenizer.get_added_tokens_decoder().items():
        counts[place] = len(token.content.encode())
    return counts


def _texts(words: Sequence[str]) -> Iterator[str]:
    """Words one behind another, as texts that are cut where they are: before white space that is behind none."""
    together: list[str] = []
    for word in words:
        if together and (len(together) == WORDS_TOGETHER or not word[0].isspace() or together[-1][-1].isspace()):
            yield "".join(together)
            together = []
        together.append(word)
    yield "".join(together)


def encoded_together(
    tokenizer: Tokenizer, words: Sequence[str], bytes_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Ids of some words and how many each has, as `ids_of` has them; None where not every word ends where a token does.

    Where each does, nothing was merged across, and the ids are those of each word by itself. A single one that does not
    is enough for None: one, for instance, behind a special token that takes the white space behind it.

    Args:
        tokenizer: one whose bytes of tokens are known.
        words: one at least, none of them empty.
        bytes_of: what `bytes_of_tokens` gives.
    """
    ids, _ = ids_of(tokenizer.encode_batch_fast(list(_texts(words)), add_special_tokens=False))
    ends_of_tokens = np.cumsum(bytes_of[ids])
    ends = np.cumsum(numbers((len(word.encode()) for word in words), len(words)))
    lasts = np.searchsorted(ends_of_tokens, ends)
    if len(ids) != lasts[-1] + 1 or not np.array_equal(ends_of_tokens[lasts], ends):
        return None
    return ids, np.diff(lasts, prepend=-1)
