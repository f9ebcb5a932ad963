"""What every process predicted of a split, brought together."""

from typing import Any

import torch.distributed


def of_all_processes(here: dict[int, Any]) -> dict[int, Any]:
    """The items of all processes, by the numbers that each has its own of; the same in every process."""
    if not torch.distributed.is_initialized():
        return here
    found: list[dict[int, Any]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(found, here)
    return {number: item for part in found for number, item in part.items()}
