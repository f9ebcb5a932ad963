"""The same weights under Hugging Face's names: one map for each family, read in both directions.

A `Transformer` of the presets `bert`, `gpt2`, `bart`, `t5` and `t5_v1_1`, and a decoder-only one of `lab` (Llama), is
exactly one of transformers' classes. Nothing here imports it: a class is its name, its configuration a dictionary.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.huggingface.settings import FAMILIES, check_representable
from models.presets import TransformerConfig

BART_OFFSET = 2  # rows at the beginning of its position tables that nothing reads


@dataclass(frozen=True)
class WeightEntry:
    """One tensor of ours and what it is made of there.

    Attributes:
        ours: its name in a module that has the Transformer as `transformer`.
        theirs: names of the tensors that stand below each other in it.
        rows: how many each of them has, where there are several.
        is_transposed: whether theirs is [in, out], as in GPT-2's Conv1D.
        unread_rows: with which their table begins.
        is_row: whether theirs is [1, V].
        copies: other names under which they keep the same tensor.
    """

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...] = ()
    is_transposed: bool = False
    unread_rows: int = 0
    is_row: bool = False
    copies: tuple[str, ...] = ()

    def split(self, tensor: Tensor) -> dict[str, Tensor]:
        """Ours as theirs."""
        parts = tensor.split(list(self.rows)) if self.rows else [tensor]
        if self.is_transposed:
            parts = [part.T for part in parts]
        if self.unread_rows:
            parts = [torch.cat([part.new_zeros(self.unread_rows, part.shape[1]), part]) for part in parts]
        if self.is_row:
            parts = [part[None] for part in parts]
        named = dict(zip(self.theirs, parts, strict=True))
        return {**named, **dict.fromkeys(self.copies, parts[0])}

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Theirs as ours."""
        parts = [tensors[name][self.unread_rows :] for name in self.theirs]
        if self.is_row:
            parts = [part[0] for part in parts]
        if self.is_transposed:
            parts = [part.T for part in parts]
        return torch.cat(parts) if len(parts) > 1 else parts[0]


