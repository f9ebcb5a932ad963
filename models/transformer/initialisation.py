"""Initial weights: a pure function of the seed and each parameter's name.

Parameters of one name and shape start equal in every arm, and the only stack of an encoder or a decoder starts like
the encoder of an encoder-decoder. Numbers are drawn in float32 on the CPU, the same for every device and precision.
"""

import hashlib
import math
import re
from collections.abc import Collection

import torch
from torch import Tensor, nn

from models.body import Body
from models.transformer.layers import EMBEDDING_STD
from models.transformer.names import first_edition_name
from models.transformer.transformer import Transformer

_RESIDUAL_OUTPUT = re.compile(r"(attention\.output|feed_forward\.down)\.weight$")


def _t5_stds(name: str, parameter: Tensor, transformer: Transformer) -> list[tuple[int, float]]:
    """Rows of a T5 parameter and their standard deviations.

    As Mesh TensorFlow has them: queries are drawn small in place of a scale of the scores. A head of its own is drawn
    so that logits have a variance of 1, and the first loss is ln V and a half; with Hugging Face's standard deviation
    of 1 it is hundreds of nats.
    """
    config = transformer.config
    width, head_width = config.width, config.width_of_head
    inner, key_value = config.num_heads * head_width, 2 * config.key_value_heads * head_width
    by_width = width**-0.5
    if name.endswith("query_key_value.weight"):
        return [(inner, (width * head_width) ** -0.5), (key_value, by_width)]
    std = {
        "token_table.weight": 1.0,
        "query.weight": (width * head_width) ** -0.5,
        "output.weight": inner**-0.5,
        "down.weight": config.width_of_feed_forward**-0.5,
        "embedding_projection.weight": config.width_of_embeddings**-0.5,
    }
    found = next((value for ending, value in std.items() if name.endswith(ending)), by_width)
    return [(parameter.shape[0], found)]


def _stds(name: str, parameter: Tensor, transformer: Transformer) -> list[tuple[int, float]]:
    """Rows of a weight matrix, from the first on, and the standard deviation they are drawn with."""
    rule = transformer.config.parts.initialisation
    if rule == "t5":
        return _t5_stds(name, parameter, transformer)
    std = EMBEDDING_STD  # BERT, GPT-2 and BART draw every matrix so
    if rule == "scaled_residuals" and _RESIDUAL_OUTPUT.search(name):
        std /= math.sqrt(2 * sum(transformer.num_blocks))  # GPT-2 (2.3): the residual stream's variance stays put
    return [(parameter.shape[0], std)]


def parameter_seed(name: str, seed: int) -> int:
    """63 bits that depend on nothing but name and seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") >> 1


@torch.no_grad()
def draw_normal(parameter: Tensor, stds: list[tuple[int, float]], *, name: str, seed: int) -> None:
    """Fills a matrix with normal numbers, rows by rows of one standard deviation."""
    numbers = torch.empty(parameter.shape, dtype=torch.float32, device="cpu")
    numbers.normal_(generator=torch.Generator(device="cpu").manual_seed(parameter_seed(name, seed)))
    rows = torch.cat([torch.full((count,), std, device="cpu") for count, std in stds])
    parameter.copy_(numbers * rows.view(-1, *[1] * (parameter.dim() - 1)))


@torch.no_grad()
def draw_uniform(parameter: Tensor, bound: float, *, name: str, seed: int) -> None:
    """Fills a matrix with uniform numbers between -bound and bound."""
    numbers = torch.empty(parameter.shape, dtype=torch.float32, device="cpu")
    generator = torch.Generator(device="cpu").manual_seed(parameter_seed(name, seed))
    parameter.copy_(numbers.uniform_(-bound, bound, generator=generator))


@torch.no_grad()
def initialise(module: nn.Module, seed: int, *, prefix: str = "", kept: Collection[int] = ()) -> None:
    """Gives every parameter of a Transformer, or of a head beside one, its first value.

    Matrices are random, norms 1 and biases 0. `prefix` goes before the names that the random numbers follow from;
    parameters whose `id` is `kept` have theirs already.
    """
    transformer = module if isinstance(module, Transformer) else None
    sole_stack = "decoder." if transformer is not None and transformer.encoder is None else None
    for module_name, part in module.named_modules():
        for name, parameter in part.named_parameters(prefix=module_name, recurse=False):
            if id(parameter) in kept:
                continue
            if parameter.dim() == 1:
                is_norm = isinstance(part, nn.LayerNorm | nn.RMSNorm) and name.endswith("weight")
                parameter.fill_(1.0 if is_norm else 0.0)
            else:
                stds = _stds(name, parameter, transformer) if transformer else [(parameter.shape[0], EMBEDDING_STD)]
                shared_name = first_edition_name(name) if transformer is not None else name
                shared_name = shared_name.replace(sole_stack, "encoder.", 1) if sole_stack else shared_name
                if isinstance(module, Body) and module.initial_bound is not None:
                    draw_uniform(parameter, module.initial_bound, name=prefix + name, seed=seed)
                    continue
                draw_normal(parameter, stds, name=prefix + shared_name, seed=seed)
    if isinstance(module, Body):
        module.finish_initialisation()


def initialise_children(root: nn.Module, seed: int) -> None:
    """Initialises the modules of an objective or a task, each by its name; the body's is the first edition's.

    What two of them share is the first one's.
    """
    kept: set[int] = set()
    for name, module in root.named_children():
        initialise(module, seed, prefix="transformer." if name == "body" else f"{name}.", kept=kept)
        kept |= {id(parameter) for parameter in module.parameters()}
