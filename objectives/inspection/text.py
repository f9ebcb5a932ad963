"""A text by itself, as a window that objectives can corrupt and as a prompt that they continue."""

import itertools

from common.errors import UserError
from data.stream.windows import TokensInMemory, Window, Windows
from data.text.cleaning import sentences
from data.tokens.tokenizer import Tokenizer, Vocabulary, train_tokenizer, vocabulary_of
from objectives.core.base import Objective

# The rest of the corpus, from which next-sentence prediction draws its random segments.
ANOTHER_DOCUMENT = "The train was late . It had rained all day , and nobody had an umbrella . So they walked home ."


def _first(document: list[list[int]], number: int) -> list[list[int]]:
    """The first tokens of a document of sentences."""
    before = itertools.accumulate(map(len, document), initial=0)
    return [sentence[: number - start] for sentence, start in zip(document, before, strict=False) if start < number]


def windows_of_text(text: str, tokenizer: Tokenizer, vocabulary: Vocabulary, *, most: int | None = None) -> Windows:
    """The text as one window, of its first `most` tokens where it is longer, and another document for random segments.

    Raises:
        UserError: where there is no text.
    """
    documents = [
        [tokenizer.encode(sentence, add_special_tokens=False).ids for sentence in sentences(document)]
        for document in (text.strip(), ANOTHER_DOCUMENT)
    ]
    if most is not None:
        documents[0] = _first(documents[0], most)
    tokens = TokensInMemory.of(documents)
    length = sum(map(len, documents[0]))
    if not length:
        raise UserError("there is no text to show")
    return Windows(tokens, length=length, rule="within_document", end_token=vocabulary.eos)


def text_alone(text: str, *, most: int | None = None) -> tuple[Windows, Window, Tokenizer, Vocabulary]:
    """The text as a window among its windows, cut into words by a tokenizer made of it, with every mark that there is.

    Of a longer text the window holds the first `most` tokens.

    Raises:
        UserError: where there is no text.
    """
    tokenizer = train_tokenizer(
        iter([text, ANOTHER_DOCUMENT]), kind="byte_bpe", vocab_size=1 << 17, vocabulary_format=2
    )
    vocabulary = vocabulary_of(tokenizer)
    windows = windows_of_text(text, tokenizer, vocabulary, most=most)
    return windows, windows[0], tokenizer, vocabulary


def to_be_continued(objective: Objective, text: str, *, tokens: int) -> str:
    """The text as a prompt that an objective continues, by that many tokens where it cannot decide by itself.

    An encoder is given a mask behind the text, which a decoder beside it fills with text of any length, and an encoder
    alone one mask for each token.
    """
    masks = 0 if not objective.uses_encoder else 1 if objective.uses_decoder else tokens
    return " ".join([text, *["[MASK]"] * masks])