class _Map:
    """The map of one family: pairs of modules, each with the parameters that such a module has."""

    def __init__(self, config: TransformerConfig, num_blocks: tuple[int, int]) -> None:
        parts = config.parts
        self.config, self.num_blocks = config, num_blocks
        self.linear = ("weight", "bias") if parts.biases else ("weight",)
        self.norm = ("weight", "bias") if parts.norm == "layer" else ("weight",)
        inner, key_value = config.num_heads * config.width_of_head, config.key_value_heads * config.width_of_head
        self.query_key_value, self.key_value = (inner, key_value, key_value), (key_value, key_value)
        self.gate = (config.width_of_feed_forward,) * 2

    def linears(
        self, ours: str, *theirs: str, rows: tuple[int, ...] = (), transposed: bool = False
    ) -> Iterator[WeightEntry]:
        for kind in self.linear:
            names = tuple(f"{name}.{kind}" for name in theirs)
            yield WeightEntry(f"{ours}.{kind}", names, rows, is_transposed=transposed and kind == "weight")

    def norms(self, ours: str, theirs: str) -> Iterator[WeightEntry]:
        for kind in self.norm:
            yield WeightEntry(f"{ours}.{kind}", (f"{theirs}.{kind}",))

    def bert(self) -> Iterator[WeightEntry]:
        ours, theirs = "body.encoder", "bert.embeddings"
        word = f"{theirs}.word_embeddings.weight"
        yield WeightEntry("body.token_table.weight", (word,), copies=("cls.predictions.decoder.weight",))
        yield WeightEntry(f"{ours}.embeddings.position_table.weight", (f"{theirs}.position_embeddings.weight",))
        yield WeightEntry(f"{ours}.embeddings.segment_table.weight", (f"{theirs}.token_type_embeddings.weight",))
        yield from self.norms(f"{ours}.embeddings.norm", f"{theirs}.LayerNorm")
        for n in range(self.num_blocks[0]):
            block, layer = f"{ours}.blocks.{n}", f"bert.encoder.layer.{n}"
            of_attention = (f"{layer}.attention.self.{name}" for name in ("query", "key", "value"))
            rows = self.query_key_value
            yield from self.linears(f"{block}.self_attention.query_key_value", *of_attention, rows=rows)
            yield from self.linears(f"{block}.self_attention.output", f"{layer}.attention.output.dense")
            yield from self.norms(f"{block}.self_norm", f"{layer}.attention.output.LayerNorm")
            yield from self.linears(f"{block}.feed_forward.up", f"{layer}.intermediate.dense")
            yield from self.linears(f"{block}.feed_forward.down", f"{layer}.output.dense")
            yield from self.norms(f"{block}.feed_forward_norm", f"{layer}.output.LayerNorm")
        yield from self.linears("body.head.transform", "cls.predictions.transform.dense")
        yield from self.norms("body.head.norm", "cls.predictions.transform.LayerNorm")
        yield WeightEntry("body.head.bias", ("cls.predictions.bias",), copies=("cls.predictions.decoder.bias",))
        yield from self.linears("next_sentence_head.pooler", "bert.pooler.dense")
        yield from self.linears("next_sentence_head.classifier", "cls.seq_relationship")

    def gpt2(self) -> Iterator[WeightEntry]:
        ours, theirs = "body.decoder", "transformer"
        yield WeightEntry("body.token_table.weight", (f"{theirs}.wte.weight",), copies=("lm_head.weight",))
        yield WeightEntry(f"{ours}.embeddings.position_table.weight", (f"{theirs}.wpe.weight",))
        for n in range(self.num_blocks[1]):
            block, layer = f"{ours}.blocks.{n}", f"{theirs}.h.{n}"
            yield from self.norms(f"{block}.self_norm", f"{layer}.ln_1")
            yield from self.linears(f"{block}.self_attention.query_key_value", f"{layer}.attn.c_attn", transposed=True)
            yield from self.linears(f"{block}.self_attention.output", f"{layer}.attn.c_proj", transposed=True)
            yield from self.norms(f"{block}.feed_forward_norm", f"{layer}.ln_2")
            yield from self.linears(f"{block}.feed_forward.up", f"{layer}.mlp.c_fc", transposed=True)
            yield from self.linears(f"{block}.feed_forward.down", f"{layer}.mlp.c_proj", transposed=True)
        yield from self.norms(f"{ours}.final_norm", f"{theirs}.ln_f")

    def bart(self) -> Iterator[WeightEntry]:
        copies = (*(f"model.{stack}.embed_tokens.weight" for stack in ("encoder", "decoder")), "lm_head.weight")
        yield WeightEntry("body.token_table.weight", ("model.shared.weight",), copies=copies)
        for stack, blocks in zip(("encoder", "decoder"), self.num_blocks, strict=True):
            ours, theirs = f"body.{stack}", f"model.{stack}"
            table = f"{theirs}.embed_positions.weight"
            yield WeightEntry(f"{ours}.embeddings.position_table.weight", (table,), unread_rows=BART_OFFSET)
            yield from self.norms(f"{ours}.embeddings.norm", f"{theirs}.layernorm_embedding")
            for n in range(blocks):
                block, layer = f"{ours}.blocks.{n}", f"{theirs}.layers.{n}"
                yield from self._bart_attention(f"{block}.self_attention", f"{layer}.self_attn", is_cross=False)
                yield from self.norms(f"{block}.self_norm", f"{layer}.self_attn_layer_norm")
                if stack == "decoder":
                    yield from self._bart_attention(f"{block}.cross_attention", f"{layer}.encoder_attn", is_cross=True)
                    yield from self.norms(f"{block}.cross_norm", f"{layer}.encoder_attn_layer_norm")
                yield from self.linears(f"{block}.feed_forward.up", f"{layer}.fc1")
                yield from self.linears(f"{block}.feed_forward.down", f"{layer}.fc2")
                yield from self.norms(f"{block}.feed_forward_norm", f"{layer}.final_layer_norm")
        yield WeightEntry("body.head.bias", ("final_logits_bias",), is_row=True)

    def _bart_attention(self, ours: str, theirs: str, *, is_cross: bool) -> Iterator[WeightEntry]:
        query, key, value = (f"{theirs}.{name}_proj" for name in "qkv")
        if is_cross:
            yield from self.linears(f"{ours}.query", query)
            yield from self.linears(f"{ours}.key_value", key, value, rows=self.key_value)
        else:
            yield from self.linears(f"{ours}.query_key_value", query, key, value, rows=self.query_key_value)
        yield from self.linears(f"{ours}.output", f"{theirs}.out_proj")

    def t5(self) -> Iterator[WeightEntry]:
        tables = tuple(f"{stack}.embed_tokens.weight" for stack in ("encoder", "decoder"))
        head = ("lm_head.weight",) if self.config.parts.tied else ()
        yield WeightEntry("body.token_table.weight", ("shared.weight",), copies=(*tables, *head))
        for stack, blocks in zip(("encoder", "decoder"), self.num_blocks, strict=True):
            ours, bias = f"body.{stack}", f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            yield WeightEntry(f"{ours}.relative_table.weight", (bias,))
            for n in range(blocks):
                block, layer = f"{ours}.blocks.{n}", f"{stack}.block.{n}.layer"
                query, key, value, output = (f"{layer}.0.SelfAttention.{name}" for name in "qkvo")
                rows = self.query_key_value
                yield from self.linears(f"{block}.self_attention.query_key_value", query, key, value, rows=rows)
                yield from self.linears(f"{block}.self_attention.output", output)
                yield from self.norms(f"{block}.self_norm", f"{layer}.0.layer_norm")
                if stack == "decoder":
                    query, key, value, output = (f"{layer}.1.EncDecAttention.{name}" for name in "qkvo")
                    yield from self.linears(f"{block}.cross_attention.query", query)
                    yield from self.linears(f"{block}.cross_attention.key_value", key, value, rows=self.key_value)
                    yield from self.linears(f"{block}.cross_attention.output", output)
                    yield from self.norms(f"{block}.cross_norm", f"{layer}.1.layer_norm")
                last = f"{layer}.{2 if stack == 'decoder' else 1}"
                gated = self.config.parts.gated
                up = [f"{last}.DenseReluDense.{name}" for name in (("wi_0", "wi_1") if gated else ("wi",))]
                yield from self.linears(f"{block}.feed_forward.up", *up, rows=self.gate if gated else ())
                yield from self.linears(f"{block}.feed_forward.down", f"{last}.DenseReluDense.wo")
                yield from self.norms(f"{block}.feed_forward_norm", f"{last}.layer_norm")
            yield from self.norms(f"{ours}.final_norm", f"{stack}.final_layer_norm")
        if not self.config.parts.tied:
            yield WeightEntry("body.head.weight", ("lm_head.weight",))

    t5_v1_1 = t5

    def lab(self) -> Iterator[WeightEntry]:
        ours, theirs = "body.decoder", "model"
        yield WeightEntry("body.token_table.weight", (f"{theirs}.embed_tokens.weight",), copies=("lm_head.weight",))
        for n in range(self.num_blocks[1]):
            block, layer = f"{ours}.blocks.{n}", f"{theirs}.layers.{n}"
            query, key, value, output = (f"{layer}.self_attn.{name}_proj" for name in "qkvo")
            rows = self.query_key_value
            yield from self.linears(f"{block}.self_attention.query_key_value", query, key, value, rows=rows)
            yield from self.linears(f"{block}.self_attention.output", output)
            yield from self.norms(f"{block}.self_norm", f"{layer}.input_layernorm")
            gate, up, down = (f"{layer}.mlp.{name}_proj" for name in ("gate", "up", "down"))
            yield from self.linears(f"{block}.feed_forward.up", gate, up, rows=self.gate)
            yield from self.linears(f"{block}.feed_forward.down", down)
            yield from self.norms(f"{block}.feed_forward_norm", f"{layer}.post_attention_layernorm")
        yield from self.norms(f"{ours}.final_norm", f"{theirs}.norm")


