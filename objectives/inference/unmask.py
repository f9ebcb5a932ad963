"""Filling masks one after another: a masked diffusion model draws hidden tokens in turn, each from all that is visible.

Shapes: B samples, T positions, N hidden tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from data.stream.batch import Example, MaxLengths
from data.stream.collate import collate
from data.tokens.tokenizer import Vocabulary
from models.generation.decoding import Decoding, candidates, draw
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.noise.hiding import with_hidden
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.core.strategy import InferenceStrategy, Scorer
from objectives.inference.likelihood import document


def passes(
    logits_of: Callable[[Tensor], Tensor], number: int, decoding: Decoding, *, samples: int, mask: int, seed: int
) -> Iterator[Tensor]:
    """int64[B, N], hidden tokens after each of `decoding.steps` passes (N by default), which fill as many as may be.

    In every pass a token is drawn for each place that is still hidden, in float64 (in float32 the tails of a softmax
    are cut off: Zheng et al. 2024, 2409.02908). Those of the greatest probability are kept, or, in random order, those
    of random places; with one place a pass that is a draw from the model's joint distribution.

    Args:
        logits_of: [B, N, V] from int64[B, N], the tokens at those places, `mask` where they are hidden.
        number: N.
        decoding: temperature, top_k, top_p, steps and order.
        samples: B.
        mask: stands for a hidden token.
        seed: decides what is drawn.
    """
    random = torch.Generator(device="cpu").manual_seed(seed)
    tokens_BN = torch.full((samples, number), mask, device="cpu")
    steps = min(decoding.steps or number, number)
    for step in range(steps):
        logits_BNV = logits_of(tokens_BN).cpu().double()
        chances_BN = torch.rand(samples, number, generator=random, dtype=torch.float64, device="cpu")
        priority_BN = torch.rand(samples, number, generator=random, dtype=torch.float64, device="cpu")
        flat = logits_BNV.flatten(0, 1)
        if decoding.temperature:
            drawn_BN = draw(candidates(flat, decoding), chances_BN.flatten()).view(samples, number)
        else:
            drawn_BN = logits_BNV.argmax(dim=-1)
        if decoding.order != "random":
            priority_BN = logits_BNV.softmax(dim=-1).gather(-1, drawn_BN[..., None])[..., 0]
        is_hidden_BN = tokens_BN == mask
        now = number * (step + 1) // steps - number * step // steps
        chosen_Bn = priority_BN.masked_fill(~is_hidden_BN, -1).topk(now, dim=1).indices
        tokens_BN = tokens_BN.scatter(1, chosen_Bn, drawn_BN.gather(1, chosen_Bn))
        yield tokens_BN


def scored(
    prefix: np.ndarray, text: np.ndarray, *, draws: int, vocabulary: Vocabulary, term: str, is_shifted: bool
) -> list[Example]:
    """Copies of a text with l of its n tokens hidden, their losses weighted by n / (l · draws).

    The number l is uniform over 1..n, one draw in each of as many equal strata, and every set of l tokens is equally
    likely; so the mean of the sum of the weighted losses is an upper bound of the negative log-likelihood, with less
    variance than where each token is hidden by itself (Nie et al. 2025, A.2). They follow from the text alone.
    """
    tokens, number = np.concatenate([prefix, text]).astype(np.int64), len(text)
    rng = np.random.default_rng([len(prefix), *tokens.tolist()])
    draws = 1 if number == 1 else draws
    window, examples = document(tokens, vocabulary.eos), []
    for stratum in range(draws):
        count = min(1 + int(number * (stratum + rng.random()) / draws), number)
        is_hidden = np.zeros(len(tokens), dtype=bool)
        is_hidden[len(prefix) + rng.permutation(number)[:count]] = True
        settings = {"weight": number / (count * draws), "mask": vocabulary.mask, "term": term, "is_shifted": is_shifted}
        examples.append(with_hidden(window, is_hidden, **settings))
    return examples


class Unmask(InferenceStrategy):
    """Fills the masks of a text, each of one token; a text without any is continued by masks behind it.

    Args:
        draws: of the noise for the likelihood of a text.
        is_shifted: whether a token is predicted at the position before it.
    """

    reads_marks = True
    example: str | None = "Thank you for [MASK] me to your [MASK] ."

    def __init__(self, *, draws: int, is_shifted: bool) -> None:
        self.draws, self.is_shifted = draws, is_shifted

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        prompts.refuse_candidates("masks are filled one after another, each from those before it")
        unused = ("beams", "repetition_penalty", "length_penalty")
        prompts.refuse_decoding("masked diffusion draws tokens in any order", unused)
        mask = prompts.vocabulary.mask
        for number, text in enumerate(prompts.texts):
            tokens, new = prompts.encode(text, MARK, repeat(mask)), 0
            is_continued = not (tokens == mask).any()
            if is_continued:
                room = prompts.max_positions - len(tokens) - 1
                new = min(prompts.decoding.max_new_tokens or room, room)
                tokens = np.concatenate([tokens, np.full(max(new, 0), mask)])
            prompts.check_length(number, len(tokens) + 1 + (new <= 0 and is_continued))
            allowed = ~prompts.vocabulary.is_special
            allowed[prompts.vocabulary.eos] = is_continued
            found = self._filled(objective, network, prompts, tokens, allowed, prompts.decoding.seed + number)
            for row in found:
                filled = row[tokens == mask].tolist()
                ids = row.tolist()
                if prompts.vocabulary.eos in filled:
                    ids = ids[: len(ids) - new + filled.index(prompts.vocabulary.eos)]
                texts = [prompts.name_of_token(token) for token in filled]
                details = {"continuation": prompts.decode(ids[len(row) - new :])} if is_continued else {"masks": texts}
                yield Generation(prompt=text, text=prompts.decode(ids), details=details)

    def _filled(
        self,
        objective: Objective,
        network: Network,
        prompts: Prompts,
        tokens: np.ndarray,
        allowed: np.ndarray,
        seed: int,
    ) -> np.ndarray:
        """int64[B, T], the tokens with every mask filled, once for each sample."""
        device, mask, samples = network.device, prompts.vocabulary.mask, prompts.samples
        window, is_hidden = prompts.window(tokens), tokens == mask
        example = with_hidden(
            window, is_hidden, weight=1.0, mask=mask, term=objective.token_term, is_shifted=self.is_shifted
        )
        longest = MaxLengths(*[prompts.max_positions] * 3)
        batch = collate(
            [window] * samples,
            [example] * samples,
            pad=prompts.vocabulary.pad,
            max_lengths=longest,
            keep_documents_apart=objective.keep_documents_apart,
        ).to(device)
        forbidden_V = torch.from_numpy(~allowed).to(device)
        name = "decoder_ids_BT" if self.is_shifted else "encoder_ids_BS"

        def logits_of(tokens_BN: Tensor) -> Tensor:
            ids: Tensor = getattr(batch, name).clone()
            ids[:, 1:][:, torch.from_numpy(is_hidden).to(device)] = tokens_BN.to(device)
            with torch.inference_mode():
                logits_NV = network.logits(replace(batch, **{name: ids}), objective.token_term)
            return logits_NV.masked_fill(forbidden_V, -torch.inf).view(samples, -1, logits_NV.shape[1])

        rows = np.tile(tokens, (samples, 1))
        on_pass = prompts.on_pass or (lambda _: None)
        on_pass(rows[0].tolist())
        settings = {"samples": samples, "mask": mask, "seed": seed}
        for filled_BN in passes(logits_of, int(is_hidden.sum()), prompts.decoding, **settings):
            rows[:, is_hidden] = filled_BN.numpy()
            on_pass(rows[0].tolist())
        return rows

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """An estimate of the bound, from noise that follows from the text."""
        settings = {"draws": self.draws, "vocabulary": vocabulary, "term": objective.token_term}
        return {
            "diffusion_bound": Scorer(
                examples=partial(scored, **settings, is_shifted=self.is_shifted),
                is_normalised=True,
                draws=self.draws,
                caveat=f"an upper bound of the bits, estimated from {self.draws} draws of the noise a text",
            )
        }
