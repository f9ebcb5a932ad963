"""Text to tokens: cleaned documents, set apart by hash, tokenised on all processors and written as flat arrays.

The text is read once and its sentences are found once. Nothing is held in memory but some megabytes at a time and the
words that were met, however large the corpus; and a store is the same bytes whatever the number of processors.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common.errors import UserError
from data.store.cleaner import Cleaner, in_pieces
from data.store.processes import in_order
from data.store.rate import ReadingRate
from data.store.recipe import Recipe
from data.store.splits import Hashes, SplitWriter, Tokeniser
from data.store.spool import Spool, whole
from data.text.corpora import Corpus
from data.tokens.encoding import DocumentEncoder
from data.tokens.fit import SAMPLE_BYTES as FIT_SAMPLE_BYTES
from data.tokens.fit import described, fit_beside, warn_of_misfit, warn_of_unknown
from data.tokens.tokenizer import KINDS, load_tokenizer, train_tokenizer, vocabulary_of

SPLITS = ("train", "validation")
EVERY = range(2**64)  # hashes
TOKENIZER_SAMPLE_BYTES = 200_000_000  # of training text, from which a tokenizer is trained
Source = tuple[Spool, Hashes]  # documents, and which of them are of which split


def _warn_of_replacements(corpus: Corpus, characters: Counter[str], report: Callable[[str], None]) -> None:
    """Reports which share of the text stands for bytes that were not UTF-8."""
    if bad := characters["bad"]:
        report(
            f"warning: {bad:,} of {characters['all']:,} characters ({bad / characters['all']:.2%}) of {corpus.key} are "
            f"U+FFFD, which stands for bytes that are not UTF-8; where they are of another encoding, name it with "
            f"data.encoding"
        )


def _warn_of_repeats(recipe: Recipe, report: Callable[[str], None]) -> None:
    """Reports files that are read more than once, and those of validation that are trained on."""
    train = Counter(file.resolve() for file in recipe.corpus.files())
    for file, number in train.items():
        if number > 1:
            report(f"warning: {recipe.corpus.key} names {file} {number} times, and it is read as often")
    held_out = {file.resolve() for file in recipe.validation.files()} if recipe.validation else set()
    for file in sorted(held_out & train.keys()):
        report(f"warning: data.validation reads {file}, which is trained on too: its loss is no held-out one")


def _spool(corpus: Corpus, path: Path, warnings: Counter[str], report: Callable[[str], None]) -> Spool:
    """The cleaned documents of a corpus.

    Raises:
        UserError: where the text column does not hold text.
    """
    spool, characters = Spool(path), Counter[str]()
    if hidden := len(corpus.hidden_files()):
        warnings["hidden files (left out)"] += hidden
    progress = ReadingRate("reading", corpus.num_bytes(), report)
    for cleaned in in_order(Cleaner(corpus.cut), in_pieces(corpus.texts())):
        spool.add(cleaned)
        warnings.update(cleaned.warnings)
        characters.update(cleaned.characters)
        progress.add(cleaned.num_bytes)
    progress.finish()
    _warn_of_replacements(corpus, characters, report)
    return spool


def _counted(sample: Iterator[list[str]], progress: ReadingRate) -> Iterator[list[str]]:
    """The same sentences, counted as they are taken."""
    for sentences in sample:
        yield sentences
        progress.add(sum(map(len, sentences)))
    progress.finish()


def _threshold(recipe: Recipe, extremes: list[int]) -> int:
    """Hash below which a document is set aside: the wanted share of them, but at least one, and never all.

    Raises:
        UserError: where there are not two different documents to part.
    """
    least, greatest = extremes
    if least == greatest:
        raise UserError(
            "data.corpus holds 1 document, and validation needs another: name one with data.validation, or cut the "
            "file into documents with data.documents (paragraph or line)"
        )
    return min(max(int(recipe.validation_fraction * 2**64), least + 1), greatest)


def _sources(recipe: Recipe, folder: Path, warnings: Counter[str], report: Callable[[str], None]) -> list[Source]:
    """The documents that were read, and which of them are of which split; what is trained on comes first.

    Raises:
        UserError: where the corpus cannot be read, holds no text, or leaves nothing to validate on.
    """
    spool = _spool(recipe.corpus, folder / "train.spool", warnings, report)
    if not spool.num_documents:
        raise UserError(f"data.corpus = '{', '.join(recipe.corpus.source)}' holds no text ({_listed(warnings)})")
    if recipe.validation is None:
        threshold = _threshold(recipe, spool.extremes)
        return [(spool, {"train": range(threshold, 2**64), "validation": range(threshold)})]
    held_out = _spool(recipe.validation, folder / "validation.spool", warnings, report)
    if not held_out.num_documents:
        raise UserError(f"data.validation = '{', '.join(recipe.validation.source)}' holds no text")
    return [(spool, {"train": EVERY}), (held_out, {"validation": EVERY})]


def _write_splits(
    sources: Sequence[Source], tokenise: Tokeniser, folder: Path, report: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Writes the files of the splits; returns the counts of each, and what was met in the documents."""
    writers = {split: SplitWriter(folder / split, end=tokenise.end) for _, chosen in sources for split in chosen}
    progress, warnings = ReadingRate("tokenising", sum(spool.num_bytes for spool, _ in sources), report), Counter[str]()
    as_read = iter if tokenise.encode.by_sentence else whole
    pieces = ((segment, chosen) for spool, chosen in sources for segment in as_read(spool.segments))
    for parts in in_order(tokenise, pieces):
        for split, part in parts.items():
            warnings.update(writers[split].add(part))
            progress.add(part.counts["bytes"])
    progress.finish()
    return {split: writer.close() for split, writer in writers.items()}, warnings


