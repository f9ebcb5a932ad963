"""A step of generation as a CUDA graph, launched at once: launching kernels one by one takes longer than they run.

Shapes: B rows, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from models.attention.cache import TransformerCache


class ReplayedStep:
    """Replays one step with a static cache; what it computes lies in the same memory every time.

    Args:
        step: [B, V] of int64[B, 1], which waits for nothing on the CPU; it is called thrice at first.
        cache: which the step reads and writes.
    """

    def __init__(self, step: Callable[[Tensor], Tensor], cache: TransformerCache) -> None:
        self.step, self.cache = step, cache
        self.graph: torch.cuda.CUDAGraph | None = None

    def _again(self, ids_B1: Tensor, length: int) -> Tensor:
        """The step at the same place as before."""
        assert self.cache.place_1 is not None
        self.cache.length = length
        self.cache.place_1.fill_(length)
        return self.step(ids_B1)

    def _capture(self, ids_B1: Tensor) -> None:
        length, stream = self.cache.length, torch.cuda.Stream()
        assert self.cache.place_1 is not None
        self.ids_B1, self.graph = ids_B1.clone(), torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what is compiled, or taken once, is not part of the graph
            for _ in range(2):
                self._again(self.ids_B1, length)
        torch.cuda.current_stream().wait_stream(stream)
        self.cache.length = length
        self.cache.place_1.fill_(length)
        with torch.cuda.graph(self.graph):
            self.logits_BV = self.step(self.ids_B1)
        self.cache.length = length

    def __call__(self, ids_B1: Tensor) -> Tensor:
        """[B, V], until the next call."""
        if self.graph is None:
            self._capture(ids_B1)
        assert self.graph is not None
        self.ids_B1.copy_(ids_B1)
        self.graph.replay()
        self.cache.length += 1
        return self.logits_BV
