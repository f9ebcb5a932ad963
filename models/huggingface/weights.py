"""The same weights under Hugging Face's names: one map for each family, read in both directions.

A `Transformer` of a preset is exactly one of transformers' classes, or one of several, which its stacks and its
objective decide (`families.py`). Nothing here imports transformers.
"""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from common.errors import UserError
from models.huggingface.decoders import DecoderMap
from models.huggingface.encoders import EncoderMap
from models.huggingface.entry import WeightEntry
from models.huggingface.families import Family
from models.huggingface.settings import check_representable, family_of
from models.presets import TransformerConfig

MAPS = {
    "BertForPreTraining": EncoderMap.bert,
    "ElectraForPreTraining": EncoderMap.electra_discriminator,
    "ElectraForMaskedLM": EncoderMap.electra_generator,
    "AlbertForPreTraining": EncoderMap.albert,
    "DistilBertForMaskedLM": EncoderMap.distilbert,
    "GPT2LMHeadModel": DecoderMap.gpt2,
    "BartForConditionalGeneration": DecoderMap.bart,
    "T5ForConditionalGeneration": DecoderMap.t5,
    "LlamaForCausalLM": DecoderMap.lab,
    "EuroBertForMaskedLM": DecoderMap.lab,
}
POSITIONS, SEGMENTS = (f"body.encoder.embeddings.{name}_table.weight" for name in ("position", "segment"))
MAPPING_IN = "albert.encoder.embedding_hidden_mapping_in"


def entries(config: TransformerConfig, num_blocks: tuple[int, int], family: Family | None = None) -> list[WeightEntry]:
    """The map of a Transformer's family.

    Raises:
        UserError: where no class of transformers is this Transformer.
    """
    family = family or family_of(config, num_blocks)
    check_representable(config, num_blocks, family)
    made = DecoderMap if MAPS[family.name].__qualname__.startswith(DecoderMap.__name__) else EncoderMap
    return list(MAPS[family.name](made(config, num_blocks)))


def _prepared(state: Mapping[str, Tensor], family: Family) -> Mapping[str, Tensor]:
    """Ours, with token types that a class lacks moved into the positions: every input has type 0."""
    if family.name != "DistilBertForMaskedLM" or SEGMENTS not in state:
        return state
    return {**state, POSITIONS: state[POSITIONS] + state[SEGMENTS][0]}


def left_out(family: Family) -> set[str]:
    """Tensors of ours that a class has no name for, and needs none."""
    return {SEGMENTS} if family.name == "DistilBertForMaskedLM" else set()


def _projects_equal_widths(config: TransformerConfig, family: Family) -> bool:
    """Whether a class projects embeddings that are as wide as the states already."""
    return family.name == "AlbertForPreTraining" and config.width_of_embeddings == config.width


def to_huggingface(
    state: Mapping[str, Tensor],
    config: TransformerConfig,
    num_blocks: tuple[int, int],
    *,
    copies: bool = True,
    family: Family | None = None,
) -> dict[str, Tensor]:
    """Ours, or a gradient of each, under their names, all of them or, as files have it, one for each tensor.

    A head that the state lacks is left out.
    """
    family = family or family_of(config, num_blocks)
    state = _prepared(state, family)
    found = [entry for entry in entries(config, num_blocks, family) if entry.ours in state]
    named = {name: tensor for entry in found for name, tensor in entry.split(state[entry.ours]).items()}
    if _projects_equal_widths(config, family):
        table = state["body.token_table.weight"]
        named[f"{MAPPING_IN}.weight"] = torch.eye(config.width, dtype=table.dtype, device=table.device)
        named[f"{MAPPING_IN}.bias"] = table.new_zeros(config.width)
    left_out = set() if copies else {name for entry in found for name in entry.copies}
    return {name: tensor for name, tensor in named.items() if name not in left_out}


def _spelled_alike(state: Mapping[str, Tensor], entries: Iterable[WeightEntry], base: str) -> dict[str, Tensor]:
    """The same tensors under the names that the map has.

    Files of a body alone lack its prefix, old ones name a norm's parameters gamma and beta, and a tensor with several
    names may be kept under any of them.
    """
    known = {name for entry in entries for name in (*entry.theirs, *entry.copies)}
    spelled = {}
    for name, tensor in state.items():
        name = re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name))
        spelled[name if name in known else f"{base}.{name}"] = tensor
    for entry in entries:
        for copy in entry.copies:
            if copy in spelled:
                spelled.setdefault(entry.theirs[0], spelled[copy])
    return spelled


def from_huggingface(
    state: Mapping[str, Tensor], config: TransformerConfig, num_blocks: tuple[int, int], family: Family | None = None
) -> dict[str, Tensor]:
    """Theirs, as any version of transformers saved them, under our names; a head that the state lacks is left out.

    Raises:
        UserError: where they hold what a Transformer here has not.
    """
    family = family or family_of(config, num_blocks)
    every = entries(config, num_blocks, family)
    spelled = _spelled_alike(state, every, family.base)
    if _projects_equal_widths(config, family):
        weight, bias = (state[f"{MAPPING_IN}.{kind}"] for kind in ("weight", "bias"))
        if bias.any() or not torch.equal(weight, torch.eye(*weight.shape, dtype=weight.dtype, device=weight.device)):
            raise UserError(f"{MAPPING_IN} projects embeddings that are as wide as the states, which no body here does")
    ours = {entry.ours: entry.join(spelled) for entry in every if all(name in spelled for name in entry.theirs)}
    if family.name == "DistilBertForMaskedLM":
        ours[SEGMENTS] = torch.zeros_like(ours[POSITIONS][:2])
    return ours
