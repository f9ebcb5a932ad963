"""The same small models here and in transformers, with weights that all matter."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel
from transformers.models.albert.modeling_albert import AlbertForPreTraining
from transformers.models.auto import modeling_auto
from transformers.models.bert.modeling_bert import BertForPreTraining
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from models.body import Inputs
from models.huggingface.families import FAMILIES
from models.huggingface.settings import to_huggingface_config
from models.huggingface.weights import to_huggingface
from models.presets import PresetName, TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.transformer import Transformer
from tests.helpers import predicted

PAIR_HEADS = {"bert": "next_sentence_head", "albert": "sentence_order_head"}
POSITIONS = 24
VOCAB = 61


class Module(nn.Module):
    """A Transformer with the heads beside it that a run's module has."""

    def __init__(self, config: TransformerConfig, num_blocks: tuple[int, int]) -> None:
        super().__init__()
        self.config, self.num_blocks = config, num_blocks
        self.body = Transformer(config, num_blocks=num_blocks, vocab_size=VOCAB, max_positions=POSITIONS)
        if config.preset in PAIR_HEADS:
            parts = {"pooler": nn.Linear(config.width, config.width), "classifier": nn.Linear(config.width, 2)}
            self.add_module(PAIR_HEADS[config.preset], nn.ModuleDict(parts))

    def next_sentence(self, states_BSD: Tensor) -> Tensor:
        """[B, 2]."""
        head = self.get_submodule(PAIR_HEADS[self.config.preset])
        pooled = head.get_submodule("pooler")(states_BSD[:, 0]).tanh()
        return head.get_submodule("classifier")(pooled)


