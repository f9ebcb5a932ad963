"""Whether a run has learned more than how frequent tokens are.

Sentinels, marks and the end token are learned earlier and do not count: a loss that fell by them alone is still that of
a model that knows nothing of what follows what.
"""

import numpy as np
import torch

from data.stream.order import Purpose, generator
from data.stream.windows import Windows
from objectives.weights.load import TrainedRun
from training.monitoring.display import PLATEAU

WINDOWS = 64  # held out, evenly spread: some thousand targets
AT_ONCE = 16


@torch.no_grad()
def ordinary_loss(run: TrainedRun, windows: Windows) -> float | None:
    """Nats a target of ordinary tokens on held-out windows, under noise that is the same for every run.

    None where the token term has no such targets, or its head predicts no tokens.
    """
    corrupt, number = run.objective.corruption(run.vocabulary), min(WINDOWS, len(windows))
    chosen = [windows[index * len(windows) // number] for index in range(number)]
    is_ordinary = torch.zeros(run.vocabulary.size, dtype=torch.bool, device="cpu")
    is_ordinary[torch.from_numpy(np.asarray(run.vocabulary.ordinary, dtype=np.int64))] = True
    total, count = 0.0, 0
    for start in range(0, number, AT_ONCE):
        some = chosen[start : start + AT_ONCE]
        examples = [corrupt(one, generator(0, Purpose.DISPLAY, 0, one.index), windows) for one in some]
        prediction = run.objective.predictions(run.network, run.batch(some, examples))[run.objective.token_term]
        kept = is_ordinary[prediction.labels.ids_N]
        logits_NV = prediction.head(prediction.states_ND[kept]).float()
        if logits_NV.shape[-1] != run.vocabulary.size:
            return None
        total += float(torch.nn.functional.cross_entropy(logits_NV, prediction.labels.ids_N[kept], reduction="sum"))
        count += int(kept.sum())
    return total / count if count else None


def is_on_plateau(loss: float, unigram_entropy: float) -> bool:
    """Whether a loss over ordinary tokens shows no more than their frequencies."""
    return loss > (1 - PLATEAU) * unigram_entropy
