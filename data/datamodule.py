"""The text of a run: corpus, tokenizer, token store, and the loaders that read it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from lightning.pytorch.utilities import rank_zero_info

from common.ranges import SEED, Range, check_ranges, count
from data.files.encodings import AUTO, checked_encoding
from data.store.recipe import Recipe, tokenizer_file
from data.store.store import TokenStore, find_or_build, read_manifest, read_tokenizer
from data.stream.batch import Corruption, MaxLengths
from data.stream.loader import ENDLESS, CorruptedWindows, HeldOutWindows, StepCollator, StepLoader
from data.stream.mixture import Choice, MixedCollator, MixedExamples, blank_pair
from data.stream.order import order_sha256
from data.stream.sharding import MicroBatchSize, ShardedData, fixed
from data.stream.windows import WindowRule, Windows
from data.text.corpora import Corpus
from data.text.parts import EMBEDDED, DocumentRule
from data.tokens.tokenizer import Vocabulary, VocabularyFormat

WORKERS_BESIDE_A_GPU = 4  # a CPU is better off without: the step uses all cores, and the loader needs a twentieth


class Corruptor(Protocol):
    """What the data need to know of the objective that reads them."""

    keep_documents_apart: bool

    def corruption(self, vocabulary: Vocabulary) -> Corruption: ...
    def max_lengths(self, window: int) -> MaxLengths: ...
    def check_vocabulary(self, vocabulary: Vocabulary) -> None: ...
    def check_data(self, windows: Windows) -> None: ...


@runtime_checkable
class MixedCorruptor(Protocol):
    """What they need to know of one that is several."""

    members: Mapping[str, Corruptor]

    def choice(self, *, batch_size: int, seed: int, total_steps: int | None) -> Choice: ...


RANGES = {
    "window": count(1 << 22),
    "batch_size": count(1 << 24),
    "micro_batch_size": count(1 << 24),
    "validation_windows": count(10**9),
    "validation_fraction": Range(0, 1, low_open=True, high_open=True),
    "vocab_size": count(1 << 24),
    "workers": count(256, low=0),
    "seed": SEED,
}


def _tuple(names: str | list[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _by_part(value: Any) -> Any:
    """A setting of each source of a corpus: a list as a tuple, or as its one value where all are the same."""
    if not isinstance(value, list):
        return value
    return value[0] if len(set(value)) == 1 else tuple(value)


class DataModule(ShardedData):
    """What a run reads: the same windows in the same order for every objective.

    Args:
        corpus: `embedded`, the name of a hub dataset, or local .txt, .jsonl, .csv or .parquet files, folders or globs;
            or a list of these, read one after another.
        configuration: configuration of a hub dataset, such as wikitext-2-raw-v1. Where `corpus` is a list, this, split,
            revision, text_column and encoding may be lists with one for each of it.
        split: split of a hub dataset that is trained on, or of a folder in which `datasets` saved several.
        revision: commit, branch or tag of a hub dataset; by default its newest text, whose commit names the store.
        validation: files, or the split that validation reads of the hub datasets and saved folders in `corpus`; by
            default documents of the corpus are set aside by their hash.
        validation_fraction: share of the documents that is set aside.
        text_column: column that holds the text; `meta.text` is `text` within `meta`.
        documents: what a document of a .txt file is; `auto` is a file where there are several, else a paragraph.
            `sentence_per_line` is BERT's form: a sentence a line, and a blank line between documents.
        encoding: of files that are not UTF-8, such as cp949; `auto` follows a byte-order mark, and refuses by name
            what looks like another encoding.
        tokenizer: `byte_bpe`, `wordpiece` or `unigram`, trained on the corpus, or the path of a tokenizer.json or
            of a folder that holds one, such as a run, or the name of a model on the hub.
        vocab_size: number of ids of a tokenizer trained here.
        vocabulary_format: 2 gives the tokenizer UL2's mode tokens and the marks of fill-in-the-middle; by default 1,
            without them. A tokenizer.json of this project is read as it is.
        end_of_document: whether a document ends with the EOS token.
        window: raw tokens a window.
        windows: whether windows run on through documents (`contiguous`) or end with them (`within_document`).
        batch_size: windows an optimizer step, over all devices.
        micro_batch_size: windows a device computes at once; by default its whole share of the batch. `auto` begins
            with that, and where a step is out of memory it is repeated, and the run goes on, with half as many.
        validation_windows: windows that a validation reads.
        workers: processes that prepare batches for each device; by default none on a CPU, 4 beside a GPU.
        cache: folder of the token stores.
        seed: decides order and noise.

    Raises:
        UserError: where a value is impossible.
    """

    unit, lengths = "windows", "data.window"

    def __init__(
        self,
        *,
        corpus: str | list[str] = EMBEDDED,
        configuration: str | list[str | None] | None = None,
        split: str | list[str] = "train",
        revision: str | list[str | None] | None = None,
        validation: str | list[str] | None = None,
        validation_fraction: float = 0.05,
        text_column: str | list[str] = "text",
        documents: DocumentRule = "auto",
        encoding: str | list[str] = AUTO,
        tokenizer: str = "byte_bpe",
        vocab_size: int = 8192,
        vocabulary_format: VocabularyFormat | None = None,
        end_of_document: bool = True,
        window: int = 128,
        windows: WindowRule = "contiguous",
        batch_size: int = 32,
        micro_batch_size: MicroBatchSize = None,
        validation_windows: int = 256,
        workers: int | None = None,
        cache: Path = Path("cache"),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.micro_batch_size, self.is_auto = fixed(micro_batch_size), micro_batch_size == "auto"
        sizes = {"batch_size": batch_size, "micro_batch_size": self.micro_batch_size, "window": window}
        parts = {"vocab_size": vocab_size, "validation_windows": validation_windows, "seed": seed, "workers": workers}
        check_ranges("data.", RANGES, {**sizes, **parts, "validation_fraction": validation_fraction})
        corpus_read = Corpus(
            source=_tuple(corpus),
            configuration=_by_part(configuration),
            split=_by_part(split),
            revision=_by_part(revision),
            text_column=_by_part(text_column),
            documents=documents,
            encoding=_by_part([checked_encoding(name) for name in _tuple(encoding)]),
        )
        self.recipe = Recipe(
            corpus=corpus_read,
            validation=corpus_read.held_out(_tuple(validation)) if validation else None,
            validation_fraction=validation_fraction,
            tokenizer=tokenizer_file(tokenizer),
            vocab_size=vocab_size,
            vocabulary_format=vocabulary_format or 1,
            end_of_document=end_of_document,
        )
        self.window, self.seed = window, seed
        self.window_rule: WindowRule = windows
        self.batch_size = batch_size
        self.validation_windows, self.workers, self.cache = validation_windows, workers, cache
        self.folder: Path | None = None
        self.loader = None

    def prepare_data(self) -> None:
        """Builds the token store where it is missing or damaged; called in one process of each machine."""
        find_or_build(self.recipe, self.cache, report=lambda line: rank_zero_info(f"[data] {line}"))

    def setup(self, stage: str) -> None:
        """Opens the token store.

        Raises:
            UserError: where its text cannot serve the objective.
        """
        if self.folder is None:
            self.open()
            self.objective.check_vocabulary(self.vocabulary)
            self.objective.check_data(self.training_windows)

    def open(self) -> None:
        """Opens the token store that `prepare_data` left."""
        self.folder = self.cache / self.recipe.fingerprint()
        self.tokenizer, self.vocabulary = read_tokenizer(self.folder)
        self.training_windows, self.held_out_windows = self._windows("train"), self._windows("validation")

    def _windows(self, split: str) -> Windows:
        assert self.folder is not None
        store = TokenStore(self.folder, split)
        return Windows(store, length=self.window, rule=self.window_rule, end_token=self.vocabulary.eos)

    @property
    def objective(self) -> Corruptor:
        assert self.trainer is not None
        return cast(Corruptor, self.trainer.lightning_module.objective)

    def _collator(self, micro_batch_size: int, objective: Corruptor | None = None) -> StepCollator:
        objective = objective or self.objective
        return StepCollator(
            micro_batch_size=micro_batch_size,
            pad=self.vocabulary.pad,
            max_lengths=objective.max_lengths(self.window),
            keep_documents_apart=objective.keep_documents_apart,
        )

    def _loader(
        self,
        make: Callable[[Corruption], CorruptedWindows],
        steps: Iterable[list[int]],
        micro_batch_size: int,
        choose: Choice | None = None,
        **options: Any,
    ) -> StepLoader:
        """What the objective reads; where it is several, each reads what `choose` names it for, or all read all."""
        objective = self.objective
        if not isinstance(objective, MixedCorruptor):
            examples, collator = make(objective.corruption(self.vocabulary)), self._collator(micro_batch_size)
            return StepLoader(examples, steps, collator, **options)
        corruptions = {name: member.corruption(self.vocabulary) for name, member in objective.members.items()}
        mixed = MixedExamples({name: make(corrupt) for name, corrupt in corruptions.items()}, choose)
        collator = MixedCollator(
            micro_batch_size=micro_batch_size,
            collators={name: self._collator(micro_batch_size, member) for name, member in objective.members.items()},
            blanks={name: blank_pair(corrupt, self.training_windows) for name, corrupt in corruptions.items()},
        )
        return StepLoader(mixed, steps, collator, **options)

    def train_dataloader(self) -> StepLoader:
        """Micro-batches without end, from the optimizer step on that the trainer has reached."""
        assert self.trainer is not None
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        sharding = self.sharding_here()
        objective, choose = self.objective, None
        if isinstance(objective, MixedCorruptor):
            total_steps = cast(Any, self.trainer.lightning_module).progress.total_steps
            choose = objective.choice(batch_size=self.batch_size, seed=self.seed, total_steps=total_steps)
        self.loader = self._loader(
            partial(CorruptedWindows, self.training_windows, seed=self.seed),
            sharding.steps(self.trainer.global_step),
            sharding.micro_batch_size,
            choose,
            length=ENDLESS,
            num_workers=self.workers if self.workers is not None else WORKERS_BESIDE_A_GPU * on_gpu,
            pin_memory=on_gpu,
        )
        return self.loader

    def val_dataloader(self) -> StepLoader:
        """The held-out windows of a validation, as many batches in every process."""
        chosen, here = min(self.validation_windows, len(self.held_out_windows)), self.sharding_here()
        micro = min(here.micro_batch_size, -(-chosen // here.world))
        sharding = replace(here, batch_size=micro * here.world, micro_batch_size=micro)
        steps = [sharding.positions(step) for step in range(-(-chosen // sharding.batch_size))]
        make = partial(HeldOutWindows, self.held_out_windows, seed=self.seed, chosen=chosen)
        return self._loader(make, steps, micro, length=len(steps))

    def describe(self) -> dict[str, Any]:
        """What a run folder keeps of its data: which store, and what is in it."""
        assert self.folder is not None
        return {"store": self.folder.name, **read_manifest(self.folder)}

    def windows_sha256(self, steps: int) -> str:
        """Hash of which windows that many optimizer steps read, in order: two runs are paired where it is the same."""
        return order_sha256(len(self.training_windows), seed=self.seed, consumed=steps * self.batch_size)
