"""What the tests of generations share: a tokenizer, objectives with a network, and their prompts."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

from data.stream.windows import TokensInMemory, Windows
from data.tokens.tokenizer import Tokenizer, Vocabulary, train_tokenizer, vocabulary_of
from models.generation.decoding import Decoding
from models.transformer.initialisation import initialise
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.pretraining import Pretraining
from objectives.core.prompts import Generation, Prompts
from objectives.denoising import Denoising
from objectives.span_corruption import SpanCorruption
from tests.helpers import made_up_documents
from tests.objectives.texts import made, module_of

WINDOW = 60
PROMPTS: dict[type[Objective], str] = {
    CausalLM: "The young cat sees",
    Denoising: "The young [MASK] sees a big house.",
    SpanCorruption: "The young [MASK] sees a <extra_id_0> house.",
}


@cache
def tokenizer() -> Tokenizer:
    """One that knows every word of the made-up documents, and cuts all others down to their bytes."""
    return train_tokenizer(iter(made_up_documents()), kind="byte_bpe", vocab_size=1 << 12)


@cache
def vocabulary() -> Vocabulary:
    return vocabulary_of(tokenizer())


def ids_of(text: str) -> list[int]:
    return tokenizer().encode(text, add_special_tokens=False).ids


def windows_of(documents: Sequence[Sequence[str]], *, length: int = WINDOW, end: bool = False) -> Windows:
    """Windows of documents of sentences."""
    ids = [[ids_of(sentence) for sentence in document] for document in documents]
    if end:
        for document in ids:
            document[-1].append(vocabulary().eos)
    return Windows(TokensInMemory.of(ids), length=length, end_token=vocabulary().eos)


class Generator(NamedTuple):
    """An objective with a network."""

    objective: Objective
    network: Network


def random_network(module: Pretraining, *, vocab_size: int, window: int, seed: int) -> Network:
    """A network in float64 whose weights are random, and so large that every token matters."""
    network = module.build(vocab_size=vocab_size, window=window)
    generator = torch.Generator().manual_seed(seed)
    for child in network.children():
        initialise(child, seed)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return network.double().eval().requires_grad_(False)


def generator_of(
    objective: type[Objective], *, seed: int = 0, body: dict[str, Any] | None = None, **knobs: Any
) -> Generator:
    """An objective with a random network."""
    one = made(objective, **knobs)
    module = module_of(one, seed=seed, **(body or {}))
    return Generator(one, random_network(module, vocab_size=vocabulary().size, window=WINDOW, seed=seed))


def prompts(*texts: str, decoding: dict[str, Any] | None = None, **more: Any) -> Prompts:
    return Prompts(
        texts=texts,
        tokenizer=tokenizer(),
        vocabulary=vocabulary(),
        **{"max_positions": WINDOW + 2, "decoding": Decoding(**(decoding or {})), **more},
    )


def generations(of: Generator, *texts: str, decoding: dict[str, Any] | None = None, **more: Any) -> list[Generation]:
    return list(of.objective.inference.generate(of.objective, of.network, prompts(*texts, decoding=decoding, **more)))
