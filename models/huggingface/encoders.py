"""The maps of the families that are encoders alone, all of them kin of BERT."""

from collections.abc import Iterator, Sequence

from models.huggingface.entry import WeightEntry
from models.huggingface.family_map import FamilyMap


class EncoderMap(FamilyMap):
    """BERT, ELECTRA's two networks, ALBERT and DistilBERT."""

    def _block(
        self, n: int, attention: Sequence[str], output: str, attention_norm: str, up: str, down: str, norm: str
    ) -> Iterator[WeightEntry]:
        """Our block of that number, from their modules; `attention` is query, key and value."""
        block, rows = f"body.encoder.blocks.{n}", self.query_key_value
        yield from self.linears(f"{block}.self_attention.query_key_value", *attention, rows=rows)
        yield from self.linears(f"{block}.self_attention.output", output)
        yield from self.norms(f"{block}.self_norm", attention_norm)
        yield from self.linears(f"{block}.feed_forward.up", up)
        yield from self.linears(f"{block}.feed_forward.down", down)
        yield from self.norms(f"{block}.feed_forward_norm", norm)

    def _bert_body(self, base: str, *copies: str) -> Iterator[WeightEntry]:
        """Embeddings and layers; `copies` are other names of the token table."""
        ours, theirs = "body.encoder", f"{base}.embeddings"
        yield WeightEntry("body.token_table.weight", (f"{theirs}.word_embeddings.weight",), copies=copies)
        yield WeightEntry(f"{ours}.embeddings.position_table.weight", (f"{theirs}.position_embeddings.weight",))
        yield WeightEntry(f"{ours}.embeddings.segment_table.weight", (f"{theirs}.token_type_embeddings.weight",))
        yield from self.norms(f"{ours}.embeddings.norm", f"{theirs}.LayerNorm")
        for n in range(self.num_blocks[0]):
            layer = f"{base}.encoder.layer.{n}"
            attention = [f"{layer}.attention.self.{name}" for name in ("query", "key", "value")]
            others = (
                f"{layer}.attention.output.dense",
                f"{layer}.attention.output.LayerNorm",
                f"{layer}.intermediate.dense",
                f"{layer}.output.dense",
                f"{layer}.output.LayerNorm",
            )
            yield from self._block(n, attention, *others)

    def bert(self) -> Iterator[WeightEntry]:
        yield from self._bert_body("bert", "cls.predictions.decoder.weight")
        yield from self.linears("body.head.transform", "cls.predictions.transform.dense")
        yield from self.norms("body.head.norm", "cls.predictions.transform.LayerNorm")
        yield WeightEntry("body.head.bias", ("cls.predictions.bias",), copies=("cls.predictions.decoder.bias",))
        yield from self.linears("next_sentence_head.pooler", "bert.pooler.dense")
        yield from self.linears("next_sentence_head.classifier", "cls.seq_relationship")

    def _electra_body(self, *copies: str) -> Iterator[WeightEntry]:
        yield from self._bert_body("electra", *copies)
        if self.config.width_of_embeddings != self.config.width:
            yield from self.linears("body.encoder.embedding_projection", "electra.embeddings_project")

    def electra_discriminator(self) -> Iterator[WeightEntry]:
        yield from self._electra_body()
        yield from self.linears("detector.dense", "discriminator_predictions.dense")
        yield from self.linears("detector.output", "discriminator_predictions.dense_prediction")

    def electra_generator(self) -> Iterator[WeightEntry]:
        yield from self._electra_body("generator_lm_head.weight")
        yield from self.linears("body.head.transform", "generator_predictions.dense")
        yield from self.norms("body.head.norm", "generator_predictions.LayerNorm")
        yield WeightEntry("body.head.bias", ("generator_lm_head.bias",))

    def albert(self) -> Iterator[WeightEntry]:
        ours, theirs, head = "body.encoder", "albert.embeddings", "predictions"
        word = f"{theirs}.word_embeddings.weight"
        yield WeightEntry("body.token_table.weight", (word,), copies=(f"{head}.decoder.weight",))
        yield WeightEntry(f"{ours}.embeddings.position_table.weight", (f"{theirs}.position_embeddings.weight",))
        yield WeightEntry(f"{ours}.embeddings.segment_table.weight", (f"{theirs}.token_type_embeddings.weight",))
        yield from self.norms(f"{ours}.embeddings.norm", f"{theirs}.LayerNorm")
        if self.config.width_of_embeddings != self.config.width:
            yield from self.linears(f"{ours}.embedding_projection", "albert.encoder.embedding_hidden_mapping_in")
        for n in range(self.config.share_layers or self.num_blocks[0]):
            layer = f"albert.encoder.albert_layer_groups.{n}.albert_layers.0"
            attention = [f"{layer}.attention.{name}" for name in ("query", "key", "value")]
            others = (
                f"{layer}.attention.dense",
                f"{layer}.attention.LayerNorm",
                f"{layer}.ffn",
                f"{layer}.ffn_output",
                f"{layer}.full_layer_layer_norm",
            )
            yield from self._block(n, attention, *others)
        yield from self.linears("body.head.transform", f"{head}.dense")
        yield from self.norms("body.head.norm", f"{head}.LayerNorm")
        yield WeightEntry("body.head.bias", (f"{head}.bias",), copies=(f"{head}.decoder.bias",))
        yield from self.linears("sentence_order_head.pooler", "albert.pooler")
        yield from self.linears("sentence_order_head.classifier", "sop_classifier.classifier")

    def distilbert(self) -> Iterator[WeightEntry]:
        ours, theirs = "body.encoder", "distilbert.embeddings"
        word = f"{theirs}.word_embeddings.weight"
        yield WeightEntry("body.token_table.weight", (word,), copies=("vocab_projector.weight",))
        yield WeightEntry(f"{ours}.embeddings.position_table.weight", (f"{theirs}.position_embeddings.weight",))
        yield from self.norms(f"{ours}.embeddings.norm", f"{theirs}.LayerNorm")
        for n in range(self.num_blocks[0]):
            layer = f"distilbert.transformer.layer.{n}"
            attention = [f"{layer}.attention.{name}_lin" for name in "qkv"]
            others = (
                f"{layer}.attention.out_lin",
                f"{layer}.sa_layer_norm",
                f"{layer}.ffn.lin1",
                f"{layer}.ffn.lin2",
                f"{layer}.output_layer_norm",
            )
            yield from self._block(n, attention, *others)
        yield from self.linears("body.head.transform", "vocab_transform")
        yield from self.norms("body.head.norm", "vocab_layer_norm")
        yield WeightEntry("body.head.bias", ("vocab_projector.bias",))
