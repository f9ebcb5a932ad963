"""Generation by a decoder, one token after another: greedily, by sampling, or by beam search.

Shapes: B prompts, K beams, T positions, D width, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from models.body import Body
from models.generation.decoding import Decoding, candidates, draw, penalised, without
from models.generation.incremental import Documents, IncrementalDecoder


class GeneratedTokens(NamedTuple):
    """The continuation of one prompt: ids without EOS, whether EOS came, and their log-probability, EOS included."""

    ids: list[int]
    is_finished: bool
    log_probability: float


def _steps(prompts: Sequence[Sequence[int]], decoding: Decoding, max_positions: int) -> int:
    """How many tokens can be generated.

    Raises:
        UserError: where a prompt leaves no room for one.
    """
    longest = max(map(len, prompts))
    if longest > max_positions:
        raise UserError(f"a prompt has {longest} tokens, and the model reads at most {max_positions}: shorten it")
    room = max_positions - longest + 1  # the last generated token is never read
    return min(decoding.max_new_tokens or room, room)


@torch.inference_mode()
def stream(
    body: Body,
    prompts: Sequence[Sequence[int]],
    *,
    sources: Sequence[Sequence[int]] | None = None,
    documents: Documents | None = None,
    sees_prompt: bool = False,
    decoding: Decoding,
    numbers: Sequence[int] | None = None,
    eos: int,
    never: Sequence[int] | np.ndarray = (),
    max_positions: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """For every step int64[B], the generated tokens, and [B], their log-probabilities by the model itself.

    `numbers` are those of the prompts, from which their chances are drawn; by default their places here.
    A row that has ended continues with EOS of log-probability 0. The last step is the one after which all have ended.

    Raises:
        UserError: where a prompt is longer than the model reads.
    """
    assert decoding.beams == 1
    steps = _steps(prompts, decoding, max_positions)
    read = {"documents": documents, "sees_prompt": sees_prompt}
    reader = IncrementalDecoder(body, prompts, sources, copies=1, num_steps=steps, pad=eos, **read)
    seeds = [decoding.seed + number for number in (range(len(prompts)) if numbers is None else numbers)]
    sources_of_chance = [torch.Generator(device="cpu").manual_seed(seed) for seed in seeds]
    chances = [torch.rand(steps, generator=generator, device="cpu") for generator in sources_of_chance]
    chances_TB = torch.stack(chances, dim=1)
    is_finished_B = torch.zeros(len(prompts), dtype=torch.bool, device=reader.device)
    for step in range(steps):
        logits_BV = reader.next_logits()
        scores_BV = without(penalised(logits_BV, reader.previous_BT, decoding.repetition_penalty), never)
        if decoding.temperature:
            ids_B = draw(candidates(scores_BV, decoding), chances_TB[step])
        else:
            ids_B = scores_BV.argmax(dim=-1)
        ids_B = ids_B.masked_fill(is_finished_B, eos)
        log_probabilities_B = logits_BV.log_softmax(dim=-1).gather(1, ids_B[:, None])[:, 0]
        yield ids_B, log_probabilities_B.masked_fill(is_finished_B, 0)
        is_finished_B |= ids_B == eos
        if is_finished_B.all():
            return
        reader.append(ids_B)


class _Hypotheses:
    """The best finished texts of one prompt."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.best: list[tuple[float, GeneratedTokens]] = []  # the best first
        self.is_settled = False

    def add(self, score: float, generated: GeneratedTokens) -> None:
        self.best = sorted([*self.best, (score, generated)], key=lambda pair: -pair[0])[: self.number]

    def settle(self, best_running: float) -> None:
        """Takes no more once there are enough, and the best running hypothesis is no better than the worst of them."""
        self.is_settled |= len(self.best) == self.number and best_running <= self.best[-1][0]


