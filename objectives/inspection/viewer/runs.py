"""What trained runs make of a text: predictions of every checkpoint, attention, fills and continuations, as plain data.

`window_data` needs no run folder, so that a run in training is shown by the same code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import UserError
from data.stream.batch import Batch, Example
from data.stream.collate import collate
from data.stream.order import Purpose, generator
from data.stream.windows import Window, Windows
from data.tokens.decoding import decode_generated
from data.tokens.tokenizer import Tokenizer, Vocabulary
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.inspection.picture import Painter
from objectives.inspection.text import windows_of_text
from objectives.inspection.viewer.draws import MOST_TOKENS, Draw, draw
from objectives.inspection.viewer.generation import generated
from objectives.inspection.viewer.notes import Note
from objectives.inspection.viewer.predictions import Pass, as_data, attention_data, passed
from objectives.weights.load import TrainedRun, load_run
from training.storage.checkpoint import checkpoint_step, checkpoints_in
from training.storage.run_dir import RunFolder

MOST_RUNS, MOST_CHECKPOINTS = 6, 10
DRAWS = 4  # of a text under a run, at most
DECIMALS = 3


class HeldOutLoss(NamedTuple):
    """A checkpoint on held-out text.

    Attributes:
        loss: nats an ordinary target token.
        unigram_entropy: what the frequencies of tokens alone reach.
        is_on_plateau: whether the loss shows no more than those.
    """

    loss: float
    unigram_entropy: float
    is_on_plateau: bool


Measure = Callable[[TrainedRun], HeldOutLoss | None]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whose predictions are shown."""

    objective: Objective
    network: Network
    tokenizer: Tokenizer
    vocabulary: Vocabulary

    @property
    def painter(self) -> Painter:
        return Painter(self.vocabulary, lambda ids: self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def name_of(self, token: int) -> str:
        """A token that may stand anywhere; one that continues a word begins with a dot."""
        vocabulary = self.vocabulary
        begins = vocabulary.begins_word[token] or vocabulary.is_special[token]
        return f"{'' if begins else chr(0xB7)}{self.painter.names([token])[0]}"

    def batch(self, window: Window, example: Example) -> Batch:
        """The example alone, as the objective reads it."""
        return collate(
            [window],
            [example],
            pad=self.vocabulary.pad,
            max_lengths=self.objective.max_lengths(len(window)),
            keep_documents_apart=self.objective.keep_documents_apart,
        )

    def passed(self, window: Window, example: Example, *, with_attention: bool) -> Pass:
        """A pass over the example, on the network's device."""
        batch = self.batch(window, example).to(self.network.device)
        return passed(self.objective, self.network, batch, with_attention=with_attention)


def window_data(subject: Subject, window: Window, passes: Sequence[tuple[Example, Pass]]) -> dict[str, Any]:
    """A window as an objective makes examples of it: a draw of each with what is predicted there, and attention.

    Attention is that of the first pass, where it was recorded.
    """
    painter = subject.painter
    draws: list[Draw] = [
        {
            **draw(window, example, subject.batch(window, example), painter),
            "passes": [as_data(one, subject.name_of)],
        }
        for example, one in passes
    ]
    return {"draws": draws, "attention": attention_data(passes[0][1], lambda ids: painter.names(ids, window))}


def examples_of(subject: Subject, window: Window, windows: Windows) -> list[Example]:
    """Up to `DRAWS` examples of a window that differ."""
    corrupt, found = subject.objective.corruption(subject.vocabulary), []
    looks: list[Any] = []
    for seed in range(DRAWS):
        example = corrupt(window, generator(seed, Purpose.DISPLAY, 0, window.index), windows)
        ids = (example.encoder_ids, example.decoder_ids, example.prefixes, example.token_labels)
        look = [None if row is None else row.tolist() for row in ids]
        if look not in looks:
            looks.append(look)
            found.append(example)
    return found


def spread(steps: Sequence[int], most: int) -> list[int]:
    """Up to `most` of some rising steps, evenly spread, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[place * (len(steps) - 1) // (most - 1)] for place in range(most)]


def _subject(run: TrainedRun) -> Subject:
    return Subject(objective=run.objective, network=run.network, tokenizer=run.tokenizer, vocabulary=run.vocabulary)


def _window(run: TrainedRun, text: str) -> tuple[Windows, int]:
    """The text as a window of the run, and how many tokens it has in all."""
    whole = windows_of_text(text, run.tokenizer, run.vocabulary)
    windows = windows_of_text(text, run.tokenizer, run.vocabulary, most=min(MOST_TOKENS, run.window))
    return windows, len(whole[0])


def _checkpoint(step: int, held_out: HeldOutLoss | None) -> dict[str, Any]:
    if held_out is None:
        return {"step": step, "loss": None, "is_on_plateau": None}
    return {"step": step, "loss": round(held_out.loss, DECIMALS), "is_on_plateau": held_out.is_on_plateau}


def run_data(where: Path, name: str, texts: Sequence[str], measure: Measure) -> dict[str, Any]:
    """A run over the texts, with up to ten of its checkpoints; `tokens` are those of a text, shown and in all.

    Raises:
        UserError: where the folder is not a run.
    """
    folder, only = RunFolder.of(where), checkpoint_step(where)
    newest = load_run(folder.path, step=only)
    steps = sorted(step for path in checkpoints_in(folder.checkpoints) if (step := checkpoint_step(path)) is not None)
    steps = [only] if only is not None else steps
    kept = spread(steps, MOST_CHECKPOINTS)
    subject, entries, prepared = _subject(newest), [], []
    for text in texts:
        windows, length = _window(newest, text)
        window = windows[0]
        tokens = {"tokens": [len(window), length]}
        try:
            newest.objective.check_window(len(window))
            examples = examples_of(subject, window, windows)
        except UserError as error:
            entries.append({**tokens, "refused": str(error)})
            prepared.append(None)
            continue
        prepared.append((window, examples))
        passes = [
            (example, subject.passed(window, example, with_attention=not number))
            for number, example in enumerate(examples)
        ]
        begins = text if len(window) == length else decode_generated(newest.tokenizer, window.tokens.tolist())
        entries.append({**tokens, **window_data(subject, window, passes), **generated(newest, begins)})
    measured = [measure(newest)]
    for step in reversed(kept[:-1]):
        earlier = _subject(run := load_run(folder.path, step=step))
        measured.insert(0, measure(run))
        for entry, ready in zip(entries, prepared, strict=True):
            for number, example in enumerate(ready[1] if ready else ()):
                one = earlier.passed(ready[0], example, with_attention=False)
                entry["draws"][number]["passes"].insert(0, as_data(one, earlier.name_of))
    known = [one for one in measured if one is not None]
    return {
        "name": name,
        "objective": type(newest.objective).__module__.rsplit(".", 1)[-1],
        "there_are": len(steps),
        "checkpoints": [_checkpoint(step, one) for step, one in zip(kept, measured, strict=True)],
        "unigram_entropy": round(known[0].unigram_entropy, DECIMALS) if known else None,
        "texts": entries,
    }


def runs_data(
    folders: Sequence[Path], texts: Sequence[str], measure: Measure, notes: list[Note]
) -> list[dict[str, Any]]:
    """The first six runs over the texts.

    Raises:
        UserError: where a folder is not a run.
    """
    names = [folder.name for folder in folders]
    named = [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]
    if len(folders) > MOST_RUNS:
        notes.append(Note.of_runs(named[MOST_RUNS:], MOST_RUNS))
    pairs = list(zip(folders, named, strict=True))[:MOST_RUNS]
    views = [run_data(folder, name, texts, measure) for folder, name in pairs]
    for place, text in enumerate(texts):
        longer: dict[tuple[int, int], list[str]] = {}
        for view in views:
            some, there_are = view["texts"][place]["tokens"]
            if some < there_are:
                longer.setdefault((some, there_are), []).append(view["name"])
        notes += [Note.of_tokens(text, *counts, names) for counts, names in longer.items()]
    more = {view["name"]: view["there_are"] for view in views if view["there_are"] > len(view["checkpoints"])}
    if more:
        notes.append(Note.of_checkpoints(more, MOST_CHECKPOINTS))
    return views