def ingest(recipe: Recipe, folder: Path, report: Callable[[str], None]) -> tuple[dict[str, Any], Counter[str]]:
    """Writes the tokenizer and both splits into `folder`.

    Returns the counts for the manifest, and what was met in the documents.

    Raises:
        UserError: where the corpus cannot be read, holds no text, or leaves nothing to validate on.
    """
    warnings: Counter[str] = Counter()
    report(f"reading {', '.join(recipe.corpus.source)}")
    _warn_of_repeats(recipe, report)
    sources = _sources(recipe, folder, warnings, report)
    spool, trained_on = sources[0][0], sources[0][1]["train"]
    if recipe.tokenizer in KINDS:
        report(f"training a {recipe.tokenizer} tokenizer of {recipe.vocab_size:,} ids")
        progress = ReadingRate("counting words", min(spool.num_bytes, TOKENIZER_SAMPLE_BYTES), report)
        sample = _counted(spool.sample(trained_on, TOKENIZER_SAMPLE_BYTES), progress)
        size, vocabulary_format = recipe.vocab_size, recipe.vocabulary_format
        tokenizer = train_tokenizer(sample, kind=recipe.tokenizer, vocab_size=size, vocabulary_format=vocabulary_format)
    else:
        sha256 = recipe.description["tokenizer"]["sha256"]
        tokenizer = load_tokenizer(Path(recipe.tokenizer), recipe.vocabulary_format, sha256=sha256)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = vocabulary_of(tokenizer)
    counts: dict[str, Any] = {"dtype": "uint16" if vocabulary.size <= 2**16 else "uint32"}
    tokenise = Tokeniser(
        DocumentEncoder(tokenizer),
        dtype=counts["dtype"],
        end=vocabulary.eos if recipe.end_of_document else None,
        unknown=vocabulary.unk,
    )
    report("tokenising")
    with ExitStack() as beside:
        fit = None
        if recipe.tokenizer not in KINDS:
            fit = beside.enter_context(fit_beside(spool.sample(trained_on, FIT_SAMPLE_BYTES), tokenizer))
        of_splits, met = _write_splits(sources, tokenise, folder, report)
    warnings.update(met)
    counts |= of_splits
    for split in SPLITS:
        if not counts[split]["tokens"]:
            raise UserError(f"data.corpus: the {split} split holds no token ({_listed(warnings)})")
        report(f"{split}: {described(counts[split])}")
        warn_of_unknown(counts[split], split, report)
    if fit is not None:
        warn_of_misfit(fit.result(), counts["train"]["tokens"], report)
    for used, _ in sources:
        used.path.unlink(missing_ok=True)
    report(f"documents: {_listed(warnings)}")
    return counts, warnings


def _listed(warnings: Counter[str]) -> str:
    """`12 read, 3 empty (left out)`."""
    left_out = {"empty": "empty (left out)"}
    return (
        ", ".join(f"{count:,} {left_out.get(name, name)}" for name, count in warnings.items() if count) or "none read"
    )
