"""Mistakes in what is shared: who sees whom, positions, scales, norms, first weights and the count of FLOPs."""

from tests.mutation.mutant import Mutant

ATTENTION = "tests/models/attention/test_attention.py"
MASKS = "tests/models/attention/test_masks.py"
POSITIONS = "tests/models/attention/test_positions.py"
TRANSFORMER = "tests/models/transformer/test_transformer.py"
INITIALISATION = "tests/models/transformer/test_initialisation.py"
ACCOUNTING = "tests/models/transformer/test_accounting.py"
WEIGHTS = "tests/models/attention/test_weights.py"
PRESETS = "tests/models/test_presets.py"
LAW_4 = "tests/test_laws.py::test_law_4_no_token_helps_to_predict_itself"
EMBEDDINGS = "tests/models/transformer/test_embeddings.py"
GENERATION = "tests/models/generation/test_generation.py"
HUGGINGFACE = "tests/models/huggingface/test_huggingface.py"

MUTANTS = [
    Mutant(
        file="models/attention/kernels.py",
        original="return torch.where(visible, scores_BHTS, HIDDEN).softmax(dim=-1) * visible",
        replacement="return torch.where(visible, scores_BHTS, HIDDEN).softmax(dim=-1)",
        mistake="a query that sees nothing is shown as one that sees all",
        tests=(WEIGHTS,),
    ),
    Mutant(
        file="models/attention/masks.py",
        original=".tril(num_keys - num_queries)",
        replacement=".tril(num_keys - num_queries + 1)",
        mistake="the causal mask shows one key ahead",
        tests=(TRANSFORMER,),
    ),
    Mutant(
        file="models/attention/masks.py",
        original="< mask.key_lengths_B[:, None]",
        replacement="<= mask.key_lengths_B[:, None]",
        mistake="the first position of the padding is seen",
        tests=(TRANSFORMER,),
    ),
    Mutant(
        file="models/attention/masks.py",
        original="(queries_BT1 > 0)",
        replacement="(queries_BT1 >= 0)",
        mistake="positions of no prefix see each other, and what is behind them",
        tests=(MASKS,),
    ),
    Mutant(
        file="models/attention/masks.py",
        original="distances_TS.abs() < mask.window",
        replacement="distances_TS.abs() <= mask.window",
        mistake="a window is one key wider on either side",
        tests=(MASKS,),
    ),
    Mutant(
        file="models/attention/kernels.py",
        original=" and num_queries == num_keys:",
        replacement=":",
        mistake="the causal flag is given for the last queries alone, which the kernel takes for the first",
        tests=(MASKS,),
    ),
    Mutant(
        file="models/attention/attention.py",
        original="self.scale = self.head_width**-0.5 if parts.scaled_scores else 1.0",
        replacement="self.scale = 1.0",
        mistake="attention is unscaled",
        tests=(ATTENTION, TRANSFORMER),
    ),
    Mutant(
        file="models/attention/positions.py",
        original="offset = (distances > 0).long()",
        replacement="offset = (distances < 0).long()",
        mistake="relative positions take behind for ahead",
        tests=(POSITIONS,),
    ),
    Mutant(
        file="models/attention/positions.py",
        original="torch.cat([-second, first], dim=-1)",
        replacement="torch.cat([second, -first], dim=-1)",
        mistake="rotary positions turn the other way",
        tests=(POSITIONS,),
    ),
    Mutant(
        file="models/attention/positions.py",
        original="(1, 0), value=True)",
        replacement="(0, 1), value=True)",
        mistake="positions begin anew one token before a document does",
        tests=(POSITIONS,),
    ),
    Mutant(
        file="models/transformer/stack.py",
        original="is_causal=is_causal,",
        replacement="is_causal=False,",
        mistake="the decoder has no causal mask",
        tests=(TRANSFORMER,),
    ),
    Mutant(
        file="models/transformer/transformer.py",
        original="is_causal=inputs.is_causal if is_last else None",
        replacement="is_causal=inputs.is_causal",
        mistake="the encoder of an encoder-decoder is causal where its decoder is",
        tests=(TRANSFORMER,),
    ),
    Mutant(
        file="models/transformer/stack.py",
        original="bidirectional=not self.is_decoder",
        replacement="bidirectional=True",
        mistake="a decoder's relative positions are bucketed as an encoder's",
        tests=(HUGGINGFACE,),
    ),
    Mutant(
        file="models/transformer/stack.py",
        original="if self.norm_first:",
        replacement="if not self.norm_first:",
        mistake="pre-norm and post-norm are swapped",
        tests=(HUGGINGFACE,),
    ),
    Mutant(
        file="models/transformer/embeddings.py",
        original="self.position_table(positions)",
        replacement="self.position_table(positions + 2)",
        mistake="the two rows that Hugging Face's BART leaves unread are counted here too",
        tests=(HUGGINGFACE,),
    ),
    Mutant(
        file="models/transformer/layers.py",
        original="self.activate(gate) * linear",
        replacement="gate * self.activate(linear)",
        mistake="the gate and what it lets through change places",
        tests=(HUGGINGFACE,),
    ),
    Mutant(
        file="models/transformer/layers.py",
        original="self.scale = width**-0.5 if parts.scaled_logits else None",
        replacement="self.scale = None",
        mistake="the scale of T5's tied logits is lost",
        tests=(HUGGINGFACE,),
    ),
    Mutant(
        file="models/transformer/transformer.py",
        original="key_lengths_B=inputs.encoder_lengths_B",
        replacement="key_lengths_B=None",
        mistake="the decoder sees the encoder's padding",
        tests=(TRANSFORMER,),
    ),
    Mutant(
        file="models/transformer/initialisation.py",
        original="math.sqrt(2 * sum(transformer.num_blocks))",
        replacement="math.sqrt(sum(transformer.num_blocks))",
        mistake="residual outputs are scaled by the blocks, each of which has two",
        tests=(INITIALISATION,),
    ),
    Mutant(
        file="models/transformer/initialisation.py",
        original='f"{seed}:{name}"',
        replacement='f"{name}"',
        mistake="the seed does not decide the first weights",
        tests=(INITIALISATION,),
    ),
    Mutant(
        file="models/transformer/initialisation.py",
        original="if id(parameter) in kept:",
        replacement="if False:",
        mistake="embeddings that two bodies share are drawn anew by the second",
        tests=(EMBEDDINGS,),
    ),
    Mutant(
        file="models/transformer/accounting.py",
        original="projections + 4 * attention",
        replacement="projections + 2 * attention",
        mistake="FLOPs count scores or mixture, not both",
        tests=(ACCOUNTING,),
    ),
    Mutant(
        file="models/presets.py",
        original="norm_epsilon=1e-12",
        replacement="norm_epsilon=1e-5",
        mistake="BERT's norms have the others' epsilon",
        tests=(HUGGINGFACE,),
    ),
    Mutant(
        file="models/presets.py",
        original="return layers - layers // 2, layers // 2",
        replacement="return layers // 2, layers - layers // 2",
        mistake="the odd block goes to the decoder",
        tests=(PRESETS,),
    ),
    Mutant(
        file="models/attention/cache.py",
        original="end = self.length + T",
        replacement="end = T",
        mistake="the cache forgets all but the newest position",
        tests=(GENERATION,),
    ),
    Mutant(
        file="models/transformer/stack.py",
        original="cache.length += length",
        replacement="cache.length = length",
        mistake="every cached position counts as the second",
        tests=(GENERATION,),
    ),
    Mutant(
        file="models/generation/generation.py",
        original="found[prompt].add(score / (length + num_forced) ** decoding.length_penalty, text)",
        replacement="found[prompt].add(score, text)",
        mistake="finished texts are ranked without the length penalty",
        tests=(GENERATION,),
    ),
    Mutant(
        file="models/generation/generation.py",
        original="reader.select(rows_BC.gather(1, order_BK).flatten().to(reader.device))",
        replacement="reader.select(first_rows_B1.expand(B, K).flatten().to(reader.device))",
        mistake="a beam goes on from the first one's text",
        tests=(GENERATION,),
    ),
    Mutant(
        file="models/huggingface/decoders.py",
        original="BART_OFFSET = 2",
        replacement="BART_OFFSET = 0",
        mistake="BART's position tables are read from their first row",
        tests=(HUGGINGFACE,),
    ),
    Mutant(
        file="models/huggingface/decoders.py",
        original='ours, theirs = f"body.{stack}", f"model.{stack}"',
        replacement='ours, theirs = f"body.{stack}", "model.encoder"',
        mistake="BART's decoder is read from the encoder",
        tests=(HUGGINGFACE,),
    ),
    Mutant(
        file="models/huggingface/families.py",
        original='"rms_norm_eps": 1e-6',
        replacement='"rms_norm_eps": 1e-5',
        mistake="Llama gets another epsilon",
        tests=(HUGGINGFACE,),
    ),
]
