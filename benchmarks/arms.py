"""One training step of each arm, ours and transformers', with the batches it takes: forward, backward, clip, update.

Both run the same sizes on the same text in the same precision. transformers' models get their batches from its own
collator where it has one (masked LM); it has none in torch for denoising and span corruption, and theirs are made here.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from data.datamodule import DataModule
from data.stream.batch import IGNORE, Batch
from data.stream.loader import CorruptedWindows, StepCollator, StepLoader
from data.stream.sharding import BatchSharding
from models.bodies.make import BodyConfig
from objectives.core.base import FLOPS_OF_A_STEP, Objective
from objectives.core.pretraining import Pretraining
from training.setup.cli import RunCLI
from training.step.compilation import begin_compiling
from training.step.optim import make_optimizer

ROOT = Path(__file__).parent.parent
PRESET_OF = {"masked_lm": "bert", "causal_lm": "gpt2", "denoising": "bart", "span_corruption": "t5"}
CLASS_OF = {
    "masked_lm": "BertForPreTraining",
    "causal_lm": "GPT2LMHeadModel",
    "denoising": "BartForConditionalGeneration",
    "span_corruption": "T5ForConditionalGeneration",
}
WIDTH, DEPTH, HEADS, INNER = 256, 4, 4, 1024
BATCHES = 8  # different ones, made ahead and used in turn


@dataclass(frozen=True)
class TimedStep:
    """A step to be timed.

    Attributes:
        step: makes one training step.
        raw_tokens: of a step, on average.
        flops: of a step; None where nobody counts them.
    """

    step: Callable[[], None]
    raw_tokens: float
    flops: float | None


def command_line(objective: str, preset: str) -> list[str]:
    """The settings of an arm: width 256, 4 layers, or 4 and 4 where there are two stacks."""
    layers = f"[{DEPTH}, {DEPTH}]" if objective in ("denoising", "span_corruption") else str(DEPTH)
    shape = [f"--body.preset={preset}", f"--body.width={WIDTH}", f"--body.layers={layers}"]
    heads = [f"--body.num_heads={HEADS}"]
    inner = [] if preset == "lab" else [f"--body.feed_forward_width={INNER}"]
    return ["--config", str(ROOT / f"configs/{objective}.yaml"), *shape, *heads, *inner]


def make_cli(objective: str, preset: str, *more: str) -> RunCLI:
    """An arm's run as train.py makes it."""
    arguments = [*command_line(objective, preset), *more]
    return RunCLI(
        *(Objective, DataModule, BodyConfig, Pretraining), defaults=ROOT / "configs/base.yaml", arguments=arguments
    )


def faster_precision() -> str:
    """What `auto` is on this machine for a masked LM: fp32 or bf16; measured and printed."""
    chosen = make_cli("masked_lm", "lab", "--resume=never").trainer_settings.precision
    return "bf16" if chosen == "bf16-mixed" else "fp32"


def prepared(objective: str, preset: str) -> tuple[Pretraining, DataModule]:
    """The module with its initial weights, and its data, opened."""
    cli = make_cli(objective, preset, "--trainer.precision=32-true")  # its own Trainer is not used
    module, data = cast(Pretraining, cli.model), cast(DataModule, cli.datamodule)
    data.cache = ROOT / "cache"
    data.prepare_data()
    data.open()
    return module, data


def loader_of(module: Pretraining, data: DataModule, *, workers: int = 0) -> StepLoader:
    """The training batches, as a run on one device reads them."""
    sharding = BatchSharding(batch_size=data.batch_size, micro_batch_size=data.batch_size)
    collator = StepCollator(
        micro_batch_size=data.batch_size,
        pad=data.vocabulary.pad,
        max_lengths=module.objective.max_lengths(data.window),
        keep_documents_apart=module.objective.keep_documents_apart,
    )
    examples = CorruptedWindows(data.training_windows, module.objective.corruption(data.vocabulary), seed=data.seed)
    return StepLoader(examples, sharding.steps(0), collator, length=1 << 40, num_workers=workers)


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Clips, updates, and forgets the gradient."""
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def autocast(precision: str) -> Any:
    """bf16 as Lightning and transformers' Trainer have it, or nothing."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")


def our_step(module: Pretraining, optimizer: torch.optim.Optimizer, batch: Batch, precision: str) -> None:
    """A step as training/step/module.py makes it, without Lightning."""
    with autocast(precision):
        terms = module.terms(batch, count_correct=False)
    loss = torch.stack([term.minimised_sum / (term.divisor or 1.0) for term in terms.values()]).sum()
    loss.backward()
    update(module, optimizer)


def ours(objective: str, preset: str, *, compiles: bool, precision: str) -> TimedStep:
    """The step of this project."""
    module, data = prepared(objective, preset)
    module.build(vocab_size=data.vocabulary.size, window=data.window)
    if compiles:
        begin_compiling(data.cache)
        module.compile_steps(data.training_windows, data.vocabulary)
    module.train()
    optimizer = make_optimizer(module, module.optimizer_config)
    batches = list(itertools.islice(loader_of(module, data), BATCHES))
    turn = itertools.cycle(batches)
    encoder, decoder, targets = _mean_lengths(batches)
    flops = module.built.flops(encoder=encoder, decoder=decoder, targets=targets)
    return TimedStep(
        step=lambda: our_step(module, optimizer, next(turn), precision),
        raw_tokens=sum(batch.raw_tokens for batch in batches) / BATCHES,
        flops=FLOPS_OF_A_STEP * data.batch_size * flops,
    )


