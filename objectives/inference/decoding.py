"""Generated tokens turned into text: what every strategy with a decoder shares."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor

from data.stream.collate import documents_of
from data.stream.windows import Window
from models.body import Body
from models.generation.generation import GeneratedTokens, generate, put_together, stream
from models.generation.incremental import Documents
from objectives.core.prompts import Generation, IdsAndOrigins, Prompts
from objectives.inference.batches import batches_of, in_order


class Complete(Protocol):
    """Ids of the whole text, as far as the generated tokens determine them; further tokens only add to the end."""

    def __call__(self, generated: Sequence[int], *, is_all: bool) -> list[int]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedPrompt:
    """A prompt as the stacks read it, and how its generation becomes a text.

    Attributes:
        text: as it was given.
        prefix: what the decoder reads first.
        source: what the encoder reads, where there is one.
        prefix_documents, source_documents: the document of each token, as `data.stream.batch.documents_of` counts.
        complete: gives the whole text.
    """

    text: str
    prefix: list[int]
    source: list[int] | None
    prefix_documents: list[int]
    source_documents: list[int] | None
    complete: Complete

    @classmethod
    def of(
        cls,
        text: str,
        window: Window,
        *,
        encoder: IdsAndOrigins | None = None,
        decoder: IdsAndOrigins,
        complete: Complete,
    ) -> Self:
        """The prompt of a text given as a window, with the ids and origins of each stack."""
        return cls(
            text=text,
            prefix=decoder[0].tolist(),
            source=None if encoder is None else encoder[0].tolist(),
            prefix_documents=documents_of(window, decoder[1]).tolist(),
            source_documents=None if encoder is None else documents_of(window, encoder[1]).tolist(),
            complete=complete,
        )


def _streamed(
    steps: Iterable[tuple[Tensor, Tensor]], encoded: EncodedPrompt, prompts: Prompts
) -> Iterator[tuple[Tensor, Tensor]]:
    """The steps, unchanged; passes their text to `on_text` as soon as its characters are complete."""
    assert prompts.on_text is not None
    generated, passed_on = [], ""
    for step in itertools.chain([None], steps):
        if step is not None and (token := int(step[0][0])) != prompts.vocabulary.eos:
            generated.append(token)
        text = prompts.decode(encoded.complete(generated, is_all=False))
        if len(text) > len(passed_on) and text.startswith(passed_on):
            prompts.on_text(text[len(passed_on) :])
            passed_on = text
        if step is not None:
            yield step


def generate_tokens(
    body: Body,
    prompts: Prompts,
    encoded: Sequence[EncodedPrompt],
    *,
    keep_documents_apart: bool,
    sees_prompt: bool = False,
    special_targets: Sequence[int] = (),
) -> Iterator[tuple[EncodedPrompt, GeneratedTokens]]:
    """The generation of each text, all samples of the first before those of the second.

    `sees_prompt` lets the positions of what the decoder reads first see each other. Of the special tokens only EOS and
    `special_targets` are generated: no other was ever a target of training.

    Raises:
        UserError: where a text is longer than the model reads.
    """
    prompts.refuse_decoding("tokens are generated from left to right, one a pass", ("steps", "order"))
    for number, one in enumerate(encoded):
        prompts.check_length(number, max(len(one.prefix), len(one.source or [])))
    repeated = [one for one in encoded for _ in range(prompts.samples)]
    eos = prompts.vocabulary.eos
    never = prompts.vocabulary.never_targets(eos, *special_targets)

    def generated(numbers: list[int]) -> list[GeneratedTokens]:
        batch = [repeated[number] for number in numbers]
        settings: dict[str, Any] = {
            **_inputs(batch, keep_documents_apart=keep_documents_apart),
            "decoding": prompts.decoding,
            "numbers": numbers,
            "sees_prompt": sees_prompt,
            "eos": eos,
            "never": never,
            "max_positions": prompts.max_positions,
        }
        if prompts.on_text is not None and len(repeated) == 1 and prompts.decoding.beams == 1:
            return put_together(_streamed(stream(body, **settings), batch[0], prompts), eos=eos)
        return generate(body, **settings)

    # A batch generates no more than its longest prefix has room for, so it is made of prefixes of one length.
    kinds, lengths = [len(one.prefix) for one in repeated], [len(one.source or ()) for one in repeated]
    found = in_order((numbers, generated(numbers)) for numbers in batches_of(kinds, lengths))
    yield from zip(repeated, found, strict=True)


def _inputs(encoded: Sequence[EncodedPrompt], *, keep_documents_apart: bool) -> dict[str, Any]:
    """The arguments of `generate` for some texts."""
    prefixes = [one.prefix for one in encoded]
    sources = [one.source for one in encoded if one.source is not None] or None
    prefix_documents = [one.prefix_documents for one in encoded]
    source_documents = [documents for one in encoded if (documents := one.source_documents) is not None]
    documents = Documents(prefix_documents, source_documents or None) if keep_documents_apart else None
    return {"prompts": prefixes, "sources": sources, "documents": documents}


def generation_of(prompts: Prompts, encoded: EncodedPrompt, generated: GeneratedTokens, **details: Any) -> Generation:
    """The whole text, with `details`, whether EOS was generated, and the log-probability of the generated tokens."""
    text = prompts.decode(encoded.complete(generated.ids, is_all=True))
    of_all = {"is_finished": generated.is_finished, "log_probability": generated.log_probability}
    return Generation(prompt=encoded.text, text=text, details={**details, **of_all})
