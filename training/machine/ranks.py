"""What the processes of a run have in common: what the first one decides for all, and what each has a part of."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed import DistError, TCPStore  # pyright: ignore[reportPrivateImportUsage]

from common.errors import MachineError

WAIT = timedelta(minutes=3)  # for the first process to begin: its imports alone can take a minute on a shared disk
_STORES: list[TCPStore] = []  # kept open: the process group takes the same port, and the same server


def _environment() -> ClusterEnvironment:
    """What knows this process's place in a run of several, as Lightning finds it."""
    for kind in (SLURMEnvironment, TorchElasticEnvironment):
        if kind.detect():
            return kind()
    return LightningEnvironment()


def agreed(name: str, decide: Callable[[], str], *, devices: int, num_nodes: int) -> str:
    """What `decide` returns in the first process, in every process of the run.

    The others wait for it, and it for none of them, since some are started by it. The decision passes through the store
    at MASTER_ADDR and MASTER_PORT, by which the process group is made afterwards.

    Args:
        name: of the decision; no other has it.
        decide: is called in the first process alone.
        devices: processes of each machine.
        num_nodes: machines.

    Raises:
        MachineError: in another process, where the first one has ended before it decided, or was never started.
    """
    if devices * num_nodes == 1:
        return decide()
    environment = _environment()
    rank = environment.node_rank() * devices + environment.local_rank()
    address, port = environment.main_address, environment.main_port
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address, str(port)  # for processes that Lightning starts
    has_server = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun's
    is_master = rank == 0 and not has_server
    try:
        store = TCPStore(
            address, port, is_master=is_master, timeout=WAIT, wait_for_workers=False, multi_tenant=not has_server
        )
        _STORES.append(store)
        key = f"objective-lab/{name}/{len(_STORES)}"  # of the same number in every process: all run the same commands
        if rank == 0:
            store.set(key, decide())
        return store.get(key).decode()
    except DistError as error:
        if rank == 0:
            raise MachineError(f"MASTER_PORT = {port} cannot be listened at: name a port that is free") from error
        raise MachineError(
            f"the first process of the run does not answer at {address}:{port} (MASTER_ADDR, MASTER_PORT) within "
            f"{WAIT.total_seconds():.0f} s: what ended it stands in its own output"
        ) from error


def of_all_processes(here: dict[int, Any]) -> dict[int, Any]:
    """The items of all processes, by the numbers that each has its own of; the same in every process."""
    if not torch.distributed.is_initialized():
        return here
    found: list[dict[int, Any]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(found, here)
    return {number: item for part in found for number, item in part.items()}
