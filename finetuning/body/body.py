"""The pretrained body as tasks use it: the special tokens around a text, and the states of a text.

Shapes: B batch, S positions read, T decoder positions, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from data.stream.batch import Batch
from data.tokens.tokenizer import Tokenizer, Vocabulary, load_tokenizer, vocabulary_of
from models.bodies import make as bodies
from models.bodies.make import BodyConfig, config_from
from models.presets import PresetName, TransformerConfig
from models.transformer.transformer import Transformer
from objectives.core.base import Objective
from objectives.core.network import inputs_of
from objectives.start.pretrained import Pretrained, located, open_pretrained, tokenizer_of
from objectives.weights.load import objective_of
from training.storage.run_dir import RunFolder

DEFAULT_LENGTH = 512  # of a body that no table of positions limits, and whose own window is not known


@dataclass(frozen=True, kw_only=True)
class TextTemplate:
    """The special tokens around a text as input, and around a text as a decoder's target: as in pretraining.

    Attributes:
        before, behind: ids around each input text; a second text follows with `behind` alone.
        start: what a decoder that attends to an encoder reads first.
        target_before, target_behind: ids around a target.
    """

    before: tuple[int, ...]
    behind: tuple[int, ...]
    start: tuple[int, ...]
    target_before: tuple[int, ...]
    target_behind: tuple[int, ...]

    def around(self, *texts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """int64[length], the texts with their special tokens, and the number of the text of each position."""
        ids, segments = [*self.before], [0] * len(self.before)
        for number, text in enumerate(texts):
            ids += [*text, *self.behind]
            segments += [number] * (len(text) + len(self.behind))
        return np.array(ids, dtype=np.int64), np.array(segments, dtype=np.int64)


def template_of(objective: Objective, vocabulary: Vocabulary) -> TextTemplate:
    """The special tokens that an objective has around a document, as input and as target."""

    def ids(*roles: str) -> tuple[int, ...]:
        return tuple(vocabulary.id_of(role) for role in roles)

    before, behind = ids(*objective.template.before), ids(*objective.template.behind)
    if not objective.uses_encoder:
        return _causal(vocabulary)
    if not objective.uses_decoder:
        return TextTemplate(before=before, behind=behind, start=(), target_before=(), target_behind=())
    start = ids(objective.template.decoder_start or "pad")
    return TextTemplate(before=before, behind=behind, start=start, target_before=before, target_behind=ids("eos"))


def _causal(vocabulary: Vocabulary) -> TextTemplate:
    """As in a stream in which EOS closes each document: what begins a document stands behind the last one's EOS."""
    eos = (vocabulary.eos,)
    return TextTemplate(before=eos, behind=eos, start=(), target_before=(), target_behind=eos)


def template_of_preset(preset: PresetName, num_blocks: tuple[int, int], vocabulary: Vocabulary) -> TextTemplate:
    """The special tokens that the tokenizer of a Hugging Face class puts around a text."""
    cls, sep, bos, eos = ((index,) for index in (vocabulary.cls, vocabulary.sep, vocabulary.bos, vocabulary.eos))
    if not num_blocks[0]:
        return _causal(vocabulary)
    if not num_blocks[1]:
        return TextTemplate(before=cls, behind=sep, start=(), target_before=(), target_behind=())
    if preset == "bart":
        return TextTemplate(before=bos, behind=eos, start=eos, target_before=bos, target_behind=eos)
    return TextTemplate(before=(), behind=eos, start=(vocabulary.pad,), target_before=(), target_behind=eos)


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """What fine-tuning starts from, without its weights: enough to make the model anew.

    Attributes:
        body: its shape; `layers` are those of `num_blocks`.
        num_blocks: of encoder and decoder.
        max_positions: rows of its position tables, or the longest text that it is given.
        is_limited: whether a longer one cannot be read.
        tokenizer, vocabulary, template: how text becomes ids.
        tokenizer_file: where the tokenizer lies.
    """

    body: BodyConfig
    num_blocks: tuple[int, int]
    max_positions: int
    is_limited: bool
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    template: TextTemplate
    tokenizer_file: Path

    @property
    def has_encoder(self) -> bool:
        return self.num_blocks[0] > 0

    @property
    def has_decoder(self) -> bool:
        return self.num_blocks[1] > 0

    def describe(self) -> dict[str, Any]:
        """What a run folder keeps, beside the tokenizer, to make the model anew."""
        settings = {entry.name: getattr(self.body, entry.name) for entry in fields(self.body)}
        settings["layers"] = list(settings["layers"]) if isinstance(settings["layers"], tuple) else settings["layers"]
        return {
            "body": settings,
            "num_blocks": list(self.num_blocks),
            "max_positions": self.max_positions,
            "is_limited": self.is_limited,
            "template": {name: list(ids) for name, ids in vars(self.template).items()},
        }

    @classmethod
    def of_description(cls, described: dict[str, Any], tokenizer_file: Path) -> "Start":
        """What `describe` kept."""
        tokenizer = load_tokenizer(tokenizer_file)
        return cls(
            body=config_from(described["body"]),
            num_blocks=tuple(described["num_blocks"]),
            max_positions=described["max_positions"],
            is_limited=described["is_limited"],
            tokenizer=tokenizer,
            vocabulary=vocabulary_of(tokenizer),
            template=TextTemplate(**{name: tuple(ids) for name, ids in described["template"].items()}),
            tokenizer_file=tokenizer_file,
        )


