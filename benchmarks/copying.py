"""What a body remembers of a source: texts of random tokens are copied, and the share that comes back whole, by length.

    python -m benchmarks.copying
    python -m benchmarks.copying --bodies none general --seeds 0 1 2

A context vector (Sutskever et al. 2014, arXiv 1409.3215) has as much room for a long text as for a short one; attention
(Bahdanau et al. 2015, 1409.0473; Luong et al. 2015, 1508.04025) looks at the source again for every token. Nothing is
to be translated or known, so that nothing but memory is measured. Every body is trained from random weights on new
texts in every step, and reads its own target's beginning (teacher forcing).
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from evaluation.statistics.intervals import SeedScores, estimate
from models.bodies.make import BodyConfig, make_body
from models.body import Inputs
from models.presets import TransformerConfig
from models.recurrent.config import RecurrentConfig
from models.transformer.initialisation import initialise
from training.monitoring.tables import plain_table

PAD, START, END, FIRST, VOCABULARY = 0, 1, 2, 3, 30
SHORTEST, LONGEST = 2, 20  # tokens of a text
RANGES = ((2, 5), (6, 10), (11, 15), (16, 20))
WIDTH, ROWS, TEST_ROWS = 64, 32, 1024
SHARED = {"width": WIDTH, "layers": (1, 1)}
BODIES: dict[str, BodyConfig] = {
    "none": RecurrentConfig(attention="none", **SHARED),
    "bahdanau": RecurrentConfig(cell="gru", attention="bahdanau", **SHARED),
    "general": RecurrentConfig(attention="general", input_feeding=False, **SHARED),
    "transformer": TransformerConfig(num_heads=4, **SHARED),
}


def texts(generator: torch.Generator, rows: int) -> tuple[Inputs, Tensor, Tensor]:
    """Random texts, their targets int64[rows, length + 1] with -100 in padding, and their lengths."""
    lengths_B = torch.randint(SHORTEST, LONGEST + 1, (rows,), generator=generator)
    places, ids_BS = torch.arange(LONGEST), torch.randint(FIRST, VOCABULARY, (rows, LONGEST), generator=generator)
    ids_BS[places >= lengths_B[:, None]] = PAD
    targets_BT = F.pad(ids_BS, (0, 1))
    targets_BT[torch.arange(rows), lengths_B] = END
    targets_BT[torch.arange(LONGEST + 1) > lengths_B[:, None]] = -100
    read_BT = F.pad(ids_BS, (1, 0), value=START)
    inputs = Inputs(
        encoder_ids_BS=ids_BS, encoder_lengths_B=lengths_B, decoder_ids_BT=read_BT, decoder_lengths_B=lengths_B + 1
    )
    return inputs, targets_BT, lengths_B


def copied(config: BodyConfig, *, seed: int, steps: int, rate: float) -> list[np.ndarray]:
    """For each range of lengths whether each test text came back whole, after so many steps."""
    body = make_body(config, num_blocks=(1, 1), vocab_size=VOCABULARY, max_positions=LONGEST + 1)
    initialise(body, seed)
    optimizer = torch.optim.AdamW(body.parameters(), betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1, anneal_strategy="linear")
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        inputs, targets_BT, _ = texts(generator, ROWS)
        loss = F.cross_entropy(body.logits(body(inputs).flatten(0, 1)), targets_BT.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(body.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    inputs, targets_BT, lengths_B = texts(torch.Generator().manual_seed(1 << 20), TEST_ROWS)
    with torch.no_grad():
        found_BT = body.logits(body.eval()(inputs).flatten(0, 1)).argmax(dim=-1).view(targets_BT.shape)
    is_whole_B = ((found_BT == targets_BT) | (targets_BT < 0)).all(dim=1)
    return [is_whole_B[(lengths_B >= low) & (lengths_B <= high)].double().numpy() for low, high in RANGES]


def interval_of(scores: Sequence[np.ndarray]) -> str:
    """The mean over seeds in %, with its 95 % interval as far as a share can lie in it."""
    values = np.stack(scores)
    found = estimate(SeedScores(seeds=tuple(range(len(values))), values=values, strata=("all",) * values.shape[1]))
    around = found.interval()
    ends = f" [{max(0.0, 100 * around[0]):.1f}, {min(100.0, 100 * around[1]):.1f}]" if around else ""
    return f"{100 * found.mean:.1f}{ends}"


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", nargs="+", choices=[*BODIES], default=[*BODIES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--rate", type=float, default=4e-3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = plain_table("body", *(f"{low} to {high} tokens, %" for low, high in RANGES))
    for name in options.bodies:
        by_seed = [copied(BODIES[name], seed=seed, steps=options.steps, rate=options.rate) for seed in options.seeds]
        table.add_row(name, *(interval_of(of_range) for of_range in zip(*by_seed, strict=True)))
    Console(highlight=False, width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
