"""How masked diffusion generates: from the joint distribution, one token a pass or several."""

from collections import Counter

import numpy as np
import torch

from models.generation.decoding import Decoding
from objectives.inference.unmask import passes
from tests.objectives.perfect import (
    LIKELY,
    TEXTS,
    L,
    V,
    posterior,
)
from tests.objectives.texts import assert_distributed

# --- generating ---


def toy_logits(tokens_BN: torch.Tensor) -> torch.Tensor:
    """[B, N, V + 1], of a perfect predictor of the toy texts; the last token is the mask."""
    rows = []
    for row in tokens_BN.tolist():
        visible = {place: token for place, token in enumerate(row) if token != V}
        rows.append([[*np.log(np.maximum(posterior(visible, place), 1e-300)), -np.inf] for place in range(L)])
    return torch.tensor(rows, dtype=torch.float64, device="cpu")


def test_n38_one_random_token_a_pass_draws_from_the_joint_distribution() -> None:
    decoding = Decoding(temperature=1.0, order="random")
    *_, drawn = passes(toy_logits, L, decoding, samples=3000, mask=V, seed=0)
    counts = Counter(map(tuple, drawn.tolist()))
    found = np.array([counts[tuple(text)] for text in TEXTS.tolist()])
    common = LIKELY * 3000 > 6
    rest = [
        found[~common].sum() + found[common][0],
        LIKELY[~common].sum() + LIKELY[common][0],
    ]  # the rare ones together
    assert_distributed([rest[0], *found[common][1:]], np.array([rest[1], *LIKELY[common][1:]]))


def test_the_most_confident_are_filled_first_and_steps_share_them_evenly() -> None:
    seen: list[list[int]] = []

    def logits_of(tokens_BN: torch.Tensor) -> torch.Tensor:
        seen.append(tokens_BN[0].tolist())
        confidence = torch.tensor([1.0, 3.0, 2.0, 0.5], dtype=torch.float64, device="cpu")
        return torch.stack([confidence, torch.zeros(4), -torch.ones(4)], dim=1)[None]

    list(passes(logits_of, 4, Decoding(), samples=1, mask=9, seed=0))
    assert seen == [[9, 9, 9, 9], [9, 0, 9, 9], [9, 0, 0, 9], [0, 0, 0, 9]]
    seen.clear()
    *_, filled = passes(logits_of, 4, Decoding(steps=2), samples=1, mask=9, seed=0)
    assert seen == [[9, 9, 9, 9], [9, 0, 0, 9]]
    assert filled.tolist() == [[0, 0, 0, 0]]
