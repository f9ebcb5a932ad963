"""The supported combinations of parts: one for equal ground, and one for each Hugging Face class represented here."""

from dataclasses import dataclass, replace
from typing import Literal

from common.errors import UserError
from common.ranges import Range, check_ranges, count

PresetName = Literal["lab", "bert", "albert", "gpt2", "bart", "t5", "t5_v1_1"]
PositionKind = Literal["learned", "sinusoidal", "relative", "rotary"]
Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]
Initialisation = Literal["normal", "scaled_residuals", "t5"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Which parts a Transformer is made of.

    Args:
        norm, norm_epsilon: LayerNorm with bias, or RMSNorm without.
        norm_first: norms stand before attention and feed-forward, and once behind the stack; else behind each sum.
        embedding_norm: a norm behind the sum of the embeddings.
        positions: how positions are encoded.
        num_segments: token types that the encoder has embeddings for.
        activation, gated: of the feed-forward; a gated one multiplies by a second projection.
        biases: whether projections have biases.
        scaled_scores: whether attention scores are divided by the root of the head width.
        tied: whether the head uses the token embeddings.
        scaled_logits: whether states are divided by the root of the width before the head.
        head_transform, head_bias: a dense layer, activation and norm before the head; a bias for each token.
        inner_dropout: whether dropout stands within the feed-forward and behind the stack as well.
        attention_dropout: whether dropout stands on attention weights as well.
        initialisation: rule of models/transformer/initialisation.py.
    """

    norm: Literal["layer", "rms"]
    norm_epsilon: float
    norm_first: bool
    embedding_norm: bool = False
    positions: PositionKind
    num_segments: int = 0
    activation: Activation
    gated: bool = False
    biases: bool
    scaled_scores: bool = True
    tied: bool = True
    scaled_logits: bool = False
    head_transform: bool = False
    head_bias: bool = False
    inner_dropout: bool = False
    attention_dropout: bool = True
    initialisation: Initialisation


PRESETS: dict[PresetName, Preset] = {
    # Equal ground: exactly Llama's Block (pre-norm RMSNorm, rotary positions, gated feed-forward, no biases). It is
    # what new models of every kind use today, it favours none of the four papers, it has no position table that ties
    # an arm to a length, and a decoder-only arm converts to LlamaForCausalLM.
    "lab": Preset(
        norm="rms",
        norm_epsilon=1e-6,
        norm_first=True,
        positions="rotary",
        activation="silu",
        gated=True,
        biases=False,
        initialisation="scaled_residuals",
    ),
    # BertForPreTraining. Devlin et al. 2019 used the tanh form of GELU; Hugging Face and its weights use the exact one.
    "bert": Preset(
        norm="layer",
        norm_epsilon=1e-12,
        norm_first=False,
        embedding_norm=True,
        positions="learned",
        num_segments=2,
        activation="gelu",
        biases=True,
        head_transform=True,
        head_bias=True,
        initialisation="normal",
    ),
    # GPT2LMHeadModel
    "gpt2": Preset(
        norm="layer",
        norm_epsilon=1e-5,
        norm_first=True,
        positions="learned",
        activation="gelu_tanh",
        biases=True,
        initialisation="scaled_residuals",
    ),
    # BartForConditionalGeneration, whose position tables begin with two rows that nothing reads.
    "bart": Preset(
        norm="layer",
        norm_epsilon=1e-5,
        norm_first=False,
        embedding_norm=True,
        positions="learned",
        activation="gelu",
        biases=True,
        head_bias=True,
        attention_dropout=False,
        initialisation="normal",
    ),
    # T5ForConditionalGeneration as in the paper
    "t5": Preset(
        norm="rms",
        norm_epsilon=1e-6,
        norm_first=True,
        positions="relative",
        activation="relu",
        biases=False,
        scaled_scores=False,
        scaled_logits=True,
        inner_dropout=True,
        initialisation="t5",
    ),
    # T5ForConditionalGeneration, version 1.1: gated, and a head of its own
    "t5_v1_1": Preset(
        norm="rms",
        norm_epsilon=1e-6,
        norm_first=True,
        positions="relative",
        activation="gelu_tanh",
        gated=True,
        biases=False,
        scaled_scores=False,
        tied=False,
        inner_dropout=True,
        initialisation="t5",
    ),
}
# AlbertForPreTraining: BERT's with the other GELU; its layers share weights where `share_layers` is set.
PRESETS["albert"] = replace(PRESETS["bert"], activation="gelu_tanh")


LAYERS = count(4096)
RANGES = {
    "width": count(1 << 16),
    "num_heads": count(1 << 16),
    "num_key_value_heads": count(1 << 16),
    "head_width": count(1 << 16),
    "feed_forward_width": count(1 << 20),
    "max_positions": count(1 << 24),
    "embedding_width": count(1 << 16),
    "share_layers": LAYERS,
    "dropout": Range(0, 1, high_open=True),
}


def check_layers(layers: int | tuple[int, int]) -> None:
    """Raises UserError where that is no number of layers; an encoder-decoder may lack one of its two stacks."""
    depths = layers if isinstance(layers, tuple) else (layers,)
    if (sum(depths) if min(depths) >= 0 else -1) not in LAYERS:
        raise UserError(f"body.layers = {layers} {LAYERS}")


def share_out(layers: int | tuple[int, int], *, encoder: bool, decoder: bool) -> tuple[int, int]:
    """Layers of an encoder and of a decoder, from `body.layers`: both of them, or how many there are in all.

    Raises:
        UserError: where they cannot be shared out so.
    """
    if isinstance(layers, tuple):
        if (layers[0] > 0, layers[1] > 0) != (encoder, decoder):
            wanted = " and ".join(["an encoder"] * encoder + ["a decoder"] * decoder)
            raise UserError(f"body.layers = {list(layers)}, but this objective needs {wanted} alone")
        return layers
    if not (encoder and decoder):
        return layers * encoder, layers * decoder
    if layers < 2:
        raise UserError(f"body.layers = {layers} must be at least 2 for an encoder and a decoder")
    return layers - layers // 2, layers // 2


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Shape of the shared Transformer; what parts it has is the preset's.

    Args:
        preset: `lab` for equal ground, or the family whose Hugging Face class is represented exactly.
        width: D, width of the states.
        layers: blocks in all, which an encoder-decoder halves ("P", the parameters of the other arms); or [encoder,
            decoder], such as [4, 4] for "2P".
        num_heads: query heads of an attention.
        num_key_value_heads: key and value heads; num_heads by default, fewer for grouped-query, 1 for multi-query.
        head_width: width of a head; width / num_heads by default.
        feed_forward_width: width within the feed-forward; by default 4 x width, or, where it is gated, 8/3 x width
            rounded up to a multiple of 64.
        max_positions: longest sequence; by default what the window needs.
        embedding_width: E, width of the tables of tokens, positions and segments; by default `width`. Another one is
            projected to the width behind the embeddings and back before a tied head (ALBERT: Lan et al. 2020, 3.1).
        share_layers: G, groups of layers that share weights: layer i of L has those of group i · G // L (ALBERT: 1);
            null shares none.
        positions: overrides the preset's positions: learned, sinusoidal, relative (T5's) or rotary.
        dropout: rate everywhere the preset has dropout.
        document_masking: keeps the documents of a window apart: attention never crosses from one to another, and
            positions begin anew.

    Raises:
        UserError: where numbers do not divide or lie outside their range.
    """

    preset: PresetName = "lab"
    width: int = 256
    layers: int | tuple[int, int] = 4
    num_heads: int = 4
    num_key_value_heads: int | None = None
    head_width: int | None = None
    feed_forward_width: int | None = None
    max_positions: int | None = None
    embedding_width: int | None = None
    share_layers: int | None = None
    positions: PositionKind | None = None
    dropout: float = 0.0
    document_masking: bool = False

    def __post_init__(self) -> None:
        check_layers(self.layers)
        check_ranges("body.", RANGES, vars(self))
        if self.head_width is None and self.width % self.num_heads:
            raise UserError(
                f"body.width = {self.width} does not divide into body.num_heads = {self.num_heads}; "
                f"choose a multiple, or set body.head_width"
            )
        if self.num_key_value_heads and self.num_heads % self.num_key_value_heads:
            raise UserError(
                f"body.num_heads = {self.num_heads} does not divide into body.num_key_value_heads = "
                f"{self.num_key_value_heads}"
            )
        if self.parts.positions == "rotary" and self.width_of_head % 2:
            raise UserError(f"body.positions: rotary positions need an even head width, not {self.width_of_head}")

    @property
    def parts(self) -> Preset:
        """The preset, with the positions that override its own."""
        preset = PRESETS[self.preset]
        return replace(preset, positions=self.positions) if self.positions else preset

    @property
    def width_of_embeddings(self) -> int:
        return self.embedding_width or self.width

    @property
    def width_of_head(self) -> int:
        return self.head_width or self.width // self.num_heads

    @property
    def key_value_heads(self) -> int:
        return self.num_key_value_heads or self.num_heads

    @property
    def width_of_feed_forward(self) -> int:
        if self.feed_forward_width:
            return self.feed_forward_width
        return -(-8 * self.width // (3 * 64)) * 64 if self.parts.gated else 4 * self.width

    def num_blocks(self, *, encoder: bool, decoder: bool) -> tuple[int, int]:
        """Blocks of the encoder and of the decoder for an objective that needs these stacks.

        Raises:
            UserError: where `layers` cannot be shared out so.
        """
        return share_out(self.layers, encoder=encoder, decoder=decoder)
