"""One training step of other libraries' models of the same sizes, on the same text, each at its best.

No dropout, attention by SDPA, fused AdamW, batches made ahead and on the device. transformers' models get their batches
from its own collator where it has one (masked LM); it has none in torch for denoising and span corruption, and theirs
are made here. litgpt is an extra: it is measured where it is installed.
"""

import itertools
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW

from benchmarks.steps.arms import PRESET_OF, Setting, TimedStep, batches_of, prepared, update
from data.datamodule import DataModule
from data.stream.batch import IGNORE, Batch

CLASS_OF = {
    "masked_lm": "BertForPreTraining",
    "causal_lm": "GPT2LMHeadModel",
    "denoising": "BartForConditionalGeneration",
    "span_corruption": "T5ForConditionalGeneration",
}
EXTRA_OF = {"masked_lm": "modernbert", "causal_lm": "litgpt"}  # a second peer
DROPOUT_OF = {
    "masked_lm": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "causal_lm": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    "denoising": ("dropout", "attention_dropout", "activation_dropout"),
    "span_corruption": ("dropout_rate",),
}
Tensors = dict[str, Tensor]


def is_here(peer: str) -> bool:
    """Whether the library of a peer is installed."""
    return find_spec("litgpt" if peer == "litgpt" else "transformers") is not None


def _dense(batch: Batch, term: str, shape: torch.Size) -> Tensor:
    """Labels at every position, IGNORE where there is none, as transformers takes them."""
    labels = torch.full((shape.numel(),), IGNORE, device=batch.labels[term].ids_N.device)
    labels[batch.labels[term].positions_N] = batch.labels[term].ids_N
    return labels.view(shape)


def _mask(ids: Tensor, lengths: Tensor | None) -> Tensor:
    full = torch.full((len(ids),), ids.shape[1], device=ids.device) if lengths is None else lengths
    return (torch.arange(ids.shape[1], device=ids.device) < full[:, None]).long()


def _masked_lm_batches(data: DataModule, windows: list[list[int]], *, pairs: bool) -> Iterator[Tensors]:
    """By transformers' own collator; it has none for next-sentence prediction, whose labels cost nothing."""
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=data.tokenizer, mask_token="[MASK]", pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]"
    )
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    cls, sep, half = data.vocabulary.cls, data.vocabulary.sep, data.window // 2
    for start in range(0, len(windows), data.batch_size):
        rows = [[cls, *row[:half], sep, *row[half:], sep] for row in windows[start : start + data.batch_size]]
        batch = dict(collator([{"input_ids": row} for row in rows]))
        if pairs:
            batch["token_type_ids"] = (torch.arange(len(rows[0])) > half + 1).long().expand(len(rows), -1).contiguous()
            batch["next_sentence_label"] = torch.randint(2, (len(rows),))
        yield batch


def _their_batches(setting: Setting, peer: str) -> list[Tensors]:
    """Batches as the forward pass of a peer takes them, on the device."""
    module, data = prepared(setting, PRESET_OF[setting.objective])
    batches = batches_of(setting, module, data)
    if setting.objective in ("masked_lm", "causal_lm"):
        rows = [data.training_windows[index].tokens.tolist() for batch in batches for index in batch.indices]
        rows = [row for row in rows if len(row) == data.window]
        if setting.objective == "masked_lm":
            made = list(_masked_lm_batches(data, rows, pairs=peer == "theirs"))
        else:
            made = [{"input_ids": ids, "labels": ids} for ids in torch.tensor(rows).split(data.batch_size)]
        made = [batch for batch in made if len(batch["input_ids"]) == data.batch_size] or made[:1]
        return [{name: values.to(setting.device) for name, values in batch.items()} for batch in made]
    made = []
    for batch in batches:
        assert batch.encoder_ids_BS is not None
        assert batch.decoder_ids_BT is not None
        labels = _dense(batch, module.objective.token_term, batch.decoder_ids_BT.shape)
        mask = _mask(batch.encoder_ids_BS, batch.encoder_lengths_B)
        inputs = {"input_ids": batch.encoder_ids_BS, "attention_mask": mask}
        made.append({**inputs, "decoder_input_ids": batch.decoder_ids_BT, "labels": labels})
    return made


