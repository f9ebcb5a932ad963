"""What the maps of all families are made of: pairs of modules, each with the parameters that such a module has."""

from collections.abc import Iterator

from models.huggingface.entry import WeightEntry
from models.presets import TransformerConfig


class FamilyMap:
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
