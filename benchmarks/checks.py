"""What `benchmarks.machine` checks: each trains or uses tiny runs, and raises where the laboratory does not work here.

Runs are of the shipped configs, on the text of this project's documents.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.steps.arms import make_cli
from common.repository import REPOSITORY
from training.machine.hardware import peak_flops
from training.storage.checkpoint import checkpoints_in, read_checkpoint

Found = dict[str, Any]
OBJECTIVES = ("masked_lm", "causal_lm", "denoising", "span_corruption")
TINY = (
    *("--logging.wandb", "off", "--logging.examples", "0", "--data.window", "32", "--data.batch_size", "8"),
    *("--data.vocab_size", "512", "--data.validation_windows", "8", "--body.width", "32", "--body.num_heads", "2"),
    *("--body.layers", "2", "--budget.steps", "6", "--trainer.deterministic", "true"),
    *("--data.corpus", str(REPOSITORY / "README.md"), "--data.documents", "paragraph"),
)


class Skipped(Exception):
    """The machine lacks what this check is about."""


def command(objective: str, folder: Path, name: str, *more: str) -> list[str]:
    """The command line of a run."""
    where = ["--runs", str(folder / "runs"), "--data.cache", str(folder / "cache"), "--name", name]
    return ["--config", str(REPOSITORY / f"configs/{objective}.yaml"), *TINY, *where, *more]


def run(script: str, arguments: list[str]) -> str:
    """Runs a script to its end in a process of its own; returns what it printed.

    Raises:
        RuntimeError: by its last line, where it ended otherwise than well.
    """
    command = [sys.executable, str(REPOSITORY / script), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise RuntimeError(f"{script} ended with {done.returncode}: {(done.stderr.splitlines() or [''])[-1]}")
    return done.stdout


def weights(run_folder: Path) -> dict[str, Any]:
    """Of the newest checkpoint."""
    return read_checkpoint(checkpoints_in(run_folder / "checkpoints")[0])["state_dict"]


def trained(objective: str, folder: Path, *more: str) -> Path:
    """The folder of a run that came to its end."""
    run("train.py", command(objective, folder, "run", *more))
    return folder / "runs/run"


def loss_of(run_folder: Path) -> Found:
    """The validation loss that a run came to."""
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    return {"detail": f"loss {summary['validation/loss']:.4f}", "loss": summary["validation/loss"]}


def trains(objective: str, *more: str, folder: Path) -> Found:
    """A run comes to its end with a loss that is a number."""
    return loss_of(trained(objective, folder, *more))


def resumes(objective: str, folder: Path) -> Found:
    """A run that was killed and started again ends with the weights of one that was not, bit by bit."""
    # Two runs: what `auto` measures for each may differ on a busy machine, and so would their last bits.
    precision = make_cli(objective, "lab", "--resume=never", f"--runs={folder}").trainer_settings.precision
    alike = ("--checkpoints.every_steps", "2", "--trainer.precision", precision)
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    whole = trained(objective, folder, *alike)
    arguments = command(objective, folder, "killed", *alike)
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "train.py"), *arguments], cwd=REPOSITORY, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not checkpoints_in(folder / "runs/killed/checkpoints"):
        time.sleep(0.005)
    process.kill()
    process.wait()
    killed = folder / "runs/killed"
    at = [path.name for path in checkpoints_in(killed / "checkpoints")]
    run("train.py", arguments)
    one, other = weights(whole), weights(killed)
    assert one.keys() == other.keys()
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert not differing, f"after a kill at {at[0]} these weights differ: {', '.join(differing[:3])}"
    return {"detail": f"bit-identical after a kill at {at[0]}"}


def products(folder: Path) -> Found:
    """What matrix products reach, and what `auto` therefore is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cli = make_cli("masked_lm", "lab", "--resume=never", f"--runs={folder}")
    peaks = {str(kind).removeprefix("torch."): peak_flops(device, kind) for kind in (torch.float32, torch.bfloat16)}
    known = ", ".join(f"{kind} {peak / 1e9:.0f}" for kind, peak in peaks.items() if peak)
    auto = cli.trainer_settings.precision
    return {"detail": f"auto is {auto}; GFLOP/s: {known}", "auto": auto, "peak": peaks, "over_a_run": cli.measured}