def run_of(where: str) -> RunFolder | None:
    """The run that a name stands for; None where transformers saved what is there."""
    run = RunFolder.of(located(where))
    return run if run.is_run else None


def _pretrained_on(config: dict[str, Any], vocabulary: Vocabulary) -> tuple[TextTemplate, int]:
    """The template and the longest input of a pretraining run, as its objective has them."""
    objective = objective_of(config)
    return template_of(objective, vocabulary), max(objective.max_lengths(config["data"]["window"])[:2])


def start_from(where: str) -> tuple[Start, Pretrained]:
    """What fine-tuning starts from, and its weights: a run, one of its checkpoints, or what transformers saved.

    Raises:
        UserError: where it is none of these, or a run that was fine-tuned already.
    """
    run = run_of(where)
    config = run.read_config() if run is not None else {}
    if "task" in config:
        raise UserError(
            f"'{where}' was fine-tuned; start from the run that it started from: --checkpoint {config['checkpoint']}"
        )
    pretrained, tokenizer_file = open_pretrained(where), tokenizer_of(where)
    tokenizer = load_tokenizer(tokenizer_file)
    vocabulary = vocabulary_of(tokenizer)
    tables = [len(tensor) for name, tensor in pretrained.state.items() if name.endswith("position_table.weight")]
    longest = tables[0] if tables else pretrained.body.max_positions
    if run is not None:
        template, own = _pretrained_on(config, vocabulary)
        own = longest or own
    else:
        assert isinstance(pretrained.body, TransformerConfig)
        template = template_of_preset(pretrained.body.preset, pretrained.num_blocks, vocabulary)
        own = longest or DEFAULT_LENGTH
    start = Start(
        body=pretrained.body,
        num_blocks=pretrained.num_blocks,
        max_positions=own,
        is_limited=isinstance(pretrained.body, TransformerConfig)
        and pretrained.body.parts.positions in ("learned", "sinusoidal"),
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        template=template,
        tokenizer_file=tokenizer_file,
    )
    return start, pretrained


def make_body(
    start: Start, *, dropout: float, encoder: bool = True, decoder: bool = True, head: bool = True
) -> Transformer:
    """A body of that shape, without the stacks and the head over the vocabulary that a task leaves out."""
    made = bodies.make_body(
        replace(start.body, dropout=dropout),
        num_blocks=start.num_blocks,
        vocab_size=start.vocabulary.size,
        max_positions=start.max_positions,
    )
    body = cast(Transformer, made)  # any body has its stacks and its head under these names
    if not encoder:
        body.encoder = None
    if not decoder:
        body.decoder = None
    if not head:
        body.drop_head()
    return body


def states_of(body: Transformer, batch: Batch, *, is_causal: bool | None = None) -> Tensor:
    """[B, length, D], the states of the last stack: the decoder, which attends to the encoder where there are both."""
    inputs = inputs_of(batch, body)._replace(is_causal=is_causal)
    memory_BSD = body.encode(inputs) if body.encoder is not None else None
    if body.decoder is None:
        assert memory_BSD is not None
        return memory_BSD
    return body.decode(inputs, memory_BSD)


def lengths_of(batch: Batch) -> Tensor:
    """int64[B], positions of each row of the stack that `states_of` returns which are no padding."""
    ids, lengths_B = (
        (batch.encoder_ids_BS, batch.encoder_lengths_B)
        if batch.decoder_ids_BT is None
        else (batch.decoder_ids_BT, batch.decoder_lengths_B)
    )
    assert ids is not None
    if lengths_B is not None:
        return lengths_B
    return torch.full((ids.shape[0],), ids.shape[1], device=ids.device)
