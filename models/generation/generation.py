"""Generation by a decoder, one token after another: greedily, by sampling, or by beam search.

Shapes: B prompts, K beams, T positions, D width, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import UserError
from models.body import Body, Inputs
from models.generation.decoding import Decoding, candidates, draw, penalised

GENERATED_DOCUMENT = 1  # the document of every generated token, where documents are kept apart
NO_DOCUMENT = -2  # of padding


class Documents(NamedTuple):
    """The document of each token of prompts and sources, where they are kept apart; 1 is that of generated tokens."""

    prompts: Sequence[Sequence[int]]
    sources: Sequence[Sequence[int]] | None = None


class GeneratedTokens(NamedTuple):
    """The continuation of one prompt: ids without EOS, whether EOS came, and their log-probability, EOS included."""

    ids: list[int]
    is_finished: bool
    log_probability: float


class IncrementalDecoder:
    """A decoder that reads a batch of prompts of unequal lengths, then one position of each at a time.

    Where documents are kept apart nothing is cached: places and masks are made from the documents of whole rows.

    Args:
        body: with a decoder.
        prompts: what the decoder reads first, a token at least.
        sources: what the encoder reads, where there is one.
        copies: rows for each prompt.
        num_steps: the most tokens that are generated.
        pad: any id.
        documents: of prompts and sources, where they are kept apart.
    """

    def __init__(
        self,
        body: Body,
        prompts: Sequence[Sequence[int]],
        sources: Sequence[Sequence[int]] | None,
        *,
        copies: int,
        num_steps: int,
        pad: int,
        documents: Documents | None = None,
    ) -> None:
        self.body, self.device = body, next(body.parameters()).device
        assert body.has_decoder
        assert body.has_encoder == (sources is not None)
        capacity = max(map(len, prompts)) + num_steps
        self.cache = body.new_cache(capacity) if documents is None else None
        self.inputs, self.memory_BSD = Inputs(), None
        if sources is not None:
            lengths_B = torch.tensor([len(source) for source in sources], device=self.device)
            encoder = Inputs(encoder_ids_BS=self._rows(sources, pad, 1), encoder_lengths_B=lengths_B)
            if documents is not None:
                assert documents.sources is not None
                encoder = encoder._replace(encoder_documents_BS=self._rows(documents.sources, NO_DOCUMENT, 1))
            self.memory_BSD = body.encode(encoder).repeat_interleave(copies, dim=0)
            kept = [encoder.encoder_lengths_B, encoder.encoder_documents_BS]
            kept = [None if rows is None else rows.repeat_interleave(copies, dim=0) for rows in kept]
            self.inputs = Inputs(encoder_lengths_B=kept[0], encoder_documents_BS=kept[1])
        starts = [max(map(len, prompts)) - len(prompt) for prompt in prompts]
        self.ids_BT = self._rows(prompts, pad, copies, on_left=True)
        self.documents_BT = None
        if documents is not None:
            self.documents_BT = self._rows(documents.prompts, NO_DOCUMENT, copies, on_left=True)
        self._starts_B = torch.tensor(starts, device=self.device).repeat_interleave(copies)
        if any(starts):
            self.inputs = self.inputs._replace(decoder_starts_B=self._starts_B)
        # What a repetition penalty applies to: in place of padding, the first token of its row.
        first_B1 = self.ids_BT.gather(1, self._starts_B[:, None])
        is_padding_BT = torch.arange(self.ids_BT.shape[1], device=self.device) < self._starts_B[:, None]
        self.previous_BT = torch.where(is_padding_BT, first_B1, self.ids_BT)

    def _rows(self, rows: Sequence[Sequence[int]], padding: int, copies: int, *, on_left: bool = False) -> Tensor:
        """int64[B · copies, length], the rows padded to the longest, `copies` of each."""
        padded = [[padding] * (max(map(len, rows)) - len(row)) for row in rows]
        filled = [[*pad, *row] if on_left else [*row, *pad] for pad, row in zip(padded, rows, strict=True)]
        return torch.tensor(filled, device=self.device).repeat_interleave(copies, dim=0)

    def next_logits(self) -> Tensor:
        """[B · copies, V] in float32 at least: of the position behind what has been read."""
        read = 0 if self.cache is None else self.cache.length
        unread = self.inputs._replace(decoder_ids_BT=self.ids_BT[:, read:], decoder_documents_BT=self.documents_BT)
        states_BTD = self.body.decode(unread, self.memory_BSD, self.cache)
        logits_BV = self.body.logits(states_BTD[:, -1])
        return logits_BV if logits_BV.dtype == torch.float64 else logits_BV.float()

    def append(self, ids_B: Tensor) -> None:
        """Adds the token that each row reads next."""
        self.ids_BT = torch.cat([self.ids_BT, ids_B[:, None]], dim=1)
        self.previous_BT = torch.cat([self.previous_BT, ids_B[:, None]], dim=1)
        if self.documents_BT is not None:
            self.documents_BT = F.pad(self.documents_BT, (0, 1), value=GENERATED_DOCUMENT)

    def select(self, rows_B: Tensor) -> None:
        """Replaces the rows by others of the same prompts."""
        if self.cache is not None:
            self.cache.select(rows_B)
        self.ids_BT, self.previous_BT = self.ids_BT[rows_B], self.previous_BT[rows_B]


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
    decoding: Decoding,
    eos: int,
    max_positions: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """For every step int64[B], the generated tokens, and [B], their log-probabilities by the model itself.

    A row that has ended continues with EOS of log-probability 0. The last step is the one after which all have ended.

    Raises:
        UserError: where a prompt is longer than the model reads.
    """
    assert decoding.beams == 1
    steps = _steps(prompts, decoding, max_positions)
    reader = IncrementalDecoder(body, prompts, sources, copies=1, num_steps=steps, pad=eos, documents=documents)
    seeds = range(decoding.seed, decoding.seed + len(prompts))
    sources_of_chance = [torch.Generator(device="cpu").manual_seed(seed) for seed in seeds]
    chances = [torch.rand(steps, generator=generator, device="cpu") for generator in sources_of_chance]
    chances_TB = torch.stack(chances, dim=1)
    is_finished_B = torch.zeros(len(prompts), dtype=torch.bool, device=reader.device)
    for step in range(steps):
        logits_BV = reader.next_logits()
        scores_BV = penalised(logits_BV, reader.previous_BT, decoding.repetition_penalty)
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
    decoding: Decoding,
    eos: int,
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
    reader = IncrementalDecoder(body, prompts, sources, copies=K, num_steps=steps, pad=eos, documents=documents)
    begins = reader.ids_BT.shape[1]
    # Hypotheses are followed on the CPU, in float64, which some devices lack; a step waits for one copy.
    sums_BK = torch.full((B, K), -torch.inf, device="cpu", dtype=torch.float64)
    sums_BK[:, 0] = 0
    found = [_Hypotheses(K) for _ in prompts]
    first_rows_B1 = torch.arange(B, device="cpu")[:, None] * K
    for length in range(1, steps + 1):
        logged_RV = penalised(reader.next_logits().log_softmax(dim=-1), reader.previous_BT, decoding.repetition_penalty)
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
    decoding: Decoding,
    eos: int,
    max_positions: int,
    num_forced: int = 0,
) -> list[GeneratedTokens]:
    """The continuation of each prompt.

    Args:
        body: with a decoder, in evaluation mode.
        prompts: ids that the decoder reads first, a token at least; of an encoder-decoder usually its start alone.
        sources: ids that the encoder reads, where there is one.
        documents: of prompts and sources, where they are kept apart.
        decoding: how the next token is chosen.
        eos: the token that ends a text.
        max_positions: the most that either stack reads.
        num_forced: tokens at the end of every prompt that the length penalty of beam search counts as generated.

    Raises:
        UserError: where a prompt is longer than the model reads.
    """
    settings = {"decoding": decoding, "eos": eos, "max_positions": max_positions}
    read = {"sources": sources, "documents": documents}
    if decoding.beams > 1:
        return [found[0] for found in beam_search(body, prompts, **read, **settings, num_forced=num_forced)]
    return put_together(stream(body, prompts, **read, **settings), eos=eos)
