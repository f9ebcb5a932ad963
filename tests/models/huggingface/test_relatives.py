"""The other classes of a preset: EuroBERT, Llama on both sides, ELECTRA's two networks, DistilBERT; and their traps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.albert.modeling_albert import AlbertForPreTraining
from transformers.models.distilbert.modeling_distilbert import DistilBertForMaskedLM
from transformers.models.electra.modeling_electra import ElectraForMaskedLM, ElectraForPreTraining
from transformers.models.eurobert.modeling_eurobert import EuroBertForMaskedLM, EuroBertRMSNorm
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from common.errors import UserError
from models.body import Inputs
from models.huggingface.families import RELATIVES
from models.huggingface.settings import from_huggingface_config, read_family, to_huggingface_config
from models.huggingface.weights import from_huggingface, to_huggingface
from models.presets import TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.transformer import Transformer
from objectives.replaced_token_detection import Detector
from tests.models.huggingface.families import POSITIONS, VOCAB, float64_throughout

CLASSES: dict[str, Any] = {
    "EuroBertForMaskedLM": EuroBertForMaskedLM,
    "LlamaForCausalLM": LlamaForCausalLM,
    "ElectraForPreTraining": ElectraForPreTraining,
    "ElectraForMaskedLM": ElectraForMaskedLM,
    "DistilBertForMaskedLM": DistilBertForMaskedLM,
}
ALBERT: Any = AlbertForPreTraining
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
BLOCKS = (2, 0)


@contextmanager
def float64_norms() -> Iterator[None]:
    before = EuroBertRMSNorm.forward
    with float64_throughout():
        from transformers.models.llama.modeling_llama import LlamaRMSNorm

        EuroBertRMSNorm.forward = LlamaRMSNorm.forward  # type: ignore[method-assign]
        try:
            yield
        finally:
            EuroBertRMSNorm.forward = before  # type: ignore[method-assign]


def ours_of(name: str, **more: Any) -> Any:
    """A body in float64, every parameter of which matters, with its detector where it is ELECTRA's."""
    preset = RELATIVES[name].preset
    assert preset is not None
    narrow = {"embedding_width": 10} if "Electra" in name else {}
    config = TransformerConfig(preset=preset, width=16, num_heads=2, **{**narrow, **more})
    module: Any = nn.Module()
    module.body = Transformer(config, num_blocks=BLOCKS, vocab_size=VOCAB, max_positions=POSITIONS)
    if name == "ElectraForPreTraining":
        module.body.drop_head()
        module.detector = Detector(config)
    initialise(module, 0)
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return module.double().eval()


def theirs_of(name: str, ours: Any, **more: Any) -> Any:
    body, family = ours.body, RELATIVES[name]
    assert isinstance(body, Transformer)
    written = to_huggingface_config(body.config, BLOCKS, vocab_size=VOCAB, max_positions=POSITIONS, family=family)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "mask_token_id": 3}
    theirs = CLASSES[name](CLASSES[name].config_class(**{**written, **ids, **more})).double()
    theirs.load_state_dict(to_huggingface(ours.state_dict(), body.config, BLOCKS, family=family), strict=True)
    for buffer_name, buffer in theirs.named_buffers():
        if buffer_name.endswith("inv_freq"):
            buffer.data = buffer.float()
    return theirs.eval()


