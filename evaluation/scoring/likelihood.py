"""How likely a run finds texts: its objective's examples, side by side, and the log-probabilities of their labels.

Which examples a text makes is the objective's to decide (objectives/inference/likelihood.py); nothing here knows which
objective it is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F

from common.errors import UserError
from data.stream.batch import IGNORE, Example
from data.stream.windows import Window
from objectives.core.strategy import Scorer
from objectives.inference.likelihood import document
from objectives.weights.load import TrainedRun

Precision = Literal["float32", "bfloat16"]
POSITIONS_AT_ONCE = {"cpu": 2_048}  # of a batch; more of them fall out of a CPU's caches
POSITIONS_AT_ONCE_ON_A_GPU = 65_536
LOGITS_AT_ONCE = 1 << 26
POSITIONS_WORTH_A_BATCH = 512  # fewer are joined by rows of other lengths, at the price of padding


class PrefixedTokens(NamedTuple):
    """A text as int64 ids, and what stands before it, which is given."""

    text: np.ndarray
    prefix: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Likelihoods:
    """What was found, by text.

    Attributes:
        log_likelihoods: float64[texts], nats.
        tokens: int64[texts], how many were predicted.
        are_likeliest: bool[texts], whether each of them was the likeliest of all tokens.
        are_longer: bool[texts], whether they and what stood before took more positions than a window does.
        standard_errors: float64[texts], nats, of log-likelihoods that are estimated from draws; 0 where they are exact.
    """

    log_likelihoods: np.ndarray
    tokens: np.ndarray
    are_likeliest: np.ndarray
    are_longer: np.ndarray
    standard_errors: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One behind the other."""
        return cls(
            **{part.name: np.concatenate([getattr(found, part.name) for found in parts]) for part in fields(cls)}
        )


class Row(NamedTuple):
    """One example of a text: the number of the text, the text as a window, and the example."""

    owner: int
    window: Window
    example: Example

    @property
    def shape(self) -> tuple[int, int]:
        """Positions of the decoder and of the encoder."""
        decoder_ids, encoder_ids = self.example.decoder_ids, self.example.encoder_ids
        return (0 if decoder_ids is None else len(decoder_ids), 0 if encoder_ids is None else len(encoder_ids))


def side_by_side(rows: Sequence[Row], term: str, *, positions: int, labels: int) -> Iterator[list[Row]]:
    """Rows in batches of so many positions and labels at most, or of one row.

    Rows of one shape need neither padding nor masks, so shapes are mixed only where rows of one are few.
    """
    batch: list[Row] = []
    num_labels = 0
    for row in sorted(rows, key=lambda row: row.shape):
        size, num = sum(row.shape), int((row.example.labels[term] != IGNORE).sum())
        if batch:
            is_full = (len(batch) + 1) * size > positions or num_labels + num > labels
            before = batch[-1].shape
            if is_full or (row.shape != before and len(batch) * sum(before) >= POSITIONS_WORTH_A_BATCH):
                yield batch
                batch, num_labels = [], 0
        batch.append(row)
        num_labels += num
    if batch:
        yield batch


