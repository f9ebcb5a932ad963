"""Mistakes in how text becomes tokens: words cut where they are none, special tokens that a text can name."""

from tests.mutation.mutant import Mutant

WORDS = "tests/data/tokens/test_encoding.py"
KEYS = "tests/data/tokens/test_word_encoding.py"
JOINED = "tests/data/tokens/test_joined_words.py"
TOKENIZER = "tests/data/tokens/test_tokenizer.py"
FOREIGN_TOKENIZER = "tests/data/tokens/test_foreign_tokenizer.py"

MUTANTS = [
    Mutant(
        file="data/tokens/word_encoding.py",
        original=r'r"(?<=\S) "',
        replacement=r'r"(?<=\S)(?=\s)"',
        mistake="a text is cut before a line feed, where some tokenizers put a blank",
        tests=(WORDS,),
    ),
    Mutant(
        file="data/tokens/word_encoding.py",
        original="else (word,)",
        replacement="else word",
        mistake="a text that begins with a word has the tokens of one that begins with a blank",
        tests=(WORDS,),
    ),
    Mutant(
        file="data/tokens/word_encoding.py",
        original='"  " in joined or ',
        replacement="",
        mistake="where two blanks stand between words, each begins a word",
        tests=(KEYS, WORDS),
    ),
    Mutant(
        file="data/tokens/encoding.py",
        original="or joined[at - 1].isspace()",
        replacement="",
        mistake="a sentence that begins between two blanks has the tokens of the whole text in place of its own",
        tests=(WORDS,),
    ),
    Mutant(
        file="data/tokens/joined_words.py",
        original="not np.array_equal(ends_of_tokens[lasts], ends)",
        replacement="False",
        mistake="words have tokens that hold a part of the next word",
        tests=(JOINED, WORDS),
    ),
    Mutant(
        file="data/tokens/tokenizer.py",
        original="[ids[sentinel(k)] for k in range(NUM_SENTINELS)]",
        replacement="[ids[sentinel(k)] for k in reversed(range(NUM_SENTINELS))]",
        mistake="sentinels come in reverse",
        tests=(TOKENIZER,),
    ),
    Mutant(
        file="data/tokens/tokenizer.py",
        original="return _keep_text_text(tokenizer)",
        replacement="return tokenizer",
        mistake="special tokens are matched in text",
        tests=(TOKENIZER, FOREIGN_TOKENIZER),
    ),
]
