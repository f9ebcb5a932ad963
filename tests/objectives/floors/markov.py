"""A source of text whose every probability is known: a Markov chain of order 1, and what can be inferred of its text.

Shapes: V tokens, W places of a window, P ways in which a window may have come to be read as it is.
"""

from bisect import bisect
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.random import Generator


class Ways(NamedTuple):
    """All ways in which a window may have come to be read as it is; places and tokens are the window's own.

    Attributes:
        probabilities_P: of the draws that make each way, whatever the text.
        likelihoods_PWV: probability of what is read, by what token the window holds at each place; 1 everywhere where
            it is hidden, and 1 for a single token where it is shown.
        asked_PW: where something is hidden, or a label stands, in each way.
    """

    probabilities_P: np.ndarray
    likelihoods_PWV: np.ndarray
    targets_PW: np.ndarray

    def given(self, text_W: np.ndarray) -> np.ndarray:
        """float64[P], probability that a text is read so, in each way."""
        return self.probabilities_P * self.likelihoods_PWV[:, np.arange(len(text_W)), text_W].prod(axis=1)

    def hiding(self, hidden_W: np.ndarray) -> "Ways":
        """Those ways alone that hide just these places."""
        chosen_P = (self.targets_PW == hidden_W).all(axis=1)
        return Ways(self.probabilities_P[chosen_P], self.likelihoods_PWV[chosen_P], self.targets_PW[chosen_P])


@dataclass(frozen=True, kw_only=True, eq=False)
class MarkovChain:
    """Each token follows from the one before it alone; the first is drawn from the stationary distribution.

    Attributes:
        transition_VV: probability of a token (column) behind another (row).
        stationary_V: share of each token in a long text.
    """

    transition_VV: np.ndarray
    stationary_V: np.ndarray

    @classmethod
    def random(cls, num_tokens: int, *, seed: int, concentration: float = 0.5) -> Self:
        """Rows drawn from a symmetric Dirichlet distribution: the smaller its concentration, the more a token says."""
        rows = np.random.default_rng(seed).dirichlet(np.full(num_tokens, concentration), size=num_tokens)
        stationary = np.linalg.matrix_power(rows, 1 << 20)[0]
        return cls(transition_VV=rows, stationary_V=stationary / stationary.sum())

    def sample(self, length: int, rng: Generator) -> np.ndarray:
        """int64[length], a text."""
        cumulative_VV = self.transition_VV.cumsum(axis=1)[:, :-1].tolist()  # the last is 1 but for rounding
        text = [bisect(self.stationary_V.cumsum()[:-1].tolist(), rng.random())]
        for draw in rng.random(length - 1).tolist():
            text.append(bisect(cumulative_VV[text[-1]], draw))
        return np.array(text)

    def log_probability(self, text_W: np.ndarray, *, previous: int | None = None) -> float:
        """Logarithm of p(text), or of p(text | the token before it)."""
        first_V = self.stationary_V if previous is None else self.transition_VV[previous]
        return float(np.log(first_V[text_W[0]]) + np.log(self.transition_VV[text_W[:-1], text_W[1:]]).sum())

    def _forward(self, likelihoods_PWV: np.ndarray) -> np.ndarray:
        """[P, W, V], joint probability of a place's token and all that is read up to there."""
        forward_PWV = np.empty_like(likelihoods_PWV)
        expected_PV = np.broadcast_to(self.stationary_V, likelihoods_PWV[:, 0].shape)
        for place in range(likelihoods_PWV.shape[1]):
            forward_PWV[:, place] = expected_PV * likelihoods_PWV[:, place]
            expected_PV = forward_PWV[:, place] @ self.transition_VV
        return forward_PWV

    def _backward(self, likelihoods_PWV: np.ndarray) -> np.ndarray:
        """[P, W, V], probability of all that is read behind a place, by its token."""
        backward_PWV = np.ones_like(likelihoods_PWV)
        for place in range(likelihoods_PWV.shape[1] - 2, -1, -1):
            behind_PV = likelihoods_PWV[:, place + 1] * backward_PWV[:, place + 1]
            backward_PWV[:, place] = behind_PV @ self.transition_VV.T
        return backward_PWV

    def evidence(self, ways: Ways) -> np.ndarray:
        """float64[P], probability of what is read, in each way, over all texts."""
        return ways.probabilities_P * self._forward(ways.likelihoods_PWV)[:, -1].sum(axis=1)

    def log_posterior(self, ways: Ways, text_W: np.ndarray, *, hidden_W: np.ndarray | None = None) -> float:
        """Logarithm of p(text | what is read), or of p(text, places that are hidden | what is read).

        By the chain rule it is what saying all of it takes, token after token.
        """
        shown_ways = ways if hidden_W is None else ways.hiding(hidden_W)
        read = float(np.log(self.evidence(ways).sum()))
        return self.log_probability(text_W) + float(np.log(shown_ways.given(text_W).sum())) - read

    def marginals(self, ways: Ways) -> np.ndarray:
        """[W, V], p(token | what is read, and that there is a label at its place), each place for itself.

        Forward-backward within each way; a row whose place is asked for in none is not a number.
        """
        joint_PWV = self._forward(ways.likelihoods_PWV) * self._backward(ways.likelihoods_PWV)
        joint_WV = np.einsum("p,pwv,pw->wv", ways.probabilities_P, joint_PWV, ways.targets_PW.astype(np.float64))
        with np.errstate(invalid="ignore"):
            return joint_WV / joint_WV.sum(axis=1, keepdims=True)
