"""A run's kernels: the fastest where there is a choice, what the user set, and the same ones when it goes on."""

import logging
from collections.abc import Callable

import pytest
import torch

from tests.helpers import make_cli, train_in_process
from training.step import kernels
from training.step.kernels import AttentionSeconds, Kernels, chosen, fastest
from training.storage.run_dir import RunFolder

Command = Callable[..., list[str]]
NONE = AttentionSeconds({}, {})


def test_another_kernel_is_taken_where_it_is_faster_by_more_than_chance() -> None:
    assert fastest({"dense": 1.0, "flex": 0.9}, "dense") == "flex"
    assert fastest({"dense": 1.0, "flex": 0.98}, "dense") == "dense"
    assert fastest({"dense": 1.0, "flex": float("inf")}, "dense") == "dense"
    assert fastest({}, "dense") == "dense"


def test_a_choice_is_printed_with_its_times(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lightning.pytorch.utilities.rank_zero")
    seconds = AttentionSeconds({"dense": 2e-3, "flex": 1e-3}, {"torch": 1e-3, "cudnn": 5e-4})
    found = chosen(seconds, torch.device("cuda"), torch.bfloat16)
    assert (found.attention, found.plain) == ("flex", "cudnn")
    assert caplog.messages == [
        "[machine] attention under masks flex: of this run's sizes, milliseconds a step: dense 2.00, flex 1.00",
        "[machine] attention without cudnn: of this run's sizes, milliseconds a step: torch 1.00, cudnn 0.50",
    ]
    caplog.clear()
    assert chosen(NONE, torch.device("cpu"), torch.float32).attention == "dense"
    assert caplog.messages == []


def test_logits_are_held_whole_in_float16_and_on_other_devices() -> None:
    """The gradient of a chunk is taken before the loss is scaled into the range of float16."""
    assert chosen(NONE, torch.device("cpu"), torch.float32).logits_at_once == kernels.LOGITS_AT_ONCE["cpu"]
    assert chosen(NONE, torch.device("cuda"), torch.float16).logits_at_once is None
    assert chosen(NONE, torch.device("mps"), torch.float32).logits_at_once is None


def test_what_is_written_is_read_and_a_run_from_before_has_what_it_had() -> None:
    found = Kernels(attention="flex", plain="cudnn", logits_at_once=2**20)
    assert Kernels.from_json(found.to_json()) == Kernels.of({"threads": 2, **found.info()}) == found
    assert Kernels.of({"threads": 2}) == Kernels(attention="dense", plain="torch", logits_at_once=None)
    assert found.with_attention("auto") == found
    assert found.with_attention("dense") == Kernels(attention="dense", plain="cudnn", logits_at_once=2**20)


def test_they_stand_in_the_run_folder_and_a_run_that_goes_on_has_them(
    tiny_run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tiny_run("causal_lm", "run", "--budget.steps", "1")
    assert train_in_process(command) == 0
    run = RunFolder(make_cli(command).folder)
    began = {"attention": "dense", "plain": "torch", "logits_at_once": kernels.LOGITS_AT_ONCE["cpu"]}
    assert run.read_info()["kernels"] == began
    monkeypatch.setattr(kernels, "LOGITS_AT_ONCE", {"cpu": 1})
    cli = make_cli(command)
    assert cli.kernels == cli.model.kernels == Kernels.of({"kernels": began})
    run.write_info(kernels={})  # as before they were noted
    assert make_cli(command).kernels == Kernels()
    assert make_cli([*command, "--resume", "never"]).kernels.logits_at_once == 1


def test_flex_is_refused_in_one_line_where_there_is_no_cuda(
    tiny_run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--trainer.accelerator", "cpu", "--trainer.attention", "flex")
    assert train_in_process(tiny_run("causal_lm", "run", *flags)) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "trainer.attention = flex: torch trains by FlexAttention on CUDA alone" in message
    assert "this run is on cpu; choose auto, or dense" in message