def entries(config: TransformerConfig, num_blocks: tuple[int, int]) -> list[WeightEntry]:
    """The map of a Transformer's family.

    Raises:
        UserError: where no class of transformers is this Transformer.
    """
    check_representable(config, num_blocks)
    return list(getattr(_Map(config, num_blocks), config.preset)())


def to_huggingface(
    state: Mapping[str, Tensor], config: TransformerConfig, num_blocks: tuple[int, int], *, copies: bool = True
) -> dict[str, Tensor]:
    """Ours, or a gradient of each, under their names, all of them or, as files have it, one for each tensor.

    A head that the state lacks is left out.
    """
    found = [entry for entry in entries(config, num_blocks) if entry.ours in state]
    named = {name: tensor for entry in found for name, tensor in entry.split(state[entry.ours]).items()}
    left_out = set() if copies else {name for entry in found for name in entry.copies}
    return {name: tensor for name, tensor in named.items() if name not in left_out}


def _spelled_alike(state: Mapping[str, Tensor], entries: Iterable[WeightEntry], base: str) -> dict[str, Tensor]:
    """The same tensors under the names that the map has.

    Files of a body alone lack its prefix, old ones name a norm's parameters gamma and beta, and a tensor with several
    names may be kept under any of them.
    """
    known = {name for entry in entries for name in (*entry.theirs, *entry.copies)}
    spelled = {}
    for name, tensor in state.items():
        name = re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name))
        spelled[name if name in known else f"{base}.{name}"] = tensor
    for entry in entries:
        for copy in entry.copies:
            if copy in spelled:
                spelled.setdefault(entry.theirs[0], spelled[copy])
    return spelled


def from_huggingface(
    state: Mapping[str, Tensor], config: TransformerConfig, num_blocks: tuple[int, int]
) -> dict[str, Tensor]:
    """Theirs, as any version of transformers saved them, under our names; a head that the state lacks is left out."""
    every = entries(config, num_blocks)
    spelled = _spelled_alike(state, every, FAMILIES[config.preset].base)
    return {entry.ours: entry.join(spelled) for entry in every if all(name in spelled for name in entry.theirs)}
