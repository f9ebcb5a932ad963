"""The maps of the families that have a decoder."""

from collections.abc import Iterator

from models.huggingface.entry import WeightEntry
from models.huggingface.family_map import FamilyMap

BART_OFFSET = 2  # rows at the beginning of its position tables that nothing reads


class DecoderMap(FamilyMap):
    """GPT-2, BART, T5 and Llama, by preset."""

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
        """Llama's names, which EuroBert has as well; the stack is the sole one."""
        stack, depth = ("encoder", self.num_blocks[0]) if self.num_blocks[0] else ("decoder", self.num_blocks[1])
        ours, theirs = f"body.{stack}", "model"
        yield WeightEntry("body.token_table.weight", (f"{theirs}.embed_tokens.weight",), copies=("lm_head.weight",))
        for n in range(depth):
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
