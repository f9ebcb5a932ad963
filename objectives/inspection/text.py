"""A text by itself as a window that objectives can corrupt."""

from common.errors import UserError
from data.store.tokenizer import Tokenizer, Vocabulary, train_tokenizer, vocabulary_of
from data.stream.windows import TokensInMemory, Window, Windows
from data.text.cleaning import sentences

# The rest of the corpus, from which next-sentence prediction draws its random segments.
ANOTHER_DOCUMENT = "The train was late . It had rained all day , and nobody had an umbrella . So they walked home ."


def windows_of_text(text: str, tokenizer: Tokenizer, vocabulary: Vocabulary) -> Windows:
    """The text as one window, and another document for random segments."""
    documents = [
        [tokenizer.encode(sentence, add_special_tokens=False).ids for sentence in sentences(document)]
        for document in (text.strip(), ANOTHER_DOCUMENT)
    ]
    tokens = TokensInMemory.of(documents)
    length = sum(map(len, documents[0]))
    if not length:
        raise UserError("there is no text to show")
    return Windows(tokens, length=length, rule="within_document", end_token=vocabulary.eos)


def text_alone(text: str) -> tuple[Windows, Window, Tokenizer, Vocabulary]:
    """The text as a window among its windows, cut into words by a tokenizer made of it, with every mark that there is.

    Raises:
        UserError: where there is no text.
    """
    tokenizer = train_tokenizer(
        iter([text, ANOTHER_DOCUMENT]), kind="byte_bpe", vocab_size=1 << 17, vocabulary_format=2
    )
    vocabulary = vocabulary_of(tokenizer)
    windows = windows_of_text(text, tokenizer, vocabulary)
    return windows, windows[0], tokenizer, vocabulary