def padded_rows(*, segments: bool) -> tuple[Inputs, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(4, VOCAB, (3, 15), generator=generator)
    lengths = torch.tensor([15, 9, 4])
    mask = torch.arange(15) < lengths[:, None]
    ids[~mask] = 0
    types = torch.zeros_like(ids)
    inputs = Inputs(encoder_ids_BS=ids, encoder_lengths_B=lengths, segments_BS=types if segments else None)
    return inputs, {"input_ids": ids, "attention_mask": mask.long()}


def logits_of(name: str, ours: Any, inputs: Inputs) -> Tensor:
    states = ours.body(inputs)
    return ours.detector(states)[..., 0] if name == "ElectraForPreTraining" else ours.body.logits(states)


@pytest.mark.parametrize("is_loaded", [False, True], ids=["made", "saved and loaded"])
@pytest.mark.parametrize("name", CLASSES)
def test_logits_equal_those_of_the_class_in_padded_rows(name: str, is_loaded: bool, tmp_path: Path) -> None:
    """N1."""
    ours = ours_of(name)
    theirs = theirs_of(name, ours)
    if is_loaded:
        theirs.save_pretrained(tmp_path)
        theirs = CLASSES[name].from_pretrained(tmp_path, dtype=torch.float64).eval()
    inputs, read = padded_rows(segments=RELATIVES[name].preset == "bert")
    with float64_norms(), torch.no_grad():
        mine, other = logits_of(name, ours, inputs), theirs(**read).logits
    real = read["attention_mask"].bool()
    assert other.dtype == torch.float64
    assert (mine[real] - other[real]).abs().max() <= 1e-10
    assert mine[real].std() > 0.1


@pytest.mark.parametrize("name", CLASSES)
def test_a_late_token_moves_early_logits(name: str) -> None:
    """N2: bidirectional, here and there."""
    ours = ours_of(name)
    theirs = theirs_of(name, ours)
    inputs, read = padded_rows(segments=RELATIVES[name].preset == "bert")
    changed = read["input_ids"].clone()
    changed[0, 14] = 4 + (changed[0, 14] - 3) % (VOCAB - 4)
    with torch.no_grad():
        mine = [
            logits_of(name, ours, inputs._replace(encoder_ids_BS=ids))[0, 0] for ids in (read["input_ids"], changed)
        ]
        other = [theirs(**{**read, "input_ids": ids}).logits[0, 0] for ids in (read["input_ids"], changed)]
    for before, after in (mine, other):
        assert (before - after).abs().max() > 1e-6


@pytest.mark.parametrize("name", CLASSES)
def test_there_and_back_every_weight_and_size_is_the_same(name: str) -> None:
    ours = ours_of(name)
    theirs = theirs_of(name, ours)
    saved = {**theirs.config.to_dict(), "architectures": [name]}
    config, vocab_size = from_huggingface_config(saved)
    assert read_family(saved)[1].name == name
    assert (vocab_size, config.layers, config.width, config.width_of_embeddings) == (
        VOCAB,
        BLOCKS,
        16,
        ours.body.config.width_of_embeddings,
    )
    back = from_huggingface(theirs.state_dict(), config, BLOCKS, RELATIVES[name])
    assert back.keys() == ours.state_dict().keys()
    if name != "DistilBertForMaskedLM":
        assert all(torch.equal(back[key], tensor) for key, tensor in ours.state_dict().items())
    ours.load_state_dict(back)
    inputs, read = padded_rows(segments=RELATIVES[name].preset == "bert")
    real = read["attention_mask"].bool()
    with float64_norms(), torch.no_grad():
        assert (logits_of(name, ours, inputs)[real] - theirs(**read).logits[real]).abs().max() <= 1e-10


# --- silent traps of transformers 5 ---


def test_electra_takes_the_label_minus_100_for_a_target() -> None:
    """So that a batch for it has labels 0 and 1 alone: its loss is a mean over `attention_mask`."""
    theirs = theirs_of("ElectraForPreTraining", ours_of("ElectraForPreTraining"))
    _, read = padded_rows(segments=True)
    labels = torch.zeros_like(read["input_ids"])
    with torch.no_grad():
        right = theirs(**read, labels=labels).loss
        logits = theirs(**read).logits[read["attention_mask"].bool()]
        ignored = torch.where(torch.arange(15) < 2, -100, labels)
        wrong = theirs(**read, labels=ignored).loss
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
    assert (right - expected).abs() < 1e-6  # theirs is in float32
    assert (wrong - right).abs() > 1


def test_electras_generator_uses_the_exact_gelu_whatever_hidden_act_is() -> None:
    ours = ours_of("ElectraForMaskedLM")
    plain, other = (theirs_of("ElectraForMaskedLM", ours, hidden_act=name) for name in ("gelu", "relu"))
    states = torch.randn(2, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain.generator_predictions(states), other.generator_predictions(states))


def test_distilbert_ignores_token_types() -> None:
    theirs = theirs_of("DistilBertForMaskedLM", ours_of("DistilBertForMaskedLM"))
    _, read = padded_rows(segments=True)
    with torch.no_grad():
        plain = theirs(**read).logits
        typed = theirs(**read, token_type_ids=torch.ones_like(read["input_ids"])).logits
    assert torch.equal(plain, typed)


def test_alberts_loss_is_nan_where_no_token_is_masked() -> None:
    theirs = ALBERT(ALBERT.config_class(**SHAPE, embedding_size=8)).eval()
    ids = torch.ones(2, 5, dtype=torch.long)
    with torch.no_grad():
        outputs = theirs(ids, labels=torch.full_like(ids, -100), sentence_order_label=torch.zeros(2, dtype=torch.long))
        alone = theirs(ids, labels=ids)
    assert outputs.loss.isnan()
    assert alone.loss is None


def test_a_boolean_mask_leaks_the_future_in_eager_attention() -> None:
    """It is added as 0 and 1; a float one hides. Prefix masks for transformers are float therefore."""
    torch.manual_seed(0)
    llama = CLASSES["LlamaForCausalLM"]
    theirs = llama(llama.config_class(**SHAPE, attn_implementation="eager")).eval()
    ids = torch.randint(4, VOCAB, (1, 6))
    changed = ids.clone()
    changed[0, -1] = 4
    allowed = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    added = torch.where(allowed, 0.0, torch.finfo(torch.float32).min)
    moved = []
    for mask in (allowed, added):
        with torch.no_grad():
            one, other = (theirs(text, attention_mask=mask, use_cache=False).logits[0, 0] for text in (ids, changed))
        moved.append((one - other).abs().max())
    assert moved[0] > 1e-6
    assert moved[1] == 0


def test_albert_with_equal_widths_has_an_identity_before_its_layers() -> None:
    config = TransformerConfig(preset="albert", width=16, num_heads=2, share_layers=1)
    body = Transformer(config, num_blocks=(2, 0), vocab_size=VOCAB, max_positions=POSITIONS)
    state = {f"body.{name}": tensor for name, tensor in body.state_dict().items()}
    there = to_huggingface(state, config, (2, 0))
    name = "albert.encoder.embedding_hidden_mapping_in"
    assert torch.equal(there[f"{name}.weight"], torch.eye(16))
    assert not there[f"{name}.bias"].any()
    assert from_huggingface(there, config, (2, 0)).keys() == state.keys()
    with pytest.raises(UserError, match="projects embeddings that are as wide"):
        from_huggingface({**there, f"{name}.bias": torch.ones(16)}, config, (2, 0))


def test_a_class_of_another_preset_is_refused() -> None:
    with pytest.raises(UserError, match=r"body.preset = lab, and ElectraForPreTraining is body.preset = bert"):
        to_huggingface_config(
            TransformerConfig(), BLOCKS, vocab_size=9, max_positions=9, family=RELATIVES["ElectraForPreTraining"]
        )