@torch.inference_mode()
def beam_search(
    body: Body,
    prompts: Sequence[Sequence[int]],
    *,
    sources: Sequence[Sequence[int]] | None = None,
    documents: Documents | None = None,
    sees_prompt: bool = False,
    decoding: Decoding,
    eos: int,
    never: Sequence[int] | np.ndarray = (),
    max_positions: int,
    num_forced: int = 0,
) -> list[list[GeneratedTokens]]:
    """For every prompt its finished texts, the best first; after the last possible step, the unfinished as well.

    A text ends where EOS is among the `beams` likeliest next tokens of all beams. The length penalty counts the last
    `num_forced` tokens of every prompt as generated, as transformers counts BART's `forced_bos_token_id`.

    Raises:
        UserError: where a prompt is longer than the model reads.
    """
    K, B, steps = decoding.beams, len(prompts), _steps(prompts, decoding, max_positions)
    read = {"documents": documents, "sees_prompt": sees_prompt}
    reader = IncrementalDecoder(body, prompts, sources, copies=K, num_steps=steps, pad=eos, **read)
    begins = reader.ids_BT.shape[1]
    # Hypotheses are followed on the CPU, in float64, which some devices lack; a step waits for one copy.
    sums_BK = torch.full((B, K), -torch.inf, device="cpu", dtype=torch.float64)
    sums_BK[:, 0] = 0
    found = [_Hypotheses(K) for _ in prompts]
    first_rows_B1 = torch.arange(B, device="cpu")[:, None] * K
    for length in range(1, steps + 1):
        logged_RV = reader.next_logits().log_softmax(dim=-1)
        logged_RV = without(penalised(logged_RV, reader.previous_BT, decoding.repetition_penalty), never)
        best = logged_RV.topk(min(2 * K, logged_RV.shape[1]))  # of each row: no more of it can be among the best of all
        M = best.values.shape[1]
        following_BN = (sums_BK.flatten()[:, None] + best.values.cpu().double()).view(B, K * M)  # N = K · M
        sums_BC, choices_BC = following_BN.topk(min(2 * K, K * M))
        rows_BC, ids_BC = first_rows_B1 + choices_BC // M, best.indices.cpu().view(B, K * M).gather(1, choices_BC)
        is_end_BC = ids_BC == eos
        for prompt in range(B):
            for rank in range(K):
                ended = bool(is_end_BC[prompt, rank])
                if not (ended or length == steps) or found[prompt].is_settled or sums_BC[prompt, rank] == -torch.inf:
                    continue
                ids = reader.ids_BT[int(rows_BC[prompt, rank]), begins:].tolist()
                score = float(sums_BC[prompt, rank])
                text = GeneratedTokens(ids if ended else [*ids, int(ids_BC[prompt, rank])], ended, score)
                found[prompt].add(score / (length + num_forced) ** decoding.length_penalty, text)
        # The running hypotheses: the first K that did not end.
        order_BK = is_end_BC.long().argsort(dim=1, stable=True)[:, :K]
        sums_BK = sums_BC.masked_fill(is_end_BC, -torch.inf).gather(1, order_BK)
        reader.select(rows_BC.gather(1, order_BK).flatten().to(reader.device))
        reader.append(ids_BC.gather(1, order_BK).flatten().to(reader.device))
        for prompt, hypotheses in enumerate(found):
            hypotheses.settle(float(sums_BK[prompt, 0]) / (length + num_forced) ** decoding.length_penalty)
        if all(hypotheses.is_settled for hypotheses in found):
            break
    return [[text for _, text in hypotheses.best] for hypotheses in found]


def put_together(steps: Iterable[tuple[Tensor, Tensor]], *, eos: int) -> list[GeneratedTokens]:
    """The texts that the steps of a `stream` make, one for each row."""
    ids, logged = zip(*steps, strict=True)
    ids_BT = torch.stack(ids, dim=1).tolist()
    sums_B = torch.stack(logged, dim=1).cpu().double().sum(dim=1).tolist()
    ended = [eos in ids for ids in ids_BT]
    texts = [ids[: ids.index(eos)] if end else ids for ids, end in zip(ids_BT, ended, strict=True)]
    return [GeneratedTokens(*row) for row in zip(texts, ended, sums_B, strict=True)]


def generate(
    body: Body,
    prompts: Sequence[Sequence[int]],
    *,
    sources: Sequence[Sequence[int]] | None = None,
    documents: Documents | None = None,
    sees_prompt: bool = False,
    decoding: Decoding,
    numbers: Sequence[int] | None = None,
    eos: int,
    never: Sequence[int] | np.ndarray = (),
    max_positions: int,
    num_forced: int = 0,
) -> list[GeneratedTokens]:
    """The continuation of each prompt.

    Args:
        body: with a decoder, in evaluation mode.
        prompts: ids that the decoder reads first, a token at least; of an encoder-decoder usually its start alone.
        sources: ids that the encoder reads, where there is one.
        documents: of prompts and sources, where they are kept apart.
        sees_prompt: whether the positions of a prompt see each other, as in a prefix LM.
        decoding: how the next token is chosen.
        numbers: of the prompts, from which what is drawn for each follows; by default their places here.
        eos: the token that ends a text.
        never: ids that are not generated, since training never had them as targets.
        max_positions: the most that either stack reads.
        num_forced: tokens at the end of every prompt that the length penalty of beam search counts as generated.

    Raises:
        UserError: where a prompt is longer than the model reads.
    """
    settings = {"decoding": decoding, "eos": eos, "never": never, "max_positions": max_positions}
    read = {"sources": sources, "documents": documents, "sees_prompt": sees_prompt}
    if decoding.beams > 1:
        return [found[0] for found in beam_search(body, prompts, **read, **settings, num_forced=num_forced)]
    return put_together(stream(body, prompts, **read, **settings, numbers=numbers), eos=eos)
