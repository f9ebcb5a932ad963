"""One tokenizer for every arm, and the vocabulary of ids that the objectives work with.

Whatever the kind, the vocabulary holds the same special tokens, so that every arm has the same softmax.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from common.errors import UserError
from data.files.unpacking import changed_while_read

TokenizerKind = Literal["byte_bpe", "wordpiece", "unigram"]
KINDS: tuple[TokenizerKind, ...] = ("byte_bpe", "wordpiece", "unigram")
NUM_SENTINELS = 128  # UL2's (3, 0.5) at 512 needs 128; T5's own 100 would run into ordinary ids

# The spelling used here comes first; the others are recognised in a tokenizer.json from elsewhere.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "pad": ("<pad>", "[PAD]", "<|pad|>"),
    "eos": ("</s>", "<|endoftext|>", "<|end_of_text|>"),
    "unk": ("<unk>", "[UNK]"),
    "bos": ("<s>", "<|begin_of_text|>"),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
    "mask": ("[MASK]", "<mask>"),
}


# What the second format of the vocabulary holds beside these: UL2's mode tokens and the marks of fill-in-the-middle.
# The sentinels cannot stand in for them: span corruption at UL2's rates uses all 128.
MARKS: dict[str, tuple[str, ...]] = {
    "mode_r": ("[R]",),
    "mode_x": ("[X]",),
    "mode_s": ("[S]",),
    "fim_prefix": ("<|fim_prefix|>", "<fim_prefix>"),
    "fim_suffix": ("<|fim_suffix|>", "<fim_suffix>"),
    "fim_middle": ("<|fim_middle|>", "<fim_middle>"),
}
VocabularyFormat = Literal[1, 2]


def sentinel(k: int) -> str:
    """The k-th sentinel as T5 spells it."""
    return f"<extra_id_{k}>"


# Sentinels stand in falling order, so that the k-th one's id is the 0-th one's less k, as in T5.
SPECIAL_TOKENS = [spellings[0] for spellings in SPELLINGS.values()] + [
    sentinel(k) for k in reversed(range(NUM_SENTINELS))
]


def special_tokens(vocabulary_format: VocabularyFormat) -> list[str]:
    """The special tokens with which a vocabulary begins; those of the second format follow those of the first."""
    return SPECIAL_TOKENS + [spellings[0] for spellings in MARKS.values()] * (vocabulary_format == 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """The ids an objective works with: roles, sentinels, and which ids stand for text.

    Args:
        size: number of ids, V.
        sentinels: int64[num_sentinels], id of the k-th sentinel.
        is_special: bool[V], ids that never stand for text.
        begins_word: bool[V], ids whose text opens with white space, or, in WordPiece, is no continuation.
        ends_word: bool[V], ids whose text closes with white space.
        marks: ids of the roles of `MARKS` that the vocabulary holds; none in the first format.
        tokenizer: what cuts text into these ids; None where the vocabulary was made without one.
    """

    size: int
    pad: int
    eos: int
    unk: int
    bos: int
    cls: int
    sep: int
    mask: int
    sentinels: np.ndarray
    is_special: np.ndarray
    begins_word: np.ndarray
    ends_word: np.ndarray
    marks: Mapping[str, int] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None

    def id_of(self, role: str) -> int:
        """The id of a role such as `cls`, or of a mark such as `mode_r`, which the vocabulary must hold."""
        return self.marks[role] if role in self.marks else getattr(self, role)

    def check_marks(self, roles: tuple[str, ...], needed_by: str) -> None:
        """Raises UserError where the vocabulary lacks one of these marks."""
        lacking = ", ".join(MARKS[role][0] for role in roles if role not in self.marks)
        if lacking:
            raise UserError(
                f"{needed_by} needs {lacking}, which this run's vocabulary lacks: a tokenizer is never enlarged, so "
                f"train one of the second format (data.vocabulary_format = 2 with data.tokenizer = {', '.join(KINDS)})"
            )

    @cached_property
    def ordinary(self) -> np.ndarray:
        """int64[...], the ids that stand for text, from which random replacements are drawn."""
        return np.flatnonzero(~self.is_special)

    def never_targets(self, *targets: int) -> np.ndarray:
        """int64[...], the special ids but `targets`: what a model that was trained to predict those never generates."""
        return np.setdiff1d(np.flatnonzero(self.is_special), np.array(targets, dtype=np.int64))

    def word_starts(self, tokens: np.ndarray) -> np.ndarray:
        """bool[length], where a word begins: a maximal run between white space; special tokens stand alone."""
        special = self.is_special[tokens]
        starts = self.begins_word[tokens] | special
        starts[1:] |= self.ends_word[tokens[:-1]] | special[:-1]
        starts[:1] = True
        return starts


def _keep_text_text(tokenizer: Tokenizer) -> Tokenizer:
    """Makes sure that no text becomes a special id: "[MASK]" in a corpus is text.

    A `tokenizer.json` has no such setting. A model that looks up whole words or pieces needs more: its special
    tokens are words like any other and would match, so brackets are cut off from what they enclose before.
    """
    tokenizer.encode_special_tokens = True
    if isinstance(tokenizer.model, models.Unigram | models.WordPiece | models.WordLevel):
        brackets = pre_tokenizers.Split(Regex(r"[\[\]<>|]"), "isolated")
        inner = tokenizer.pre_tokenizer
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([brackets, inner]) if inner else brackets
    return tokenizer


def train_tokenizer(
    texts: Iterator[str] | Iterator[list[str]],
    *,
    kind: TokenizerKind,
    vocab_size: int,
    vocabulary_format: VocabularyFormat = 1,
) -> Tokenizer:
    """Trains a tokenizer whose vocabulary of `vocab_size` ids begins with the special tokens of a format.

    Byte-level BPE gives every Unicode text back exactly and comes out the same each time; WordPiece and Unigram do
    neither (their trainers break ties at random).

    Raises:
        UserError: where `vocab_size` has no room for the special tokens and the alphabet.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kind == "byte_bpe" else []
    special = special_tokens(vocabulary_format)
    least = len(special) + max(len(alphabet), 1)
    if vocab_size < least:
        raise UserError(
            f"data.vocab_size = {vocab_size} has no room for {len(special)} special tokens and an alphabet; "
            f"it must be at least {least}"
        )
    shared = {"vocab_size": vocab_size, "special_tokens": special, "show_progress": False}
    if kind == "byte_bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **shared)
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(**shared)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
        tokenizer = _keep_text_text(tokenizer)
        trainer = trainers.UnigramTrainer(unk_token="<unk>", **shared)
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except Exception as error:
        if type(error) is not Exception:  # the library raises bare ones; others come of the texts
            raise
        raise UserError(
            f"data.tokenizer = '{kind}' cannot be trained with data.vocab_size = {vocab_size}: {error}"
        ) from error
    if (size := tokenizer.get_vocab_size()) > vocab_size:  # WordPiece and Unigram keep every character they met
        raise UserError(
            f"data.vocab_size = {vocab_size} has no room for the characters of this corpus: data.tokenizer = '{kind}' "
            f"came out with {size} ids; choose a larger one, or byte_bpe, whose alphabet is 256 bytes"
        )
    tokenizer.encode_special_tokens = True
    return tokenizer


