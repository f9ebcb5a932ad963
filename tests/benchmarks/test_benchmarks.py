"""The benchmarks run from end to end at a tiny shape, and leave what they measured in one file a machine."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import busy, generation, loop, speed, tables
from benchmarks.shared import record
from benchmarks.steps import peers
from benchmarks.steps.arms import PRESET_OF, Setting, ours
from benchmarks.steps.peers import make_peer
from benchmarks.steps.products import products_of
from benchmarks.steps.shapes import MEASURED, shape_named
from benchmarks.steps.timing import make_arm, measure, variants_of
from objectives.core.chunks import LEAST_POSITIONS
from training.step import kernels


def setting(objective: str) -> Setting:
    return Setting(objective=objective, shape=shape_named("tiny"), device=torch.device("cpu"), precision="fp32")


@pytest.mark.parametrize("objective", PRESET_OF)
def test_both_sides_have_the_same_parameters_and_the_step_its_products(objective: str) -> None:
    arm = ours(setting(objective), PRESET_OF[objective], compiles=False)
    model = make_peer(setting(objective), "theirs", positions=64)
    assert not [module for module in model.modules() if isinstance(module, torch.nn.Dropout) and module.p > 0]
    assert sum(one.numel() for one in model.parameters()) == pytest.approx(arm.parameters, rel=0.05)
    assert arm.flops is not None
    flops = sum(counted(operands) for _, operands in products_of(arm))
    assert flops == pytest.approx(arm.flops, rel=0.05), "with those of attention"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_products_of_a_loss_in_chunks_are_among_those_of_the_step(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that add to a gradient in place as well."""
    monkeypatch.setitem(kernels.LOGITS_AT_ONCE, "cpu", 1)
    shape = shape_named("tiny")
    shape = replace(shape, batch_size=8 * LEAST_POSITIONS // shape.window)
    arm = ours(replace(setting("causal_lm"), shape=shape, precision=precision), "gpt2", compiles=False)
    assert arm.flops is not None
    products = products_of(arm)
    assert sum(counted(operands) for _, operands in products) == pytest.approx(arm.flops, rel=0.01)


def counted(operands: tuple[torch.Tensor, ...]) -> int:
    """Operations of a matrix product."""
    first, second = [operand for operand in operands if operand.dim() >= 2][-2:]
    return 2 * first.numel() * second.shape[-1]


@pytest.mark.parametrize(
    ("objective", "variant"),
    [
        ("masked_lm", "modernbert"),
        ("masked_lm", "lab documents"),
        ("causal_lm", "theirs"),
        pytest.param("denoising", "theirs", marks=pytest.mark.slow),
        ("span_corruption", "ours"),
    ],
)
def test_a_variant_is_measured(objective: str, variant: str) -> None:
    assert variant in variants_of(objective)
    found = measure(setting(objective), variant, seconds=0.01, kernels=variant == "theirs")
    assert found["tokens_per_second"] > 0
    assert found["recompilations"] == 0
    is_ours = variant not in ("theirs", "modernbert")
    assert ("mfu" in found) is is_ours
    assert (found.get("times_products", 0) > 1) is is_ours, "nothing is faster than a part of itself"
    assert found["times_products_of_family"] > 0
    assert ("aten::mm" in found.get("kernels", "")) is (variant == "theirs")


@pytest.mark.parametrize(
    "objective",
    [pytest.param(name, marks=pytest.mark.slow if name == "denoising" else []) for name in PRESET_OF],
)
def test_every_variant_runs_uncompiled(objective: str) -> None:
    """Those that a GPU is measured by, at the shape of tests; litgpt's where it is installed."""
    for variant in variants_of(objective):
        if peers.is_here(variant.split()[0]) and "compiled" not in variant:
            arm = make_arm(setting(objective), variant)
            arm.step()
            assert arm.raw_tokens > 0, variant


def test_the_shapes_are_those_of_the_configs() -> None:
    assert [shape_named(name).width for name in MEASURED] == [32, 128, 256, 512, 768]
    assert shape_named("base").batch_size == 32, "one of the micro-batches of a step"


def test_results_are_written_as_they_come_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[str] = []

    def run_variant(objective: str, variant: str, limit: float, *more: str) -> dict[str, Any]:
        started.append(variant)
        if variant == "theirs":
            return {"failed": "out of memory"}
        return {"tokens_per_second": 100.0 * len(started), "mfu": 0.5, "times_products": 2.5}

    monkeypatch.setattr(speed, "run_variant", run_variant)
    monkeypatch.setattr(speed, "faster_precision", lambda device: "fp32")
    monkeypatch.setattr(speed, "is_here", lambda peer: peer != "litgpt")
    out = tmp_path / "machine.json"
    arguments = ["--shape", "tiny", "--device", "cpu", "--objectives", "causal_lm", "--out", str(out)]
    arguments += ["--variants", "ours", "theirs", "litgpt", "lab"]
    assert speed.main(arguments) == 1
    assert started == ["ours", "lab", "theirs"]
    held = json.loads(out.read_text())["speed"]["tiny on cpu"]["causal_lm"]
    dated = {"date": record.today(), "precision": "fp32"}
    assert held["ours"] == {**dated, "tokens_per_second": 100.0, "mfu": 0.5, "times_products": 2.5}
    assert held["theirs"]["failed"] == "out of memory"
    assert speed.main(arguments) == 1
    assert started[3:] == ["theirs"], "what failed is measured again, and nothing else"
    assert "lab / its products alone 2.50" in " ".join(capsys.readouterr().out.split())
    assert speed.main([*arguments, "--minutes", "0", "--again"]) == 0
    assert len(started) == 4
    with pytest.raises(SystemExit):
        speed.main(["--variants", "mine"])


def test_sides_compare_by_the_products_that_were_timed_beside_each() -> None:
    """However fast the machine was when each was measured; without them by their rates."""
    results = {
        "ours": {"tokens_per_second": 100.0, "times_products_of_family": 1.2},
        "lab": {"tokens_per_second": 90.0, "times_products_of_family": 1.3},
        "theirs": {"tokens_per_second": 100.0, "times_products_of_family": 1.8},
        "modernbert": {"failed": "out of memory"},
    }
    rates = {name: {"tokens_per_second": one} for name, one in (("lab", 90.0), ("theirs", 45.0), ("litgpt", 60.0))}
    rows = speed.rows_of({"masked_lm": results, "causal_lm": rates, "denoising": {"ours": results["ours"]}})
    assert rows[-1] == ["best of ours / best of theirs", "1.50", "1.50", ""]


def test_a_variant_that_is_cut_off_or_fails_is_named_in_one_line() -> None:
    more = ("--device", "cpu", "--shape", "tiny", "--precision", "fp32", "--seconds", "0.01")
    assert speed.run_variant("causal_lm", "ours", 0.2, *more) == {"failed": "cut off after 0 s"}


CPU = {"gpus": [], "amx": False, "avx512_bf16": False}


def test_a_machine_has_one_file_that_measurements_add_to(tmp_path: Path) -> None:
    described = record.machine()
    text = json.dumps(described)
    assert str(Path.home()) not in text
    assert record.file_of({"gpus": ["NVIDIA H200"], "processor": "x"}).name == "nvidia-h200.json"
    intel = {"processor": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "instructions": "AVX512"}
    assert record.file_of({**intel, **CPU, "amx": True}).name == "intel-xeon-platinum-8481c-avx512-amx.json"
    amd = {"processor": "AMD EPYC", "instructions": "AVX2"}
    assert record.file_of({**amd, **CPU}).name == "amd-epyc-avx2.json"
    newer = {**amd, **CPU, "instructions": "AVX512", "avx512_bf16": True}
    assert record.file_of(newer).name == "amd-epyc-avx512-bf16.json", "of the same name, and another machine"
    path = tmp_path / "a.json"
    record.add(path, described, {"speed": {"nano": {"a": {"ours": 1}}}})
    record.add(path, described, {"speed": {"nano": {"a": {"lab": 2}}}, "checks": {"fsdp": {}}})
    held = json.loads(path.read_text())
    assert held["speed"]["nano"] == {"a": {"ours": 1, "lab": 2}}
    assert held["machine"] == described
    assert held["checks"] == {"fsdp": {}}
    for found in ({"failed": "cut off"}, {"milliseconds": 3}, {"failed": "out of memory"}):
        record.add(path, described, {"speed": {"nano": {"a": {"theirs": found}}}})
        assert json.loads(path.read_text())["speed"]["nano"]["a"]["theirs"] == found, "what failed is replaced whole"
    for check in ({"status": "failed", "errors": "..."}, {"status": "passed", "loss": 3}, {"status": "failed"}):
        record.add(path, described, {"checks": {"fsdp": check}})
        assert json.loads(path.read_text())["checks"]["fsdp"] == check, "a check is replaced whole"


@pytest.mark.parametrize(
    "objectives",
    [["masked_lm", "span_corruption"], pytest.param([*loop.OBJECTIVES], marks=pytest.mark.slow)],
    ids=["two", "all"],
)
def test_the_loader_is_measured_for_each_objective(objectives: list[str], tmp_path: Path) -> None:
    out = tmp_path / "machine.json"
    few = ["--shape", "tiny", "--batches", "3", "--workers", "0", "--parts", "loader", "--device", "cpu"]
    assert loop.main([*few, "--objectives", *objectives, "--out", str(out)]) == 0
    found = json.loads(out.read_text())["loader"]["tiny on cpu"]
    assert [*found] == objectives
    assert all(rates["0 workers"]["cpu_seconds_per_million"] > 0 for rates in found.values())


def test_hooks_are_measured_beside_plain_lightning(tmp_path: Path) -> None:
    out = tmp_path / "machine.json"
    few = ["--parts", "hooks", "--objectives", "causal_lm", "--steps", "17", "--device", "cpu", "--shape", "tiny"]
    assert loop.main([*few, "--turns", "1", "--out", str(out)]) == 0
    found = json.loads(out.read_text())["hooks"]["tiny on cpu"]["causal_lm"]
    assert set(found) == {"date", "bare loop", "plain Lightning", "run"}
    assert all(found[name] > 0 for name in found if name != "date")


def test_litgpt_is_an_extra() -> None:
    assert peers.is_here("theirs")
    assert peers.is_here("litgpt") is (peers.find_spec("litgpt") is not None)


def test_generation_is_measured_by_length_and_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "LENGTHS", (4, 8))
    monkeypatch.setattr(generation, "LONGEST_WITHOUT_CACHE", 8)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    out = tmp_path / "machine.json"
    few = ["--shape", "tiny", "--device", "cpu", "--turns", "1", "--out", str(out)]
    assert generation.main([*few, "--presets", "gpt2", "t5"]) == 0
    assert generation.main([*few, "--batches", "1", "3", "--length", "5"]) == 0
    found = json.loads(out.read_text())["generation"]["tiny on cpu"]
    assert set(found) == {"gpt2", "t5", "gpt2, 1 at once", "gpt2, 3 at once"}
    assert found["t5"]["first_tokens_alike"] == 8
    assert set(found["gpt2, 3 at once"]["tokens_per_second"]) == {
        "ours",
        "theirs, static cache",
        "theirs, growing cache",
    }


