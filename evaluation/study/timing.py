"""How long a training step takes here: a few real ones, before the study is trained."""

import time

import torch

from common.errors import MachineError
from data.datamodule import DataModule, MixedCorruptor
from data.stream.collate import collate
from data.stream.order import Purpose, generator
from objectives.core.pretraining import Pretraining

STEPS = 4  # at most, of which the fastest counts: others may be busy on this machine meanwhile
SECONDS = 5.0  # after which no further step is begun


def seconds_of_a_step(module: Pretraining, data: DataModule, *, device: torch.device, precision: str) -> float | None:
    """Seconds of an optimizer step of a built module; None where it cannot be measured in this way.

    Forward and backward passes over one micro-batch, times their number, and the update. The module's weights change.
    """
    objective, windows = module.objective, data.training_windows
    if isinstance(objective, MixedCorruptor):
        return None
    size = data.micro_batch_size or data.batch_size
    corrupt, chosen = objective.corruption(data.vocabulary), [windows[index % len(windows)] for index in range(size)]
    examples = [corrupt(one, generator(0, Purpose.DISPLAY, 0, one.index), windows) for one in chosen]
    lengths, apart = objective.max_lengths(data.window), objective.keep_documents_apart
    batch = collate(chosen, examples, pad=data.vocabulary.pad, max_lengths=lengths, keep_documents_apart=apart)
    batch, best, began = batch.to(device), float("inf"), time.perf_counter()
    module.to(device).train()
    optimizer = module.make_optimizer()
    try:
        with torch.random.fork_rng():
            for _ in range(STEPS):
                before = time.perf_counter()
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled="bf16" in precision):
                    terms = module.terms(batch, count_correct=False)
                    loss = torch.stack([term.minimised_sum / max(term.divisor, 1) for term in terms.values()]).sum()
                loss.backward()
                passes = time.perf_counter() - before
                optimizer.step()
                optimizer.zero_grad()
                loss.item()  # waits for the device
                best = min(best, time.perf_counter() - before + passes * (data.batch_size // size - 1))
                if time.perf_counter() - began > SECONDS:
                    break
    except (MachineError, torch.OutOfMemoryError):
        return None
    return best