def _mean_lengths(batches: list[Batch]) -> tuple[float, float, float]:
    """Mean positions of encoder and decoder, padding included, and targets, of a window."""

    def width(ids: Tensor | None) -> int:
        return 0 if ids is None else ids.shape[1]

    windows = sum(len(batch.indices) for batch in batches)
    encoder = sum(width(batch.encoder_ids_BS) for batch in batches) / len(batches)
    decoder = sum(width(batch.decoder_ids_BT) for batch in batches) / len(batches)
    return encoder, decoder, sum(batch.target_tokens for batch in batches) / windows


def _dense(batch: Batch, term: str, shape: torch.Size) -> Tensor:
    """Labels at every position, IGNORE where there is none, as transformers takes them."""
    labels = torch.full((shape.numel(),), IGNORE)
    labels[batch.labels[term].positions_N] = batch.labels[term].ids_N
    return labels.view(shape)


def _mask(ids: Tensor, lengths: Tensor | None) -> Tensor:
    full = torch.full((len(ids),), ids.shape[1]) if lengths is None else lengths
    return (torch.arange(ids.shape[1]) < full[:, None]).long()


def _masked_lm_batches(data: DataModule, windows: list[list[int]]) -> Iterator[dict[str, Tensor]]:
    """By transformers' own collator; it has none for next-sentence prediction, whose labels cost nothing."""
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=data.tokenizer, mask_token="[MASK]", pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]"
    )
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    cls, sep = data.vocabulary.cls, data.vocabulary.sep
    for start in range(0, len(windows), data.batch_size):
        rows = [[cls, *row[:64], sep, *row[64:], sep] for row in windows[start : start + data.batch_size]]
        batch = dict(collator([{"input_ids": row} for row in rows]))
        segments = (torch.arange(batch["input_ids"].shape[1]) > 65).long().expand_as(batch["input_ids"])
        follows = torch.randint(2, (len(rows),))
        yield {**batch, "token_type_ids": segments.contiguous(), "next_sentence_label": follows}


def _their_batches(objective: str, module: Pretraining, data: DataModule, batches: list[Batch]) -> list[dict[str, Any]]:
    if objective in ("masked_lm", "causal_lm"):
        rows = [data.training_windows[index].tokens.tolist() for batch in batches for index in batch.indices]
        rows = [row for row in rows if len(row) == data.window]
        if objective == "masked_lm":
            return list(_masked_lm_batches(data, rows))
        ids = torch.tensor(rows).split(data.batch_size)
        return [{"input_ids": part, "labels": part} for part in ids]
    made = []
    for batch in batches:
        assert batch.encoder_ids_BS is not None
        assert batch.decoder_ids_BT is not None
        mask = _mask(batch.encoder_ids_BS, batch.encoder_lengths_B)
        labels = _dense(batch, module.objective.token_term, batch.decoder_ids_BT.shape)
        inputs = {"input_ids": batch.encoder_ids_BS, "attention_mask": mask}
        made.append({**inputs, "decoder_input_ids": batch.decoder_ids_BT, "labels": labels})
    return made


def _their_model(objective: str, vocab_size: int, dropout: float | None) -> nn.Module:
    """The class of the same family at the same sizes; `dropout` None leaves the class's own default."""
    import transformers

    heads = {"num_attention_heads": HEADS, "num_hidden_layers": DEPTH}
    stacks = {f"{stack}_{what}": value for stack in ("encoder", "decoder")
              for what, value in {"layers": DEPTH, "attention_heads": HEADS, "ffn_dim": INNER}.items()}  # fmt: skip
    sizes: dict[str, dict[str, Any]] = {
        "masked_lm": {"hidden_size": WIDTH, "intermediate_size": INNER, **heads},
        "causal_lm": {"n_embd": WIDTH, "n_inner": INNER, "n_layer": DEPTH, "n_head": HEADS, "bos_token_id": 0},
        "denoising": {"d_model": WIDTH, **stacks},
        "span_corruption": {"d_model": WIDTH, "d_ff": INNER, "d_kv": WIDTH // HEADS, "num_heads": HEADS,
                            "num_layers": DEPTH},
    }  # fmt: skip
    rates = {
        "masked_lm": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
        "causal_lm": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        "denoising": ("dropout", "attention_dropout", "activation_dropout"),
        "span_corruption": ("dropout_rate",),
    }
    no_dropout = {} if dropout is None else dict.fromkeys(rates[objective], dropout)
    special = {"pad_token_id": 0, "eos_token_id": 1}
    cls = getattr(transformers, CLASS_OF[objective])
    return cls(cls.config_class(vocab_size=vocab_size, **special, **sizes[objective], **no_dropout))


def theirs(objective: str, *, dropout: float | None, compiles: bool, precision: str) -> TimedStep:
    """The step of transformers' class of the same family."""
    module, data = prepared(objective, PRESET_OF[objective])
    batches = list(itertools.islice(loader_of(module, data), BATCHES))
    made = _their_batches(objective, module, data, batches)
    model = _their_model(objective, data.vocabulary.size, dropout).train()
    optimizer = AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    called: Callable[..., Any] = torch.compile(model) if compiles else model
    turn = itertools.cycle(made)

    def step() -> None:
        with autocast(precision):
            loss = called(**next(turn)).loss
        loss.backward()
        update(model, optimizer)

    return TimedStep(step=step, raw_tokens=data.window * data.batch_size, flops=None)