def random_config(preset: PresetName, seed: int) -> tuple[TransformerConfig, tuple[int, int]]:
    """A shape of that family, its numbers drawn at random."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (1,), generator=generator))]

    family, heads, head_width = FAMILIES[preset], draw(2, 4), draw(4, 6)
    more: dict[str, Any] = {}
    if preset in ("t5", "t5_v1_1"):
        more["head_width"] = draw(3, 5)
    if preset == "lab":
        more["num_key_value_heads"] = draw(1, 2)
    depth = draw(1, 3)
    if preset == "albert":
        more["embedding_width"], more["share_layers"] = draw(6, 10), draw(1, depth)
    config = TransformerConfig(
        preset=preset, width=heads * head_width, num_heads=heads, feed_forward_width=draw(14, 30), **more
    )
    return config, (depth * family.has_encoder, draw(1, 2, 3) * family.has_decoder)


def make_ours(preset: PresetName, seed: int = 0) -> Module:
    """A model in float64 whose every parameter matters."""
    module = Module(*random_config(preset, seed))
    initialise(module, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return module.double().eval()


def make_theirs(ours: Module, **more: Any) -> PreTrainedModel:
    """The class of transformers with the same weights, in their precision."""
    written = to_huggingface_config(ours.config, ours.num_blocks, vocab_size=VOCAB, max_positions=POSITIONS)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    config = AutoConfig.for_model(**{**written, **ids, **more})
    if ours.config.preset in PAIR_HEADS:
        cls: Any = {"bert": BertForPreTraining, "albert": AlbertForPreTraining}[ours.config.preset]
    else:
        names = {**modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES}
        names |= modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        assert FAMILIES[ours.config.preset].name == names[config.model_type]
        auto = modeling_auto.AutoModelForCausalLM if ours.num_blocks[0] == 0 else modeling_auto.AutoModelForSeq2SeqLM
        cls = auto._model_mapping[type(config)]
    theirs = cls(config)
    if not ours.config.parts.tied:  # transformers 5 ties what it makes new
        theirs.lm_head.weight = nn.Parameter(theirs.lm_head.weight.detach().clone())
    state = to_huggingface(ours.state_dict(), ours.config, ours.num_blocks)
    theirs.to(next(iter(state.values())).dtype).load_state_dict(state, strict=True)
    for name, buffer in theirs.named_buffers():
        if name.endswith("inv_freq"):
            buffer.data = buffer.float()  # as it is where a model is loaded, and as ours are
    return theirs.eval()


@contextmanager
def float64_throughout() -> Iterator[None]:
    """Transformers computes norms, T5's softmax and causal losses in float32 whatever the model is in."""
    before = T5LayerNorm.forward, LlamaRMSNorm.forward, Tensor.float

    def normed(self: Any, states: Tensor) -> Tensor:
        return self.weight * states * torch.rsqrt(states.square().mean(-1, keepdim=True) + self.variance_epsilon)

    def at_least_float(self: Tensor) -> Tensor:
        return self if self.dtype == torch.float64 else before[2](self)

    T5LayerNorm.forward, LlamaRMSNorm.forward, Tensor.float = normed, normed, at_least_float  # type: ignore[method-assign]
    try:
        yield
    finally:
        T5LayerNorm.forward, LlamaRMSNorm.forward, Tensor.float = before  # type: ignore[method-assign]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A batch with ragged padding on the right, as ours and as theirs, and labels at some of its positions.

    Attributes:
        labels_BT: of the stack that predicts, -100 where nothing is said.
        next_sentence_B: BERT's second labels.
    """

    inputs: Inputs
    theirs: dict[str, Tensor]
    labels_BT: Tensor
    next_sentence_B: Tensor

    @property
    def places(self) -> Tensor:
        """int64[N], the labelled positions, indices into [B · T]."""
        return (self.labels_BT.flatten() != -100).nonzero().flatten()


def make_case(preset: PresetName, seed: int = 0, *, rows: int = 3) -> Case:
    """A random batch for a family."""
    generator = torch.Generator().manual_seed(100 + seed)

    def draw(high: int, *shape: int, low: int = 0) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    family, source, target = FAMILIES[preset], 17, 13
    encoder_lengths, decoder_lengths = draw(source + 1, rows, low=5), draw(target + 1, rows, low=4)
    encoder_lengths[0], decoder_lengths[0] = source, target
    encoder_ids, decoder_ids = draw(VOCAB, rows, source, low=3), draw(VOCAB, rows, target, low=3)
    encoder_mask = torch.arange(source) < encoder_lengths[:, None]
    decoder_mask = torch.arange(target) < decoder_lengths[:, None]
    encoder_ids[~encoder_mask], decoder_ids[~decoder_mask] = 0, 0
    segments = torch.where(encoder_mask, draw(2, rows, source), 0)
    inputs, theirs = Inputs(), {}
    if family.has_encoder:
        inputs = inputs._replace(encoder_ids_BS=encoder_ids, encoder_lengths_B=encoder_lengths)
        theirs = {"input_ids": encoder_ids, "attention_mask": encoder_mask.long()}
    if preset in PAIR_HEADS:
        inputs, theirs["token_type_ids"] = inputs._replace(segments_BS=segments), segments
    if family.has_decoder:
        inputs = inputs._replace(decoder_ids_BT=decoder_ids)
        names = (
            ("decoder_input_ids", "decoder_attention_mask") if family.has_encoder else ("input_ids", "attention_mask")
        )
        theirs |= dict(zip(names, (decoder_ids, decoder_mask.long()), strict=True))
    mask = decoder_mask if family.has_decoder else encoder_mask
    labels = torch.where(mask, draw(VOCAB, *mask.shape, low=1), -100)
    if not (family.has_encoder and family.has_decoder):
        labels[draw(3, *mask.shape) > 0] = -100
        labels[:, 1] = 5
        labels[:, -1] = -100  # a causal class takes its inputs as labels, and has none for the last
    return Case(inputs=inputs, theirs=theirs, labels_BT=labels, next_sentence_B=draw(2, rows))


def loss_of_ours(ours: Module, case: Case) -> tuple[Tensor, Tensor]:
    """The mean loss, and the logits [N, V] at the labels."""
    logits_NV, states = predicted(ours.body, case.inputs, case.places)
    loss = F.cross_entropy(logits_NV, case.labels_BT.flatten()[case.places])
    if ours.config.preset in PAIR_HEADS:
        loss = loss + F.cross_entropy(ours.next_sentence(states), case.next_sentence_B)
    return loss, logits_NV


def loss_of_theirs(theirs: PreTrainedModel, case: Case) -> tuple[Tensor, Tensor]:
    """Their own loss, and their logits at the same labels."""
    labels = case.labels_BT
    if case.inputs.encoder_ids_BS is None:  # a causal class's labels are its inputs: position t is said at t - 1
        labels = F.pad(labels[:, :-1], (1, 0), value=-100)
    name = {BertForPreTraining: "next_sentence_label", AlbertForPreTraining: "sentence_order_label"}.get(type(theirs))
    more = {} if name is None else {name: case.next_sentence_B}
    outputs = theirs(**case.theirs, labels=labels, **more)
    logits = outputs.prediction_logits if more else outputs.logits
    return outputs.loss, logits.flatten(0, 1)[case.places]
