"""The classes of transformers that a Transformer here is, each in terms of ours: one table, read in both directions.

Nothing here imports transformers: a class is its name, its configuration a dictionary.
"""

from dataclasses import dataclass, field
from typing import Any

from models.presets import PresetName


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a class of transformers is in terms of ours.

    Attributes:
        name: of the class that a model with all heads is.
        model_type: its name in `config.json`.
        base: what the names of the body's tensors begin with.
        has_encoder, has_decoder: its stacks.
        sizes: under which names it keeps each of our sizes.
        fixed: the values that it must have for the parts that our preset fixes.
        dropout: under which names it keeps rates; the first is read.
        written: what is written besides, and not checked on reading.
        defaults: what a `config.json` that lacks a name means by that.
        preset: that a relative is, and `FAMILIES` has by its key.
        marker: a setting that no other family of this model type has so.
    """

    name: str
    model_type: str
    base: str
    has_encoder: bool
    has_decoder: bool
    sizes: dict[str, tuple[str, ...]]
    fixed: dict[str, Any]
    dropout: tuple[str, ...]
    written: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    preset: PresetName | None = None
    marker: tuple[str, Any] | None = None


_T5_SIZES = {
    "width": ("d_model",),
    "head_width": ("d_kv",),
    "feed_forward_width": ("d_ff",),
    "encoder_blocks": ("num_layers",),
    # by the second, transformers 5 knows how many layers the cache of `generate` has; it takes the encoder's otherwise
    "decoder_blocks": ("num_decoder_layers", "decoder_layers"),
    "num_heads": ("num_heads",),
}
_T5_FIXED = {
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
}


_BERT_SIZES = {
    "width": ("hidden_size",),
    "feed_forward_width": ("intermediate_size",),
    "encoder_blocks": ("num_hidden_layers",),
    "num_heads": ("num_attention_heads",),
    "max_positions": ("max_position_embeddings",),
}
_BERT_FIXED = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2, "tie_word_embeddings": True}
_BERT_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_LLAMA_SIZES = {
    "width": ("hidden_size",),
    "head_width": ("head_dim",),
    "feed_forward_width": ("intermediate_size",),
    "num_heads": ("num_attention_heads",),
    "num_key_value_heads": ("num_key_value_heads",),
    "max_positions": ("max_position_embeddings",),
}
_LLAMA_FIXED = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
}


FAMILIES: dict[PresetName, Family] = {
    "bert": Family(
        name="BertForPreTraining",
        model_type="bert",
        base="bert",
        has_encoder=True,
        has_decoder=False,
        sizes=_BERT_SIZES,
        fixed=_BERT_FIXED,
        dropout=_BERT_DROPOUT,
    ),
    "gpt2": Family(
        name="GPT2LMHeadModel",
        model_type="gpt2",
        base="transformer",
        has_encoder=False,
        has_decoder=True,
        sizes={
            "width": ("n_embd",),
            "feed_forward_width": ("n_inner",),
            "decoder_blocks": ("n_layer",),
            "num_heads": ("n_head",),
            "max_positions": ("n_positions",),
        },
        fixed={
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "tie_word_embeddings": True,
        },
        dropout=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    ),
    "bart": Family(
        name="BartForConditionalGeneration",
        model_type="bart",
        base="model",
        has_encoder=True,
        has_decoder=True,
        sizes={
            "width": ("d_model",),
            "feed_forward_width": ("encoder_ffn_dim", "decoder_ffn_dim"),
            "encoder_blocks": ("encoder_layers",),
            "decoder_blocks": ("decoder_layers",),
            "num_heads": ("encoder_attention_heads", "decoder_attention_heads"),
            "max_positions": ("max_position_embeddings",),
        },
        fixed={"activation_function": "gelu", "scale_embedding": False, "tie_word_embeddings": True},
        dropout=("dropout",),
        written={"attention_dropout": 0.0, "activation_dropout": 0.0, "forced_eos_token_id": None},
    ),
    "t5": Family(
        name="T5ForConditionalGeneration",
        model_type="t5",
        base="",
        has_encoder=True,
        has_decoder=True,
        sizes=_T5_SIZES,
        fixed={"feed_forward_proj": "relu", "tie_word_embeddings": True, **_T5_FIXED},
        dropout=("dropout_rate",),
        defaults={"feed_forward_proj": "relu"},
    ),
    # transformers 5 takes this untying for "do not scale the states" and ties all the same, but keeps two matrices
    # apart where a checkpoint holds two; what it then saves declares them tied.
    "t5_v1_1": Family(
        name="T5ForConditionalGeneration",
        model_type="t5",
        base="",
        has_encoder=True,
        has_decoder=True,
        sizes=_T5_SIZES,
        fixed={"feed_forward_proj": "gated-gelu", "scale_decoder_outputs": False, **_T5_FIXED},
        dropout=("dropout_rate",),
        written={"tie_word_embeddings": False},
        defaults={"feed_forward_proj": "relu"},
    ),
    "lab": Family(
        name="LlamaForCausalLM",
        model_type="llama",
        base="model",
        has_encoder=False,
        has_decoder=True,
        sizes={**_LLAMA_SIZES, "decoder_blocks": ("num_hidden_layers",)},
        fixed=_LLAMA_FIXED,
        dropout=("attention_dropout",),
        defaults={"tie_word_embeddings": False},
    ),
    # An embedding layer of its own width is always projected there, and no dropout follows the feed-forward.
    "albert": Family(
        name="AlbertForPreTraining",
        model_type="albert",
        base="albert",
        has_encoder=True,
        has_decoder=False,
        sizes={
            **_BERT_SIZES,
            "embedding_width": ("embedding_size",),
            "share_layers": ("num_hidden_groups",),
        },
        fixed={**_BERT_FIXED, "hidden_act": "gelu_new", "inner_group_num": 1},
        dropout=_BERT_DROPOUT,
        written={"classifier_dropout_prob": 0.0, "num_labels": 2},
    ),
}

# Other classes of the same presets, by name; which one a model is, its stacks and its objective decide.
RELATIVES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="EuroBertForMaskedLM",
            model_type="eurobert",
            base="model",
            has_encoder=True,
            has_decoder=False,
            sizes={**_LLAMA_SIZES, "encoder_blocks": ("num_hidden_layers",)},
            fixed=_LLAMA_FIXED,
            dropout=("attention_dropout",),
            defaults={"tie_word_embeddings": False},
            preset="lab",
        ),
        Family(
            name="LlamaForCausalLM",
            model_type="llama",
            base="model",
            has_encoder=True,
            has_decoder=False,
            sizes={**_LLAMA_SIZES, "encoder_blocks": ("num_hidden_layers",)},
            fixed={**_LLAMA_FIXED, "is_causal": False},
            dropout=("attention_dropout",),
            defaults={"tie_word_embeddings": False},
            preset="lab",
            marker=("is_causal", False),
        ),
        Family(
            name="ElectraForPreTraining",
            model_type="electra",
            base="electra",
            has_encoder=True,
            has_decoder=False,
            sizes={**_BERT_SIZES, "embedding_width": ("embedding_size",)},
            fixed=_BERT_FIXED,
            dropout=_BERT_DROPOUT,
            preset="bert",
            marker=("architectures", ["ElectraForPreTraining"]),
        ),
        Family(
            name="ElectraForMaskedLM",
            model_type="electra",
            base="electra",
            has_encoder=True,
            has_decoder=False,
            sizes={**_BERT_SIZES, "embedding_width": ("embedding_size",)},
            fixed=_BERT_FIXED,
            dropout=_BERT_DROPOUT,
            preset="bert",
            marker=("architectures", ["ElectraForMaskedLM"]),
        ),
        Family(
            name="DistilBertForMaskedLM",
            model_type="distilbert",
            base="distilbert",
            has_encoder=True,
            has_decoder=False,
            sizes={
                "width": ("dim",),
                "feed_forward_width": ("hidden_dim",),
                "encoder_blocks": ("n_layers",),
                "num_heads": ("n_heads",),
                "max_positions": ("max_position_embeddings",),
            },
            fixed={"activation": "gelu", "sinusoidal_pos_embds": False, "tie_word_embeddings": True},
            dropout=("dropout", "attention_dropout"),
            preset="bert",
        ),
    )
}
