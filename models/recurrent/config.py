"""The shape of a recurrent body."""

from dataclasses import dataclass
from typing import Literal

from common.errors import UserError
from common.ranges import Range, check_ranges, count
from models.presets import check_layers, share_out

Cell = Literal["lstm", "gru"]
RANGES = {
    "width": count(1 << 16),
    "max_positions": count(1 << 24),
    "dropout": Range(0, 1, high_open=True),
    "initial_bound": Range(0, 10, low_open=True),
    "forget_bias": Range(-100, 100),
}
RecurrentAttention = Literal["none", "bahdanau", "dot", "general", "concat"]


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Shape of a recurrent body: an encoder that reads in both directions, a decoder that reads from the left.

    Args:
        kind: names this class among the bodies.
        cell: LSTM (Hochreiter & Schmidhuber 1997), or GRU (Cho et al. 2014).
        width: D, width of the states; each direction of the encoder has half of it.
        layers: in all, which an encoder-decoder halves; or [encoder, decoder].
        attention: of a decoder beside an encoder: `bahdanau` scores by the state before the step, and its context
            enters the step (Bahdanau et al. 2015); `dot`, `general` and `concat` score by the state after it (Luong et
            al. 2015, 3.1); with `none` the encoder's last states, from which the decoder begins, are all it knows of
            the source.
        input_feeding: gives the attentional vector of each step to the next (Luong et al. 2015, 3.3).
        forget_bias: of an LSTM's forget gate at the beginning, in one of its two bias vectors.
        initial_bound: weights are drawn uniformly from this bound on both sides of 0.
        max_positions: longest sequence; by default what the window needs.
        dropout: rate before every layer and behind the last.
        document_masking: not to be had; `data.windows within_document` keeps documents apart.

    Raises:
        UserError: where numbers do not divide or lie outside their range.
    """

    kind: Literal["recurrent"] = "recurrent"
    cell: Cell = "lstm"
    width: int = 256
    layers: int | tuple[int, int] = 2
    attention: RecurrentAttention = "general"
    input_feeding: bool = True
    forget_bias: float = 1.0
    initial_bound: float = 0.1
    max_positions: int | None = None
    dropout: float = 0.0
    document_masking: bool = False

    def __post_init__(self) -> None:
        check_layers(self.layers)
        if self.width < 2 or self.width % 2:
            raise UserError(f"body.width = {self.width} must be even: each direction of an encoder has half of it")
        check_ranges("body.", RANGES, vars(self))
        if self.document_masking:
            raise UserError(
                "body.document_masking: the state of a recurrent body goes on through its window; set data.windows to "
                "within_document, so that a window holds one document"
            )

    def num_blocks(self, *, encoder: bool, decoder: bool) -> tuple[int, int]:
        """Layers of the encoder and of the decoder for an objective that needs these stacks.

        Raises:
            UserError: where `layers` cannot be shared out so.
        """
        return share_out(self.layers, encoder=encoder, decoder=decoder)