def _config_of(setting: Setting, peer: str, positions: int) -> Any:
    """The configuration of transformers of the same sizes, without dropout."""
    import transformers

    shape = setting.shape
    encoder: dict[str, Any] = {
        "num_attention_heads": shape.num_heads,
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "max_position_embeddings": positions,
    }
    stacks = {f"{stack}_{what}": value for stack in ("encoder", "decoder") for what, value in
              {"layers": shape.layers, "attention_heads": shape.num_heads, "ffn_dim": shape.inner}.items()}  # fmt: skip
    sizes: dict[str, dict[str, Any]] = {
        "masked_lm": encoder,
        "causal_lm": {"n_embd": shape.width, "n_inner": shape.inner, "n_layer": shape.layers,
                      "n_head": shape.num_heads, "n_positions": positions, "bos_token_id": 0},
        "denoising": {"d_model": shape.width, "max_position_embeddings": positions, **stacks},
        "span_corruption": {"d_model": shape.width, "d_ff": shape.inner, "d_kv": shape.width // shape.num_heads,
                            "num_heads": shape.num_heads, "num_layers": shape.layers},
    }  # fmt: skip
    special: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "vocab_size": shape.vocab_size}
    if peer == "modernbert":  # no dropout by default; its feed-forward is gated, and two thirds as wide for as much
        tokens: dict[str, Any] = {"bos_token_id": 2, "cls_token_id": 2, "sep_token_id": 3}
        gated: dict[str, Any] = {**encoder, "intermediate_size": 2 * shape.inner // 3}
        settings: dict[str, Any] = {**gated, **special, **tokens}
        return transformers.ModernBertConfig(**settings)
    no_dropout = dict.fromkeys(DROPOUT_OF[setting.objective], 0.0)
    cls = getattr(transformers, CLASS_OF[setting.objective])
    return cls.config_class(**special, **sizes[setting.objective], **no_dropout)


def _litgpt(setting: Setting) -> nn.Module:
    """The GPT of litgpt with Llama's parts."""
    from litgpt import GPT, Config  # pyright: ignore[reportMissingImports] (an extra)

    shape = setting.shape
    parts = {"norm_class_name": "RMSNorm", "mlp_class_name": "LLaMAMLP", "rotary_percentage": 1.0, "bias": False}
    sizes = {"n_layer": shape.layers, "n_head": shape.num_heads, "n_embd": shape.width, "block_size": shape.window,
             "padded_vocab_size": shape.vocab_size, "intermediate_size": 2 * shape.inner // 3}  # fmt: skip
    return GPT(Config(name="", **sizes, **parts, parallel_residual=False))


def make_peer(setting: Setting, peer: str, positions: int) -> nn.Module:
    """A peer's model with initial weights."""
    import transformers

    if peer == "litgpt":
        return _litgpt(setting)
    cls = (
        transformers.ModernBertForMaskedLM
        if peer == "modernbert"
        else getattr(transformers, CLASS_OF[setting.objective])
    )
    config = _config_of(setting, peer, positions)
    try:
        return cls._from_config(config, attn_implementation="sdpa")
    except ValueError:  # a class that has no SDPA comes with what it has
        return cls(config)


def theirs(setting: Setting, peer: str, *, compiles: bool) -> TimedStep:
    """The step of a peer: `theirs` is transformers' class of the family."""
    made = _their_batches(setting, peer)
    positions = max(values.shape[1] for batch in made for values in batch.values() if values.dim() == 2)
    model = make_peer(setting, peer, positions).to(setting.device).train()
    optimizer = AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    called: Callable[..., Any] = torch.compile(model) if compiles else model
    turn = itertools.cycle(made)

    def loss_of(batch: Tensors) -> Tensor:
        if peer != "litgpt":
            return called(**batch).loss
        logits = called(batch["input_ids"])
        return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten())

    def step() -> None:
        with setting.autocast():
            loss = loss_of(next(turn))
        loss.backward()
        update(model, optimizer)

    return TimedStep(
        step=step,
        raw_tokens=setting.shape.window * setting.shape.batch_size,
        flops=None,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
