"""A loss over ordinary tokens alone: sentinels and marks are learned earlier, and are no knowledge of the text."""

import math

import pytest

from data.stream.order import Purpose, generator
from evaluation.plateau import is_on_plateau, ordinary_loss
from objectives.core.base import Objective
from tests.evaluation.scorers import FAMILIES, WINDOW, run_of
from tests.helpers import make_windows
from tests.objectives.texts import VOCABULARY


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_mean_over_the_targets_that_are_ordinary_tokens(family: type[Objective]) -> None:
    """Of each target's own log probability, taken one window at a time; sentinels, marks and the end do not count."""
    run, windows = run_of(family), make_windows(VOCABULARY, documents=6, length=WINDOW)
    corrupt, ordinary = run.objective.corruption(VOCABULARY), set(VOCABULARY.ordinary.tolist())
    losses, others = [], 0
    for index in range(len(windows)):
        window = windows[index]
        batch = run.batch([window], [corrupt(window, generator(0, Purpose.DISPLAY, 0, window.index), windows)])
        prediction = run.objective.predictions(run.network, batch)[run.objective.token_term]
        logits = prediction.head(prediction.states_ND).log_softmax(dim=-1)
        for row, label in enumerate(prediction.labels.ids_N.tolist()):
            if label in ordinary:
                losses.append(-float(logits[row, label]))
            else:
                others += 1
    assert len(windows) < 64
    assert ordinary_loss(run, windows) == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert others > 0 or family.__name__ == "MaskedLM"


def test_a_run_rests_on_the_plateau_until_its_loss_is_clearly_below_the_unigram_entropy() -> None:
    assert is_on_plateau(6.58, 6.58)
    assert is_on_plateau(7.9, 6.58)
    assert is_on_plateau(6.45, 6.58)
    assert not is_on_plateau(6.3, 6.58)
    assert not is_on_plateau(math.log(2), 6.58)
