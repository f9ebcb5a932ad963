"""Fine-tuning from a folder that transformers saved begins with its very states, and with its very loss."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data.stream.batch import Batch
from finetuning.body.body import states_of
from finetuning.core.base import FineTuning
from finetuning.data.batch import collate
from finetuning.datamodule import TaskData
from finetuning.grid import fine_tune
from finetuning.load import load_fine_tuned
from finetuning.tasks.classification import Classification
from tests.finetuning.export.pipelines import cases
from tests.finetuning.opened import opened, terms_of

Command = Callable[..., list[str]]
Saved = Callable[[str], Path]
TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}
ROWS = range(8)


def loaded(folder: Path, size: int) -> Any:
    """The whole model, as the class that saved it, with as many ids."""
    import transformers

    (name,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    model = getattr(transformers, name).from_pretrained(folder).eval()
    if size > model.config.vocab_size:  # new tokens are the mean of the old ones
        model.resize_token_embeddings(size, mean_resizing=False)
        table = model.get_input_embeddings().weight.data
        had = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        table[had:] = table[:had].mean(dim=0)
    return model


def started(tiny_task: Command, folder: Path, task: str, *more: str) -> tuple[FineTuning, TaskData, Batch]:
    """A module before its first step, its data, and some training rows side by side."""
    command = tiny_task(task, "causal_lm", *more)
    command[command.index("--checkpoint") + 1] = str(folder)
    module, data = opened(command)
    examples = [data.examples["train"][number] for number in ROWS]
    return module, data, collate(examples, pad=module.start.vocabulary.pad)


def mask_of(ids: Tensor, lengths_B: Tensor | None) -> Tensor:
    """int64[B, T], 1 where there is no padding."""
    full_B = torch.full((len(ids),), ids.shape[1])
    return (torch.arange(ids.shape[1]) < (full_B if lengths_B is None else lengths_B)[:, None]).long()


def arguments_of(batch: Batch) -> dict[str, Tensor]:
    """What theirs is given."""
    ids, lengths_B = (
        (batch.decoder_ids_BT, batch.decoder_lengths_B)
        if batch.encoder_ids_BS is None
        else (batch.encoder_ids_BS, batch.encoder_lengths_B)
    )
    assert ids is not None
    given = {"input_ids": ids, "attention_mask": mask_of(ids, lengths_B)}
    if batch.encoder_ids_BS is not None and batch.decoder_ids_BT is not None:
        given["decoder_input_ids"] = batch.decoder_ids_BT
    return given


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("name", cases("bart", "bert", "gpt2", "gpt2 plain", "lab", "t5", "t5_v1_1"))
def test_a_classification_begins_with_the_states_of_transformers_body(
    tiny_task: Command, saved: Saved, name: str, pooling: str
) -> None:
    """And so with the loss that its head makes of them."""
    module, data, batch = started(tiny_task, saved(name), "pairs", "--tuning.pooling", pooling)
    model = loaded(saved(name), module.start.vocabulary.size)
    given, head = arguments_of(batch), cast(Classification, module).head
    segments = {"token_type_ids": batch.segments_BS} if name == "bert" else {}
    body = model.base_model if name != "t5" and name != "t5_v1_1" else model
    with torch.no_grad():
        if "decoder_input_ids" in given:
            states_BTD = body(**given, output_hidden_states=True).decoder_hidden_states[-1]
        elif model.config.is_encoder_decoder:
            states_BTD = model.get_encoder()(**given).last_hidden_state
        else:
            states_BTD = body(**given, **segments).last_hidden_state
        assert module.body is not None
        ids = given.get("decoder_input_ids", given["input_ids"])
        mask_BT1 = mask_of(
            ids, batch.decoder_lengths_B if batch.decoder_ids_BT is not None else batch.encoder_lengths_B
        )
        mask_BT1 = mask_BT1[..., None]
        ours_BTD = states_of(module.body, batch)
        torch.testing.assert_close(ours_BTD * mask_BT1, states_BTD * mask_BT1, **TOLERANCE)
        lengths_B = mask_BT1.sum(dim=(1, 2))
        pooled_BD = states_BTD[torch.arange(len(ids)), lengths_B - 1]
        if pooling == "mean":
            assert batch.segments_BS is not None
            of_text = [mask_BT1 * (batch.segments_BS == number)[..., None] for number in (0, 1)]
            one_BD, two_BD = ((states_BTD * mask).sum(dim=1) / mask.sum(dim=1) for mask in of_text)
            pooled_BD = torch.cat([one_BD, two_BD, (one_BD - two_BD).abs(), one_BD * two_BD], dim=1)
        loss = F.cross_entropy(head(pooled_BD), batch.labels["label"].ids_N)
    term = terms_of(module, data, ROWS)["label"]
    torch.testing.assert_close(term.loss_sum / term.divisor, loss, **TOLERANCE)


@pytest.mark.parametrize("name", cases("t5_v1_1", "gpt2", "gpt2 plain", "lab", "bart", "t5"))
def test_a_text_to_text_task_begins_with_the_loss_of_transformers_class(
    tiny_task: Command, saved: Saved, name: str
) -> None:
    module, data, batch = started(tiny_task, saved(name), "text_to_text")
    model, given = loaded(saved(name), module.start.vocabulary.size), arguments_of(batch)
    assert batch.decoder_ids_BT is not None
    labels_BT = torch.full_like(batch.decoder_ids_BT, -100)
    positions_N, ids_N, *_ = batch.labels["target"]
    labels_BT.view(-1)[positions_N] = ids_N
    if not module.start.has_encoder:  # a causal class's labels are its inputs: position t is said at t - 1
        given = {kind: F.pad(tensor, (0, 1)) for kind, tensor in given.items()}
        labels_BT = F.pad(labels_BT, (1, 0), value=-100)
    else:
        del given["decoder_input_ids"]  # theirs moves the labels to the right itself
    with torch.no_grad():
        loss = model(**given, labels=labels_BT).loss
    term = terms_of(module, data, ROWS)["target"]
    torch.testing.assert_close(term.loss_sum / term.divisor, loss, **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "gpt2", "lab", "bart", "t5", "t5_v1_1"])
def test_what_transformers_saved_is_fine_tuned(tiny_task: Command, saved: Saved, name: str) -> None:
    command = tiny_task("classification", "causal_lm")
    command[command.index("--checkpoint") + 1] = str(saved(name))
    start = load_fine_tuned(fine_tune(command).folder).module.start
    assert start.is_limited == (name in ("bert", "gpt2", "bart"))
