"""What a report shows of the text itself: held-out windows under every objective, and what runs generate."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from data.store.store import TokenStore
from data.stream.order import Purpose, generator
from data.stream.windows import Windows
from evaluation.execution.jobs import MeasuredRun
from evaluation.record.record import ContinuationRecord, SampleRecord
from models.generation.decoding import Decoding
from objectives.core.prompts import Prompts
from objectives.inspection.picture import Painter
from objectives.inspection.text import to_be_continued
from objectives.weights.load import TrainedRun
from training.storage.run_dir import RunFolder

WINDOWS = 2  # that are shown, evenly spread over the held-out text
PROMPT = 0.25  # of a window, which is what a prompt is
GENERATED = 32  # tokens, at most
MASKS = 12  # for a model that fills each with one token, and generates nothing behind the text


def held_out(run: TrainedRun) -> Windows:
    """The held-out windows that a run was validated on.

    Raises:
        UserError: where its token store is no longer there.
    """
    data, store = run.config["data"], RunFolder(run.folder).read_info()["data"]["store"]
    folder = Path(data["cache"]) / store
    if not folder.is_dir():
        raise UserError(f"the token store of {run.folder} is no longer in {folder}: prepare.py builds it anew")
    return Windows(
        TokenStore(folder, "validation"), length=run.window, rule=data["windows"], end_token=run.vocabulary.eos
    )


def chosen(windows: Windows) -> list[int]:
    """Numbers of the windows that are shown."""
    number = min(WINDOWS, len(windows))
    return [index * len(windows) // number for index in range(number)]


def samples(arm: str, run: TrainedRun, windows: Windows) -> list[SampleRecord]:
    """What an arm's objective does to the windows, under noise that is the same in every study."""
    corrupt = run.objective.corruption(run.vocabulary)
    painter = Painter(run.vocabulary, lambda ids: run.tokenizer.decode(list(ids), skip_special_tokens=False))
    records = []
    for place, index in enumerate(chosen(windows)):
        window = windows[index]
        example = corrupt(window, generator(0, Purpose.DISPLAY, 0, window.index), windows)
        panels = tuple({row: tuple(cells) for row, cells in panel.items()} for panel in painter.panels(window, example))
        records.append(SampleRecord(arm=arm, window=place, panels=panels))
    return records


def text_of(run: TrainedRun, windows: Windows, index: int, share: float = 1.0) -> str:
    """The text of a window, or of its beginning."""
    tokens = windows[index].tokens
    return run.tokenizer.decode(tokens[: int(share * len(tokens))].tolist(), skip_special_tokens=True)


def continuations(job: MeasuredRun, run: TrainedRun, windows: Windows) -> list[ContinuationRecord]:
    """What a run generates greedily from the beginnings of the windows: the whole texts, prompts included.

    None where the objective takes no such prompt (`to_be_continued`).
    """
    objective = run.objective
    prompts = [text_of(run, windows, index, PROMPT).strip() for index in chosen(windows)]
    questions = Prompts(
        texts=[to_be_continued(objective, prompt, tokens=MASKS) for prompt in prompts],
        tokenizer=run.tokenizer,
        vocabulary=run.vocabulary,
        max_positions=run.max_positions,
        decoding=Decoding(max_new_tokens=GENERATED) if objective.uses_decoder else Decoding(),
    )
    try:
        answers = list(run.generate(questions))
    except ValueError:
        return []
    return [
        ContinuationRecord(arm=job.arm, seed=job.seed, prompt=prompt, text=answer.text)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Excerpts:
    """The text of the windows that are shown, and what one run has to do with them."""

    texts: tuple[str, ...]
    samples: tuple[SampleRecord, ...]
    continuations: tuple[ContinuationRecord, ...]


def excerpts_of(job: MeasuredRun, run: TrainedRun, windows: Windows) -> Excerpts:
    """Of a run that is loaded."""
    return Excerpts(
        texts=tuple(text_of(run, windows, index) for index in chosen(windows)),
        samples=tuple(samples(job.arm, run, windows)),
        continuations=tuple(continuations(job, run, windows)),
    )