def fine_tunes(folder: Path) -> Found:
    """A checkpoint is taken through a task."""
    start = trained("masked_lm", folder)
    texts = [{"text": f"number {number}", "label": ("even", "odd")[number % 2]} for number in range(64)]
    rows, config = folder / "rows.jsonl", folder / "task.json"
    rows.write_text("".join(json.dumps(row) + "\n" for row in texts), encoding="utf-8")
    settings = {"name": "parity", "train": str(rows), "texts": ["text"], "label": "label", "metric": "accuracy"}
    task = {"class_path": "finetuning.tasks.classification.ClassificationTask", "init_args": settings}
    config.write_text(json.dumps({"task": task}), encoding="utf-8")
    where = ["--config", str(config), "--checkpoint", str(start), "--runs", str(folder / "runs"), "--name", "tuned"]
    few = ["--logging.wandb=off", "--budget.steps=3", "--budget.epochs=null"]
    return {"detail": " ".join(run("finetune.py", [*where, *few]).strip().splitlines()[-1].split())}


def generates(folder: Path) -> Found:
    """A causal LM goes on with a text."""
    run_folder = trained("causal_lm", folder)
    text = run("generate.py", [str(run_folder), "The objective", "--max_new_tokens", "8"])
    return {"detail": f"{len(text.strip())} characters"}


def generates_compiled(folder: Path) -> Found:
    """A causal LM compiled to go on with texts generates what it generates uncompiled."""
    run_folder = trained("causal_lm", folder, "--trainer.precision", "32-true")
    arguments = [str(run_folder), "The objective", "A", "--max_new_tokens", "12", "--json"]
    plain, compiled = (run("generate.py", [*arguments, *more]) for more in ([], ["--compile"]))
    texts, same = ([json.loads(line)["text"] for line in lines.splitlines()] for lines in (plain, compiled))
    assert texts == same, f"{texts} and, compiled, {same}"
    return {"detail": f"{len(texts)} texts alike"}


def scores(folder: Path) -> Found:
    """A causal LM is scored on text that it was not trained on."""
    run_folder, text = trained("causal_lm", folder), str(REPOSITORY / "ARCHITECTURE.md")
    found = json.loads(run("score.py", [str(run_folder), "--continuation", text, "--passages", "4", "--json"]))
    metric, result = next(iter(found["metrics"].items()))
    return {"detail": f"{metric} {result['mean']:.3f} {result['unit']}"}


def sides(folder: Path) -> Found:
    """The first losses of a run on the CPU and on the GPU, in fp32."""
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device")
    losses = {}
    for accelerator in ("cpu", "cuda"):
        where = ("--trainer.accelerator", accelerator, "--trainer.devices", "1", "--trainer.precision", "32-true")
        run("train.py", command("masked_lm", folder, accelerator, *where, "--budget.steps", "1"))
        losses[accelerator] = loss_of(folder / "runs" / accelerator)["loss"]
    assert abs(losses["cpu"] - losses["cuda"]) < 1e-3 * losses["cpu"], f"losses differ: {losses}"
    return {"detail": f"cpu {losses['cpu']:.5f}, cuda {losses['cuda']:.5f}", "losses": losses}


def fsdp(folder: Path) -> Found:
    """FSDP of one rank."""
    return trains("causal_lm", "--trainer.strategy", "fsdp", "--trainer.devices", "1", folder=folder)


def _training(objective: str, *more: str) -> Callable[[Path], Found]:
    return lambda folder: trains(objective, *more, folder=folder)


CHECKS: dict[str, Callable[[Path], Found]] = {
    "products": products,
    **{f"{objective}_resumed": partial(resumes, objective) for objective in OBJECTIVES},
    "document_masking": _training("causal_lm", "--body.document_masking", "true"),
    "gradient_checkpointing": _training("masked_lm", "--gradient_checkpointing", "true"),
    "muon": _training("causal_lm", "--optimizer.name", "muon"),
    "fsdp": fsdp,
    "fine_tuning": fine_tunes,
    "generation": generates,
    "generation_compiled": generates_compiled,
    "scoring": scores,
    "cpu_and_gpu": sides,
    **{f"{objective}_compiled": _training(objective, "--compile", "true") for objective in OBJECTIVES},
}