def load_tokenizer(path: Path, vocabulary_format: VocabularyFormat = 1, *, sha256: str | None = None) -> Tokenizer:
    """Reads a `tokenizer.json` and adds the special tokens of a format it lacks; text never becomes a special id.

    One that this project made is read as it is, whatever its format.

    A length to cut or pad texts to, which some of these files set, is dropped: every token of a text counts.

    Args:
        path: of the file.
        vocabulary_format: of the special tokens that it lacks.
        sha256: that its content must have, where it was hashed before.

    Raises:
        UserError: where the file is missing, is no tokenizer, is no longer what was hashed, or leaves ids free so that
            new ones would meet others; where it is of the first format and the second is wanted, or holds a mark as a
            piece of text.
    """
    if not path.is_file():
        raise UserError(f"data.tokenizer: no file '{path}' (it takes {', '.join(KINDS)} or a tokenizer.json)")
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise changed_while_read(path)
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises bare Exceptions
        raise UserError(f"data.tokenizer: '{path}' is no tokenizer.json ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    known = tokenizer.get_vocab()
    lacking = [spellings[0] for spellings in SPELLINGS.values() if not any(name in known for name in spellings)]
    lacking += [sentinel(k) for k in reversed(range(NUM_SENTINELS)) if sentinel(k) not in known]
    ours = {*SPECIAL_TOKENS, *(name for spellings in SPELLINGS.values() for name in spellings)}
    lacking += _lacking_marks(path, tokenizer, is_ours=not lacking) if vocabulary_format == 2 else []
    words = [token.content for token in tokenizer.get_added_tokens_decoder().values() if not token.special]
    names = lacking + [name for name in words if name in ours]  # the latter were added as words that text may hold
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    ids = list(tokenizer.get_vocab().values())
    if len(set(ids)) < len(ids):
        raise UserError(f"data.tokenizer: '{path}' leaves gaps between its ids, into which new special tokens fall")
    return _keep_text_text(tokenizer)


def _marks_of(tokenizer: Tokenizer) -> dict[str, int]:
    """The marks that a tokenizer holds as special tokens, by role."""
    ids = {token.content: index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    found = {role: [ids[name] for name in spellings if name in ids] for role, spellings in MARKS.items()}
    return {role: first for role, (first, *_) in ((role, these) for role, these in found.items() if these)}


def _lacking_marks(path: Path, tokenizer: Tokenizer, *, is_ours: bool) -> list[str]:
    """The marks that are to be added to a tokenizer from elsewhere."""
    here = _marks_of(tokenizer)
    lacking = [spellings[0] for role, spellings in MARKS.items() if role not in here]
    if lacking and is_ours:
        raise UserError(
            f"data.tokenizer: '{path}' is of the first format, without {', '.join(lacking)}, and is never enlarged: "
            f"leave data.vocabulary_format out, or train one of the second (data.tokenizer = {', '.join(KINDS)})"
        )
    known = tokenizer.get_vocab()
    if pieces := [name for name in lacking if name in known]:
        raise UserError(f"data.tokenizer: '{path}' holds {', '.join(pieces)} as text, which can be no mark")
    return lacking


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """The vocabulary of a tokenizer that `train_tokenizer` or `load_tokenizer` gave."""
    ids = tokenizer.get_vocab()
    size = max(ids.values()) + 1
    roles = {role: next(ids[name] for name in spellings if name in ids) for role, spellings in SPELLINGS.items()}
    sentinels = np.array([ids[sentinel(k)] for k in range(NUM_SENTINELS)])
    is_special = np.ones(size, dtype=bool)
    is_special[list(ids.values())] = False  # there may be ids that no token has
    added = [index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    is_special[[*roles.values(), *sentinels, *added]] = True
    is_wordpiece = isinstance(tokenizer.model, models.WordPiece)
    begins_word, ends_word = np.zeros((2, size), dtype=bool)
    spaces = ("\u2581", "Ġ", "Ċ", "ĉ", "č", " ", "\n", "\t")  # Metaspace's, byte-level BPE's, and space itself
    for token, index in ids.items():
        begins_word[index] = not token.startswith("##") if is_wordpiece else token.startswith(spaces)
        ends_word[index] = not is_wordpiece and token.endswith(spaces)
    return Vocabulary(
        size=size,
        **roles,
        sentinels=sentinels,
        is_special=is_special,
        begins_word=begins_word,
        ends_word=ends_word,
        marks=_marks_of(tokenizer),
        tokenizer=tokenizer,
    )