def score(
    run: TrainedRun,
    scorer: Scorer,
    texts: Sequence[PrefixedTokens],
    *,
    precision: Precision = "float32",
    positions_at_once: int | None = None,
    advance: Callable[[float], None] = lambda texts: None,
) -> Likelihoods:
    """What a scorer of the run's objective finds of texts.

    Args:
        run: which scores, wherever its model lies.
        scorer: of its objective.
        texts: as ids.
        precision: of the products; logits are normalised in float32 at least, and summed in float64.
        positions_at_once: of a batch, at most; by default as many as the device is fast with.
        advance: is called with how many more texts are done, in parts of one.

    Raises:
        UserError: where a text is longer than the model's positions reach.
    """
    term, role, device = run.objective.token_term, run.objective.token_role, run.network.device
    examples = [_rows(run, scorer, tokens, number) for number, tokens in enumerate(texts)]
    rows = [row for of_text, _ in examples for row in of_text]
    log_likelihoods, squares, counts = np.zeros((3, len(texts)))
    are_likeliest = np.ones(len(texts), dtype=bool)
    limits = {
        "positions": positions_at_once or POSITIONS_AT_ONCE.get(device.type, POSITIONS_AT_ONCE_ON_A_GPU),
        "labels": LOGITS_AT_ONCE // run.vocabulary.size,
    }
    for batch_rows in side_by_side(rows, term, **limits):
        batch = run.batch([row.window for row in batch_rows], [row.example for row in batch_rows]).to(device)
        with torch.inference_mode(), _products_in(precision, device):
            logits_NV = run.network.logits(batch, term, role)
        logits_NV, ids_N = (
            logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float(),
            batch.labels[term].ids_N,
        )
        losses_N = F.cross_entropy(logits_NV, ids_N, reduction="none").cpu().double().numpy()
        is_likeliest_N = (logits_NV.argmax(dim=-1) == ids_N).cpu().numpy()
        num_labels = [int((row.example.labels[term] != IGNORE).sum()) for row in batch_rows]
        owners_N = np.repeat([row.owner for row in batch_rows], num_labels)
        weights_N = batch.labels[term].weights_N
        weighted_N = np.ones(len(losses_N)) if weights_N is None else weights_N.cpu().double().numpy()
        np.subtract.at(log_likelihoods, owners_N, losses_N * weighted_N)
        np.add.at(counts, owners_N, weighted_N)
        rows_N = np.repeat(np.arange(len(batch_rows)), num_labels)
        sums_R = np.bincount(rows_N, losses_N * weighted_N, minlength=len(batch_rows))
        np.add.at(squares, [row.owner for row in batch_rows], sums_R**2)
        are_likeliest[owners_N[~is_likeliest_N]] = False
        advance(len(texts) * len(batch_rows) / len(rows))
    are_longer = np.array([is_longer for _, is_longer in examples], dtype=bool)
    draws = np.array([len(of_text) for of_text, _ in examples])
    return Likelihoods(
        log_likelihoods=log_likelihoods,
        tokens=counts.round().astype(np.int64),
        are_likeliest=are_likeliest,
        are_longer=are_longer,
        standard_errors=np.zeros(len(texts)) if scorer.draws is None else _errors(log_likelihoods, squares, draws),
    )


def _errors(sums: np.ndarray, squares: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Standard errors of sums over draws, from their sums of squares; NaN of a single draw is 0: it is exact."""
    spread = np.maximum(squares - sums**2 / draws, 0)
    return np.sqrt(spread * draws / np.maximum(draws - 1, 1))


def _rows(run: TrainedRun, scorer: Scorer, tokens: PrefixedTokens, number: int) -> tuple[list[Row], bool]:
    """The examples of a text, and whether they were too long: what stands before it then loses its beginning."""
    text, prefix = tokens
    examples = scorer.examples(prefix, text)
    over = longest_of(examples) - run.max_positions
    is_longer = over > 0
    if is_longer and len(prefix):
        prefix = prefix[over:]
        examples = scorer.examples(prefix, text)
        over = longest_of(examples) - run.max_positions
    if over > 0 and run.network.body.has_position_table:
        raise UserError(
            f"text {number + 1} of {len(text)} tokens takes {longest_of(examples)} positions, and {run.folder} has "
            f"{run.max_positions}: shorten it, or train with a longer data.window"
        )
    window = document(np.concatenate([prefix, text]), run.vocabulary.eos)
    return [Row(number, window, example) for example in examples], is_longer


def longest_of(examples: Sequence[Example]) -> int:
    """Positions of the longest stack of any of the examples."""
    return max((len(ids) for e in examples for ids in (e.encoder_ids, e.decoder_ids) if ids is not None), default=0)


def _products_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()
