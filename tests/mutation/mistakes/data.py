"""Mistakes in what is read: tokens lost or read twice, order and noise that follow from the wrong things, leaks."""

from tests.mutation.mutant import Mutant

BATCH = "tests/data/stream/test_batch.py"
WINDOWS = "tests/data/stream/test_windows.py"
ORDER = "tests/data/stream/test_order.py"
LOADER = "tests/data/stream/test_loader.py"
DATAMODULE = "tests/data/test_datamodule.py"
STORE = "tests/data/store/test_store.py"
INGEST = "tests/data/store/test_ingest.py"
TEXT = "tests/data/text/test_cleaning.py"
CORPORA = "tests/data/text/test_corpora.py"
FORMATS = "tests/data/files/test_formats.py"
SOURCES = "tests/data/text/test_sources.py"

MUTANTS = [
    Mutant(
        file="data/stream/batch.py",
        original="IGNORE = -100",
        replacement="IGNORE = 0",
        mistake="the label of a position without a target is the padding's id",
        tests=(BATCH,),
    ),
    Mutant(
        file="data/stream/collate.py",
        original="row * width + one.positions",
        replacement="row * len(one.positions) + one.positions",
        mistake="labels stand where they would without padding",
        tests=(BATCH,),
    ),
    Mutant(
        file="data/stream/collate.py",
        original="if any(len(row) < width for row in ids)",
        replacement="if all(len(row) < width for row in ids)",
        mistake="lengths are forgotten where one row is full",
        tests=(BATCH,),
    ),
    Mutant(
        file="data/stream/collate.py",
        original="window.documents() - window.first_document + 1",
        replacement="window.documents() - window.first_document",
        mistake="the first document gets the number that all may look at",
        tests=(BATCH,),
    ),
    Mutant(
        file="data/stream/windows.py",
        original="return -(-self.num_tokens // self.length)",
        replacement="return self.num_tokens // self.length",
        mistake="the last window is dropped",
        tests=(WINDOWS,),
    ),
    Mutant(
        file="data/stream/windows.py",
        original="min((index + 1) * self.length, self.num_tokens)",
        replacement="min((index + 1) * self.length + 1, self.num_tokens)",
        mistake="windows overlap by one token",
        tests=(WINDOWS,),
    ),
    Mutant(
        file="data/stream/windows.py",
        original="self.store.tokens[start - 1]) if start",
        replacement="self.store.tokens[start]) if start",
        mistake="the token before a window is the window's own first",
        tests=(WINDOWS, "tests/objectives/test_causal_lm.py"),
    ),
    Mutant(
        file="data/stream/windows.py",
        original="np.asarray(starts[low:high]) - start",
        replacement="np.asarray(starts[low:high])",
        mistake="starts are counted from the split in place of the window",
        tests=(WINDOWS,),
    ),
    Mutant(
        file="data/stream/windows.py",
        original="begins[self.document_starts[self.document_starts > 0]] = 1",
        replacement="begins[self.document_starts] = 1",
        mistake="a window that begins with a document counts it twice",
        tests=(WINDOWS,),
    ),
    Mutant(
        file="data/stream/order.py",
        original="[0, 0, index, epoch]",
        replacement="[0, 0, index, 0]",
        mistake="noise is not keyed by the epoch",
        tests=(ORDER,),
    ),
    Mutant(
        file="data/stream/order.py",
        original="[0, 0, index, epoch]",
        replacement="[index, 0, 0, epoch]",
        mistake="the random numbers of a window run into the next one's",
        tests=(ORDER,),
    ),
    Mutant(
        file="data/stream/order.py",
        original="generator(seed, Purpose.ORDER, epoch, 0)",
        replacement="generator(seed, Purpose.ORDER, 0, 0)",
        mistake="every epoch has the same order",
        tests=(ORDER,),
    ),
    Mutant(
        file="data/stream/loader.py",
        original="generator(self.seed, purpose, epoch, index)",
        replacement="np.random.default_rng()",
        mistake="noise is the worker's own, keyed by nothing",
        tests=(LOADER,),
    ),
    Mutant(
        file="data/stream/order.py",
        original="int(_block(size, seed, epoch, place // BLOCK)[place % BLOCK])",
        replacement="place",
        mistake="windows are not shuffled",
        tests=(LOADER,),
    ),
    Mutant(
        file="data/stream/order.py",
        original="places = np.arange(number * BLOCK,",
        replacement="places = np.arange(0,",
        mistake="the windows of the first block come again",
        tests=(ORDER,),
    ),
    Mutant(
        file="data/stream/sharding.py",
        original="first + self.rank * self.micro_batch_size,",
        replacement="first + self.rank,",
        mistake="the parts of two processes overlap",
        tests=(LOADER,),
    ),
    Mutant(
        file="data/stream/loader.py",
        original="self._example(0, index, Purpose.VALIDATION_NOISE)",
        replacement="self._example(position, index, Purpose.NOISE)",
        mistake="validation draws its noise from training's",
        tests=(LOADER,),
    ),
    Mutant(
        file="data/stream/loader.py",
        original="position % self.chosen * len(self.windows) // self.chosen",
        replacement="position % self.chosen",
        mistake="validation reads the beginning of the split alone",
        tests=(LOADER,),
    ),
    Mutant(
        file="data/stream/loader.py",
        original="if position >= self.chosen",
        replacement="if position > self.chosen",
        mistake="a held-out window that fills up a batch is counted again",
        tests=(LOADER, DATAMODULE),
    ),
    Mutant(
        file="data/stream/loader.py",
        original="sum(batch.divisors()[term] for batch in batches)",
        replacement="batches[0].divisors()[term]",
        mistake="a micro-batch knows its own labels for the step's",
        tests=(LOADER,),
    ),
    Mutant(
        file="data/datamodule.py",
        original="sharding.steps(self.trainer.global_step)",
        replacement="sharding.steps(max(self.trainer.global_step - 1, 0))",
        mistake="a resumed run reads its last step again",
        tests=(f"{DATAMODULE}::test_training_goes_on_at_the_step_the_trainer_has_reached",),
    ),
    Mutant(
        file="data/datamodule.py",
        original="range(-(-chosen // sharding.batch_size))",
        replacement="range(chosen // sharding.batch_size)",
        mistake="the last batch of a validation is dropped",
        tests=(f"{DATAMODULE}::test_every_held_out_window_is_validated_once_in_as_many_batches_everywhere",),
    ),
    Mutant(
        file="data/datamodule.py",
        original="partial(CorruptedWindows, self.training_windows, seed=self.seed)",
        replacement="partial(CorruptedWindows, self.training_windows, seed=0)",
        mistake="the run's seed decides neither order nor noise",
        tests=(f"{DATAMODULE}::test_the_seed_of_the_run_decides_which_windows_come_and_what_is_hidden_in_them",),
    ),
    Mutant(
        file="data/store/store.py",
        original='not path.is_file() or sha256_of_file(path) != manifest["sha256"][name]',
        replacement="not path.is_file()",
        mistake="a store's hashes are not compared",
        tests=(f"{STORE}::test_damage_is_named_and_the_store_built_anew",),
    ),
    Mutant(
        file="data/store/recipe.py",
        original='"end_of_document": self.end_of_document',
        replacement='"end_of_document": True',
        mistake="a store with EOS and one without have the same name",
        tests=(f"{STORE}::test_the_name_of_a_store_follows_all_that_decides_its_content",),
    ),
    Mutant(
        file="data/store/ingest.py",
        original="vocabulary.size <= 2**16",
        replacement="vocabulary.size <= 2**17",
        mistake="ids of a large vocabulary overflow uint16",
        tests=(f"{INGEST}::test_tokens_take_two_bytes_as_long_as_every_id_fits",),
    ),
    Mutant(
        file="data/store/splits.py",
        original="* (end is not None)",
        replacement="* 0",
        mistake="EOS is not counted, so that the starts behind it are off by one",
        tests=(INGEST,),
    ),
    Mutant(
        file="data/store/ingest.py",
        original='"train": range(threshold, 2**64)',
        replacement='"train": range(2**64)',
        mistake="what is held out is trained on as well",
        tests=(INGEST,),
    ),
    Mutant(
        file="data/text/cleaning.py",
        original="last, held = held + body, piece[len(body) :]",
        replacement="last, held = body, piece[len(body) :]",
        mistake="white space between sentences is lost",
        tests=(TEXT,),
    ),
    Mutant(
        file="data/text/parts.py",
        original="(file, sha256_of_file(file)) for file",
        replacement="(file, str(file.stat().st_size)) for file",
        mistake="a file is known by its size in place of its content",
        tests=(CORPORA, STORE),
    ),
    Mutant(
        file="data/files/encodings.py",
        original='errors = "strict" if strict else "replace"',
        replacement='errors = "strict" if strict else "ignore"',
        mistake="bytes that are not UTF-8 vanish, and nobody counts them",
        tests=(CORPORA, FORMATS),
    ),
    Mutant(
        file="data/files/tables.py",
        original="if len(fields) != len(names):",
        replacement="if len(fields) < len(names):",
        mistake="a line with a field too many is read, its columns moved",
        tests=(SOURCES,),
    ),
    Mutant(
        file="data/files/json_rows.py",
        original="json_lines(path, itertools.chain(first, lines))",
        replacement="json_lines(path, lines)",
        mistake="the first rows of a JSON file of one object a line are lost",
        tests=(FORMATS, CORPORA),
    ),
]
