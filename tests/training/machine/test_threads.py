"""A run's threads: chosen once from what is free, noted, and kept; a user's own number stands above all."""

import logging
from collections.abc import Callable, Iterator

import pytest
import torch

from common.errors import UserError
from tests.helpers import make_cli, train_in_process
from training.machine import threads
from training.machine.threads import OF_STUDY, OF_USER, free_threads, set_threads, usual
from training.storage.run_dir import RunFolder

Command = Callable[..., list[str]]


class Meter:
    """Other processes keep one of two processors busy."""

    processors = frozenset({0, 1})

    def busy(self) -> float:
        return 1.0


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Two processors without a user's settings, of which another process keeps one busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    for name in (OF_USER, OF_STUDY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "meter", Meter)
    caplog.set_level(logging.INFO, "lightning.pytorch.utilities.rank_zero")
    monkeypatch.setattr(threads, "quota", lambda: None)
    for decided in (usual, free_threads):
        decided.cache_clear()
    yield
    torch.set_num_threads(before)
    for decided in (usual, free_threads):
        decided.cache_clear()


@pytest.mark.usefixtures("free")
def test_threads_are_those_that_are_free_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert [set_threads(None, processes=1) for _ in range(2)] == [1, 1]
    assert torch.get_num_threads() == 1
    assert caplog.messages == ["[machine] threads 1: 2 processors, other processes keep 1.0 of them busy"]


@pytest.mark.usefixtures("free")
def test_a_run_keeps_its_number_and_a_study_sets_that_of_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OF_STUDY, "2")
    assert set_threads(None, processes=1) == 2
    assert set_threads(1, processes=1) == torch.get_num_threads() == 1


@pytest.mark.usefixtures("free")
def test_a_users_number_stands_and_one_line_names_what_follows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(OF_USER, "2")
    assert set_threads(2, processes=1) == set_threads(None, processes=1) == 2
    assert "last bits" not in caplog.text
    assert set_threads(1, processes=1) == torch.get_num_threads() == 2
    assert "OMP_NUM_THREADS = 2, and the run began with 1 threads: the last bits" in caplog.text


@pytest.mark.usefixtures("free")
def test_the_number_stands_in_the_run_folder_and_a_run_that_goes_on_has_it(tiny_run: Command) -> None:
    command = tiny_run("causal_lm", "run", "--budget.steps", "1")
    assert train_in_process(command) == 0
    run = RunFolder(make_cli(command).folder)
    assert run.read_info()["threads"] == 1
    run.write_info(threads=2)
    assert make_cli(command).threads == torch.get_num_threads() == 2
    assert make_cli([*command, "--resume", "never"]).threads == 1


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("given", ["x", "0", "-2", "", "1e3"])
def test_what_a_study_cannot_have_decided_is_refused_by_name(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OF_STUDY, given)
    with pytest.raises(UserError, match=f"{OF_STUDY} = {given} must be a number of threads"):
        set_threads(None, processes=1)
