"""Hugging Face's `config.json` and ours: one table for each family, read in both directions.

A `Transformer` of the presets `bert`, `gpt2`, `bart`, `t5` and `t5_v1_1`, and a decoder-only one of `lab` (Llama), is
exactly one of transformers' classes. Nothing here imports it: a class is its name, its configuration a dictionary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import UserError
from models.presets import PRESETS, PresetName, TransformerConfig


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


_T5_SIZES = {
    "width": ("d_model",),
    "head_width": ("d_kv",),
    "feed_forward_width": ("d_ff",),
    "encoder_blocks": ("num_layers",),
    "decoder_blocks": ("num_decoder_layers",),
    "num_heads": ("num_heads",),
}
_T5_FIXED = {
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
}


FAMILIES: dict[PresetName, Family] = {
    "bert": Family(
        name="BertForPreTraining",
        model_type="bert",
        base="bert",
        has_encoder=True,
        has_decoder=False,
        sizes={
            "width": ("hidden_size",),
            "feed_forward_width": ("intermediate_size",),
            "encoder_blocks": ("num_hidden_layers",),
            "num_heads": ("num_attention_heads",),
            "max_positions": ("max_position_embeddings",),
        },
        fixed={"hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2, "tie_word_embeddings": True},
        dropout=("hidden_dropout_prob", "attention_probs_dropout_prob"),
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
        sizes={
            "width": ("hidden_size",),
            "head_width": ("head_dim",),
            "feed_forward_width": ("intermediate_size",),
            "decoder_blocks": ("num_hidden_layers",),
            "num_heads": ("num_attention_heads",),
            "num_key_value_heads": ("num_key_value_heads",),
            "max_positions": ("max_position_embeddings",),
        },
        fixed={
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 10_000.0,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
        },
        dropout=("attention_dropout",),
        defaults={"tie_word_embeddings": False},
    ),
}


def check_representable(config: TransformerConfig, num_blocks: tuple[int, int]) -> None:
    """Raises UserError, with the reason, where no class of transformers is this Transformer."""
    family = FAMILIES[config.preset]
    wanted, found = (family.has_encoder, family.has_decoder), (num_blocks[0] > 0, num_blocks[1] > 0)
    if found != wanted:
        parts = [
            " and ".join(part for part, is_there in zip(("an encoder", "a decoder"), stacks, strict=True) if is_there)
            for stacks in (wanted, found)
        ]
        raise UserError(
            f"body.preset = {config.preset} is {family.name}, which has {parts[0]}, and this has {parts[1]}: "
            f"no class of transformers is this model"
        )
    if config.parts.positions != PRESETS[config.preset].positions:
        own = PRESETS[config.preset].positions
        raise UserError(f"body.positions = {config.positions}, and {family.name} has {own} ones")
    if config.width_of_embeddings != config.width:
        raise UserError(
            f"body.embedding_width = {config.width_of_embeddings}, and {family.name}'s is body.width = {config.width}"
        )
    if "num_key_value_heads" not in family.sizes and config.key_value_heads != config.num_heads:
        raise UserError(
            f"body.num_key_value_heads = {config.key_value_heads} of {config.num_heads} heads, and "
            f"{family.name} has no grouped heads"
        )
    if "head_width" not in family.sizes and config.width_of_head * config.num_heads != config.width:
        raise UserError(
            f"body.head_width = {config.width_of_head}, and {family.name}'s is body.width / "
            f"body.num_heads = {config.width / config.num_heads:g}"
        )


def to_huggingface_config(
    config: TransformerConfig, num_blocks: tuple[int, int], *, vocab_size: int, max_positions: int
) -> dict[str, Any]:
    """The content of `config.json`, but for the ids of special tokens.

    Raises:
        UserError: where no class of transformers is this Transformer.
    """
    check_representable(config, num_blocks)
    family = FAMILIES[config.preset]
    ours = {
        "width": config.width,
        "head_width": config.width_of_head,
        "feed_forward_width": config.width_of_feed_forward,
        "encoder_blocks": num_blocks[0],
        "decoder_blocks": num_blocks[1],
        "num_heads": config.num_heads,
        "num_key_value_heads": config.key_value_heads,
        "max_positions": max_positions,
    }
    return {
        "model_type": family.model_type,
        "architectures": [family.name],
        "vocab_size": vocab_size,
        **{theirs: ours[size] for size, names in family.sizes.items() for theirs in names},
        **family.fixed,
        **dict.fromkeys(family.dropout, config.dropout),
        **family.written,
    }


def _preset_of(theirs: Mapping[str, Any]) -> PresetName:
    model_type = theirs.get("model_type")
    presets: list[PresetName] = [preset for preset, family in FAMILIES.items() if family.model_type == model_type]
    if not presets:
        known = sorted({family.model_type for family in FAMILIES.values()})
        raise UserError(f"config.json: model_type = {model_type} is none of {', '.join(known)}")
    is_gated = "gated" in str(theirs.get("feed_forward_proj", ""))
    same: list[PresetName] = [preset for preset in presets if PRESETS[preset].gated == is_gated]
    return (same or presets)[0]


def from_huggingface_config(theirs: Mapping[str, Any]) -> tuple[TransformerConfig, int]:
    """The Transformer that a `config.json` describes, with its layers as [encoder, decoder]; and its vocabulary's size.

    Raises:
        UserError: where it is none of the presets' classes, or differs from its preset, naming both values.
    """
    preset = _preset_of(theirs)
    family = FAMILIES[preset]
    rope = theirs.get("rope_parameters") or {}
    theirs = {**family.defaults, **(rope if isinstance(rope, dict) else {}), **theirs}
    for name in ("vocab_size", *(name for names in family.sizes.values() for name in names)):
        value = theirs.get(name)
        if (value is not None or name == "vocab_size") and (type(value) is not int or value < 0):
            raise UserError(f"config.json: {name} = {value!r:.60} must be a whole number")
    for name, value in family.fixed.items():
        if name in theirs and theirs[name] != value:
            raise UserError(
                f"config.json: {name} = {theirs[name]}, and {family.name} here has {value} (preset {preset})"
            )
    sizes: dict[str, Any] = {}
    for size, names in family.sizes.items():
        found = {theirs[name] for name in names if theirs.get(name) is not None}
        if len(found) > 1:
            raise UserError(f"config.json: {' and '.join(names)} differ ({found}), and are one here")
        sizes[size] = next(iter(found), None)
    encoder, decoder = sizes.pop("encoder_blocks", 0), sizes.pop("decoder_blocks", 0)
    if decoder is None:  # T5's, as deep as the encoder unless its depth is given
        decoder = encoder
    if sizes["feed_forward_width"] is None:  # GPT-2's
        sizes["feed_forward_width"] = 4 * sizes["width"]
    dropout = theirs.get(family.dropout[0], 0.0)
    if not isinstance(dropout, int | float):
        raise UserError(f"config.json: {family.dropout[0]} = {dropout!r:.60} must be a number")
    return TransformerConfig(preset=preset, layers=(encoder, decoder), dropout=float(dropout), **sizes), theirs[
        "vocab_size"
    ]
