"""A store is the same bytes whatever the number of processes, and one that fails or dies is named."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import MachineError, UserError
from data.store import cleaner, processes, rate
from data.store.processes import in_order, processors
from data.store.rate import ReadingRate
from data.store.recipe import Recipe
from data.store.store import find_or_build
from data.text.corpora import Corpus
from tests.helpers import made_up_documents, write_jsonl


@pytest.fixture(autouse=True)
def none_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FEW", 1)


def test_results_come_in_order_and_pieces_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[str]:
        for number in range(200):
            taken.append(number)
            yield f"print('what a library prints is no result') or {number} ** 2"

    results = in_order(eval, pieces(), 2)
    assert [next(results) for _ in range(10)] == [number**2 for number in range(10)]
    assert len(taken) < 20
    assert list(results) == [number**2 for number in range(10, 200)]


@pytest.mark.parametrize(
    ("piece", "kind", "words"),
    [
        ("(_ for _ in ()).throw(__import__('common.errors').errors.UserError('no text'))", UserError, "^no text$"),
        ("{}['of ours']", KeyError, "of ours"),
        ("__import__('os').kill(__import__('os').getpid(), 9)", MachineError, r"pid \d+\) was killed"),
    ],
)
def test_what_ends_the_work_elsewhere_is_raised_here(piece: str, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        list(in_order(eval, ["1", "2", "3", piece, "4"], 2))
    notes = getattr(raised.value, "__notes__", [])
    assert [note for note in notes if "Traceback" in note and "_serve" in note] == notes
    assert bool(notes) is (kind is KeyError), "the user's and the machine's errors are one line"


def test_whoever_takes_no_more_results_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    start = processes.subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> Any:
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", noted)
    results = in_order(abs, range(20, 100), 2)
    assert [next(results), next(results)] == [20, 21]
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2


def test_few_pieces_are_worked_on_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FEW", 3)
    here = "__import__('os').getpid()"
    assert set(in_order(eval, [here] * 3, 2)) == {os.getpid()}
    assert os.getpid() not in set(in_order(eval, [here] * 4, 2))
    assert set(in_order(eval, [here] * 4, 1)) == {os.getpid()}


@pytest.mark.parametrize(("kind", "many"), [("byte_bpe", 3), pytest.param("unigram", 2, marks=pytest.mark.slow)])
def test_a_store_is_the_same_bytes_whatever_the_number_of_processes(
    kind: str, many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*made_up_documents(200), "", "\ufeff Odd.\r\nText. ", "\x00", "문서이다. 둘째 문장. [MASK]"]
    corpus = Corpus(source=(str(write_jsonl(tmp_path / "corpus.jsonl", texts)),))
    trained = find_or_build(Recipe(corpus=corpus, tokenizer=kind, vocab_size=500), tmp_path, report=lambda line: None)
    recipe = Recipe(corpus=corpus, tokenizer=str(trained / "tokenizer.json"))
    stores: dict[int, dict[str, bytes]] = {}
    for count in (1, many):
        monkeypatch.setattr(processes, "processors", lambda count=count: count)
        monkeypatch.setattr(cleaner, "CHARACTERS_AT_ONCE", 1_000 * count)
        folder = find_or_build(recipe, tmp_path / str(count), report=lambda line: None)
        stores[count] = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
    assert stores[1] == stores[many]
    assert len(stores[1]) == 8
    for name in ("tokens", "sentence_starts", "document_starts"):
        path = Path("train") / f"{name}.bin"
        assert stores[1][str(path)] == (trained / path).read_bytes()


def test_there_is_a_process_for_each_processor_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable", lambda: {0, 1, 2, 5})
    for limit, count in ((None, 4), (2.5, 2), (0.5, 1), (9.0, 4)):
        monkeypatch.setattr(processes, "quota", lambda limit=limit: limit)
        assert processors() == count


@pytest.mark.parametrize(
    ("total", "line"), [(40_000_000, "reading: 10 of 40 MB, 0.5 MB/s, 60 s left"), (None, "reading: 10 MB, 0.5 MB/s")]
)
def test_the_rate_is_reported_with_the_time_that_is_left(
    total: int | None, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(rate, "monotonic", lambda: now)
    lines: list[str] = []
    reading = ReadingRate("reading", total, lines.append)
    now += 9
    reading.add(5_000_000)
    assert not lines
    now += 11
    reading.add(5_000_000)
    assert lines == [line]
    now += 5
    reading.finish()
    assert lines[1:] == ["reading: 10.0 MB in 25.0 s, 0.4 MB/s"]


def test_of_a_little_text_nothing_is_reported() -> None:
    report: Callable[[str], None] = pytest.fail
    reading = ReadingRate("reading", None, report)
    reading.add(1_000)
    reading.finish()
