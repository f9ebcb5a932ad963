"""What a run generates of a text, pass by pass: words of it filled in, and its first half continued."""

from collections.abc import Sequence
from typing import Any

from common.errors import UserError
from models.generation.decoding import Decoding
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.inspection.names import in_one_line, token_names
from objectives.inspection.text import to_be_continued
from objectives.weights.load import TrainedRun

NEW_TOKENS = 16  # of a continuation, so that left-to-right generation and denoising take as many passes
EVERY = 4  # words, of which the second is hidden
HIDDEN = "hidden"
MASK = "[MASK]"


def with_words_hidden(text: str) -> str:
    """The text with every fourth word as a mask; a text that has marks stays as it is."""
    if MARK.search(text):
        return text
    words = text.split()
    return " ".join(MASK if place % EVERY == 1 or len(words) == 1 else word for place, word in enumerate(words))


def first_half(text: str) -> str:
    """The first half of the words, one at least."""
    words = text.split()
    return " ".join(words[: max(len(words) // 2, 1)])


def _answer(prompts: Prompts, run: TrainedRun) -> Generation | str:
    """What is generated for one prompt, or why nothing is."""
    try:
        return next(run.generate(prompts))
    except UserError as error:
        return str(error)


def _passes_of(seen: list[list[int]], mask: int, run: TrainedRun) -> list[list[list[str]]]:
    """The texts of ids after each pass as cells: those hidden still, those filled in this pass, and the rest."""
    drawn, before = [], seen[0]

    def decode(some: Sequence[int]) -> str:
        return run.tokenizer.decode(list(some), skip_special_tokens=False)

    for ids in seen:
        names = token_names(ids, decode, tokenizer=run.tokenizer)
        cells = []
        for name, token, earlier in zip(names, ids, before, strict=True):
            kind = HIDDEN if token == mask else "new" if earlier == mask else "plain"
            blank = " " * bool(run.vocabulary.begins_word[token])
            cells.append([MASK if kind == HIDDEN else f"{blank}{name}", kind])
        drawn.append(cells)
        before = ids
    return drawn


def generated(run: TrainedRun, text: str) -> dict[str, Any]:
    """Fills and a continuation, each with its prompt and its text or the reason why there is none, greedily.

    `passes` of the continuation are lists of [text, kind] cells: of masked diffusion the whole text after each pass,
    of generation from left to right the pieces so far.
    """
    common: dict[str, Any] = {
        "tokenizer": run.tokenizer,
        "vocabulary": run.vocabulary,
        "max_positions": run.max_positions,
    }
    found: dict[str, Any] = {}
    if run.objective.inference.reads_marks:
        prompt = with_words_hidden(text)
        answer = _answer(Prompts(texts=[prompt], **common), run)
        notes = answer.notes if isinstance(answer, Generation) else []
        found["fill"] = {"prompt": prompt, **_text_or_reason(answer), "notes": [note.strip() for note in notes]}
    pieces: list[str] = []
    seen: list[list[int]] = []
    prompt = to_be_continued(run.objective, first_half(text), tokens=NEW_TOKENS)
    decoding = Decoding(max_new_tokens=NEW_TOKENS) if run.objective.uses_decoder else Decoding()
    prompts = Prompts(texts=[prompt], **common, decoding=decoding, on_text=pieces.append, on_pass=seen.append)
    found["continuation"] = {"prompt": prompt, **_text_or_reason(_answer(prompts, run))}
    if seen:
        found["continuation"] |= {"kind": "diffusion", "passes": _passes_of(seen, run.vocabulary.mask, run)}
    elif pieces:
        passes = [
            [
                [in_one_line(piece), "new" if 0 < place == last else "plain"]
                for place, piece in enumerate(pieces[: last + 1])
            ]
            for last in range(len(pieces))
        ]
        found["continuation"] |= {"kind": "left_to_right", "passes": passes}
    return found


def _text_or_reason(answer: Generation | str) -> dict[str, str]:
    return {"text": answer.text} if isinstance(answer, Generation) else {"refused": answer}
