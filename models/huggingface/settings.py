"""Hugging Face's `config.json` and ours, in both directions by the table of families."""

from collections.abc import Mapping
from typing import Any

from common.errors import UserError
from models.huggingface.families import FAMILIES, RELATIVES, Family
from models.presets import PRESETS, PresetName, TransformerConfig


def family_of(config: TransformerConfig, num_blocks: tuple[int, int]) -> Family:
    """The class that a Transformer is, unless its objective makes it another: of `lab`, an encoder or a decoder."""
    if config.preset == "lab" and num_blocks[0] and not num_blocks[1]:
        return RELATIVES["EuroBertForMaskedLM"]
    return FAMILIES[config.preset]


def family_named(name: str) -> Family:
    """The class of that name, for an encoder where it is one on both sides.

    Raises:
        UserError: where there is none.
    """
    known = {**{family.name: family for family in FAMILIES.values()}, **RELATIVES}
    if name not in known:
        raise UserError(f"'{name}' is none of the classes of transformers that are known here: {', '.join(known)}")
    return known[name]


def check_representable(config: TransformerConfig, num_blocks: tuple[int, int], family: Family | None = None) -> None:
    """Raises UserError, with the reason, where the class of transformers, by default its preset's, is another model."""
    family = family or family_of(config, num_blocks)
    if family.preset not in (None, config.preset):
        raise UserError(f"body.preset = {config.preset}, and {family.name} is body.preset = {family.preset}")
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
    if "embedding_width" not in family.sizes and config.width_of_embeddings != config.width:
        raise UserError(
            f"body.embedding_width = {config.width_of_embeddings}, and {family.name}'s is body.width = {config.width}"
        )
    _check_sharing(config, num_blocks[0], family)
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


def _check_sharing(config: TransformerConfig, depth: int, family: Family) -> None:
    """Raises UserError where layers share weights as the class's do not."""
    groups = config.share_layers
    if "share_layers" not in family.sizes:
        if groups is not None:
            raise UserError(f"body.share_layers = {groups}, and the layers of {family.name} share no weights")
        return
    groups = groups or depth
    if any(int(layer / (depth / groups)) != layer * groups // depth for layer in range(depth)):
        raise UserError(
            f"body.share_layers = {groups} of {depth} layers: {family.name} rounds the number of a layer's group in "
            f"floating point, and puts one of them into another group"
        )


def to_huggingface_config(
    config: TransformerConfig,
    num_blocks: tuple[int, int],
    *,
    vocab_size: int,
    max_positions: int,
    family: Family | None = None,
) -> dict[str, Any]:
    """The content of `config.json`, but for the ids of special tokens; of `family`, by default the preset's.

    Raises:
        UserError: where no class of transformers is this Transformer.
    """
    family = family or family_of(config, num_blocks)
    check_representable(config, num_blocks, family)
    ours = {
        "embedding_width": config.width_of_embeddings,
        "share_layers": config.share_layers or num_blocks[0],
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


def read_family(theirs: Mapping[str, Any]) -> tuple[PresetName, Family]:
    """The class that a `config.json` names, and the preset that it is here.

    Raises:
        UserError: where it is none.
    """
    model_type = theirs.get("model_type")
    relatives = [family for family in RELATIVES.values() if family.model_type == model_type]
    for family in relatives:
        if family.marker is None or theirs.get(family.marker[0]) == family.marker[1]:
            assert family.preset is not None
            return family.preset, family
    presets: list[PresetName] = [preset for preset, family in FAMILIES.items() if family.model_type == model_type]
    if presets:
        is_gated = "gated" in str(theirs.get("feed_forward_proj", ""))
        same: list[PresetName] = [preset for preset in presets if PRESETS[preset].gated == is_gated]
        preset = (same or presets)[0]
        return preset, FAMILIES[preset]
    if relatives and relatives[0].preset is not None:  # of a body alone
        return relatives[0].preset, relatives[0]
    known = sorted({family.model_type for family in (*FAMILIES.values(), *RELATIVES.values())})
    raise UserError(f"config.json: model_type = {model_type} is none of {', '.join(known)}")


def from_huggingface_config(theirs: Mapping[str, Any]) -> tuple[TransformerConfig, int]:
    """The Transformer that a `config.json` describes, with its layers as [encoder, decoder]; and its vocabulary's size.

    Raises:
        UserError: where it is none of the presets' classes, or differs from its preset, naming both values.
    """
    preset, family = read_family(theirs)
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
    try:
        config = TransformerConfig(preset=preset, layers=(encoder, decoder), dropout=float(dropout), **sizes)
    except UserError as error:  # of our settings, of which the user wrote none
        raise UserError(f"config.json: {error}") from None
    return config, theirs["vocab_size"]
