"""What a checkpoint answers: masks filled all at once, or tokens said one after another, as text again."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from data.stream.batch import IGNORE, Batch, Example, MaxLengths, collate, documents_of
from data.stream.windows import Window
from models.generation.generation import Documents, GeneratedTokens, generate, put_together, stream
from models.transformer.transformer import Transformer
from objectives.core.prompts import Generation, IdsAndOrigins, Prompts

TEXTS_AT_ONCE = 32
CANDIDATES = 5
CUT_CHARACTER = "\ufffd"  # what bytes read as that make no character, perhaps because the rest is yet to come


# --- masks filled all at once ---


def fill(
    predict: Callable[[Batch], Tensor],
    questions: Prompts,
    read: Sequence[tuple[Window, Example]],
    *,
    keep_documents_apart: bool,
) -> Iterator[Generation]:
    """Every text with the likeliest token at each mask, and the likeliest few with their probabilities, in float64.

    Args:
        predict: logits [N, V] at the masks of a batch.
        questions: of which these are the texts.
        read: the texts, a label at every mask.
        keep_documents_apart: as the objective has it.
    """
    longest = questions.max_positions
    for start in range(0, len(read), TEXTS_AT_ONCE):
        windows, examples = zip(*read[start : start + TEXTS_AT_ONCE], strict=True)
        batch = collate(
            windows,
            examples,
            pad=questions.vocabulary.pad,
            max_lengths=MaxLengths(longest, longest, longest),
            keep_documents_apart=keep_documents_apart,
        )
        with torch.inference_mode():
            probabilities_NV = predict(batch).double().softmax(dim=-1)
        hidden = [next(iter(example.labels.values())) != IGNORE for example in examples]
        parts = probabilities_NV.split([int(places.sum()) for places in hidden])
        for number, (window, probabilities_MV) in enumerate(zip(windows, parts, strict=True), start=start):
            yield _filled(questions, questions.texts[number], window.tokens, probabilities_MV)


def _filled(questions: Prompts, asked: str, tokens: np.ndarray, probabilities_MV: Tensor) -> Generation:
    """A text with its M masks filled."""
    vocabulary = questions.vocabulary
    best = probabilities_MV.topk(min(questions.candidates or CANDIDATES, vocabulary.size))
    whole = tokens.copy()
    whole[tokens == vocabulary.mask] = best.indices[:, 0].cpu().numpy()
    masks, notes = [], []
    for number, (ids, values) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True), start=1):
        texts = [questions.text_of([token]) for token in ids]
        masks.append([{"token": text, "probability": value} for text, value in zip(texts, values, strict=True)])
        dots = ["" if vocabulary.begins_word[token] else "\u00b7" for token in ids]  # goes on with a word
        shown = [f"{dot}{text.strip() or repr(text)}" for dot, text in zip(dots, texts, strict=True)]
        named = [f"{text} {value:.1%}" for text, value in zip(shown, values, strict=True)]
        notes.append(f"  [MASK] {number}   {'   '.join(named)}")
    return Generation(asked=asked, text=questions.text_of(whole), details={"masks": masks}, notes=notes)


# --- tokens said one after another ---


class Complete(Protocol):
    """Ids of the whole text, as far as they are known from what has been said; what more is said adds to their end."""

    def __call__(self, said: Sequence[int], *, is_all: bool) -> list[int]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedPrompt:
    """What the stacks read of a text, and what its answer makes of it.

    Attributes:
        asked: the text as it was given.
        prompt: what the decoder reads first.
        source: what the encoder reads, where there is one.
        prompt_documents, source_documents: the document of each token, as `data.stream.batch.documents_of` counts them.
        complete: gives the whole text.
    """

    asked: str
    prompt: list[int]
    source: list[int] | None
    prompt_documents: list[int]
    source_documents: list[int] | None
    complete: Complete

    @classmethod
    def of(
        cls,
        asked: str,
        window: Window,
        *,
        encoder: IdsAndOrigins | None = None,
        decoder: IdsAndOrigins,
        complete: Complete,
    ) -> Self:
        """That of a text as a window, framed for each stack."""
        return cls(
            asked=asked,
            prompt=decoder[0].tolist(),
            source=None if encoder is None else encoder[0].tolist(),
            prompt_documents=documents_of(window, decoder[1]).tolist(),
            source_documents=None if encoder is None else documents_of(window, encoder[1]).tolist(),
            complete=complete,
        )


def _overheard(
    steps: Iterable[tuple[Tensor, Tensor]], reading: EncodedPrompt, questions: Prompts
) -> Iterator[tuple[Tensor, Tensor]]:
    """The steps; what they come to is told as soon as its characters are whole."""
    assert questions.listen is not None
    said, told = [], ""
    for step in itertools.chain([None], steps):
        if step is not None and (token := int(step[0][0])) != questions.vocabulary.eos:
            said.append(token)
        text = questions.text_of(reading.complete(said, is_all=False)).rstrip(CUT_CHARACTER)
        if len(text) > len(told) and text.startswith(told):
            questions.listen(text[len(told) :])
            told = text
        if step is not None:
            yield step


def generate_texts(
    body: Transformer, questions: Prompts, readings: Sequence[EncodedPrompt], *, keep_documents_apart: bool
) -> Iterator[tuple[EncodedPrompt, GeneratedTokens]]:
    """What is said to each text, all samples of the first before those of the second.

    Raises:
        ValueError: where a text is longer than the model reads.
    """
    for number, reading in enumerate(readings):
        questions.check_length(number, max(len(reading.prompt), len(reading.source or [])))
    asked = [reading for reading in readings for _ in range(questions.samples)]
    eos, seed = questions.vocabulary.eos, questions.decoding.seed
    # A batch says no more than its longest prompt has room for, so it is made of prompts of one length.
    for _, alike in itertools.groupby(asked, key=lambda reading: len(reading.prompt)):
        group = list(alike)
        for batch in (group[start : start + TEXTS_AT_ONCE] for start in range(0, len(group), TEXTS_AT_ONCE)):
            settings: dict[str, Any] = {
                **_inputs(batch, keep_documents_apart=keep_documents_apart),
                "decoding": replace(questions.decoding, seed=seed),
                "eos": eos,
                "max_positions": questions.max_positions,
            }
            if questions.listen is not None and len(asked) == 1 and questions.decoding.beams == 1:
                said = put_together(_overheard(stream(body, **settings), batch[0], questions), eos=eos)
            else:
                said = generate(body, **settings)
            yield from zip(batch, said, strict=True)
            seed += len(batch)


def _inputs(readings: Sequence[EncodedPrompt], *, keep_documents_apart: bool) -> dict[str, Any]:
    """What `generate` is given of some texts."""
    prompts = [reading.prompt for reading in readings]
    sources = [reading.source for reading in readings if reading.source is not None] or None
    prompt_documents = [reading.prompt_documents for reading in readings]
    source_documents = [documents for reading in readings if (documents := reading.source_documents) is not None]
    documents = Documents(prompt_documents, source_documents or None) if keep_documents_apart else None
    return {"prompts": prompts, "sources": sources, "documents": documents}


def generation_of(questions: Prompts, reading: EncodedPrompt, said: GeneratedTokens, **details: Any) -> Generation:
    """The whole text, with `details`, whether it came to its end, and the log-probability of what was said."""
    text = questions.text_of(reading.complete(said.ids, is_all=True))
    of_all = {"is_finished": said.is_finished, "log_probability": said.log_probability}
    return Generation(asked=reading.asked, text=text, details={**details, **of_all})