def test_workers_are_counted_in_words() -> None:
    assert [loop.workers_named(count) for count in range(3)] == ["0 workers", "1 worker", "2 workers"]


@pytest.mark.slow
def test_training_is_measured_beside_busy_loops(tmp_path: Path) -> None:
    out = tmp_path / "machine.json"
    few = ["--shape", "tiny", "--loads", "1", "--ways", "auto", "--turns", "2", "--seconds", "0.01"]
    assert busy.main([*few, "--out", str(out)]) == 0
    found = json.loads(out.read_text())["busy"]["tiny on cpu"]["beside 1 busy loop"]["auto"]
    assert found["threads"] >= 1
    assert len(found["turns"]) == 2
    assert min(found["turns"]) > 0


def test_a_process_trains_for_as_long_as_each_line_tells_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("0\n0.01\n"))
    busy.serve("tiny")
    threads, *rates = capsys.readouterr().out.splitlines()
    assert int(threads) == torch.get_num_threads()
    assert len(rates) == 2
    assert min(map(float, rates)) > 0


def test_ways_take_turns_and_each_load_has_an_automatic_choice_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    running, turns = 0, []

    @contextmanager
    def busy_loops(number: int) -> Iterator[None]:
        nonlocal running
        running = number
        yield
        running = 0

    class Arm:
        def __init__(self, shape: str, environment: dict[str, str]) -> None:
            self.made_beside, self.environment = running, environment
            self.threads = int(environment.get("OMP_NUM_THREADS", 8 - running))

        def tokens_per_second(self, seconds: float) -> float:
            assert self.environment or self.made_beside == running
            turns.append((running, self.threads))
            return len(turns)

        def close(self) -> None:
            turns.append("closed")

    monkeypatch.setattr(busy, "busy_loops", busy_loops)
    monkeypatch.setattr(busy, "SleepingArm", Arm)
    found = busy.measure_busy("tiny", [0, 2], ["auto", "one thread"], turns=2, seconds=1)
    assert turns == [(0, 8), (0, 1), (2, 6), (2, 1), (0, 1), (0, 8), (2, 1), (2, 6), *["closed"] * 3]
    assert found["alone"]["auto"] == {"threads": 8, "tokens_per_second": 3.5, "turns": [1, 6]}
    assert found["beside 2 busy loops"]["one thread"] == {"threads": 1, "tokens_per_second": 5.5, "turns": [4, 7]}


def test_what_a_run_chooses_stands_beside_the_best_that_a_user_can_set() -> None:
    rates = {"auto": 90.0, "default": 20.0, "passive": 100.0, "one thread": 80.0}
    by_way = {name: {"threads": 2, "tokens_per_second": rate} for name, rate in rates.items()}
    assert busy.rows_of({"alone": by_way}) == [["alone", "90", "20", "100", "80", "2", "0.90"]]
    assert "| alone | 90 | 20 | 100 | 80 | 2 | 0.90 |" in tables.busy_of({"date": record.today(), "alone": by_way})
