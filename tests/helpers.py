"""What tests share: a vocabulary by hand, random windows, a small made-up corpus, and ways to run the scripts."""

import csv
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from data.datamodule import DataModule
from data.store.store import TokenStore, read_tokenizer
from data.stream.windows import TokensInMemory, WindowRule, Windows
from data.tokens.tokenizer import MARKS, NUM_SENTINELS, Vocabulary
from models.bodies.make import BodyConfig
from models.body import Body, Inputs
from models.presets import TransformerConfig
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from tests.processes import ROOT, Script
from training.optimizers.optim import OptimizerConfig
from training.setup.cli import RunCLI
from training.step.budget import Budget
from training.storage.checkpoint import checkpoints_in, read_checkpoint

OBJECTIVES = ("masked_lm", "causal_lm", "denoising", "span_corruption")
# Where a law has one code path, or another default test has it for all four: an encoder and an encoder-decoder.
TWO_BY_DEFAULT = [
    pytest.param(name, marks=[] if name in ("masked_lm", "span_corruption") else pytest.mark.slow)
    for name in OBJECTIVES
]
NUM_SPECIAL = 7 + NUM_SENTINELS
ENGLISH = "the a old young cat dog bird sees hears likes small big house tree river and then runs sleeps here"
KOREAN = "그 저 작은 큰 고양이가 강아지가 새가 집을 나무를 강을 보고 듣고 좋아하고 그리고 달린다 잔다 여기 저기"


def make_vocabulary(size: int = 1000, *, marks: bool = False) -> Vocabulary:
    """Special ids first, sentinels falling; of the ordinary ids every third goes on with a word; marks come last."""
    whole = size + len(MARKS) * marks
    is_special = (np.arange(whole) < NUM_SPECIAL) | (np.arange(whole) >= size)
    begins_word = ~is_special & (np.arange(whole) % 3 != 0)
    return Vocabulary(
        size=whole,
        pad=0,
        eos=1,
        unk=2,
        bos=3,
        cls=4,
        sep=5,
        mask=6,
        sentinels=np.arange(NUM_SPECIAL - 1, 6, -1),
        is_special=is_special,
        begins_word=begins_word,
        ends_word=np.zeros(whole, dtype=bool),
        marks={role: size + number for number, role in enumerate(MARKS)} if marks else {},
    )


def random_documents(
    vocabulary: Vocabulary, *, documents: int, sentences: int, seed: int, end: bool = True
) -> list[list[list[int]]]:
    """Documents of up to so many sentences of 3 to 14 random ordinary tokens, EOS behind each document."""
    rng = np.random.default_rng(seed)

    def sentence() -> list[int]:
        return rng.choice(vocabulary.ordinary, size=rng.integers(3, 15)).tolist()

    text = [[sentence() for _ in range(rng.integers(1, sentences + 1))] for _ in range(documents)]
    if end:
        for document in text:
            document[-1].append(vocabulary.eos)
    return text


def make_windows(
    vocabulary: Vocabulary,
    *,
    documents: int = 40,
    sentences: int = 12,
    length: int = 128,
    seed: int = 0,
    rule: WindowRule = "contiguous",
    end: bool = True,
) -> Windows:
    """Windows of `random_documents`."""
    text = random_documents(vocabulary, documents=documents, sentences=sentences, seed=seed, end=end)
    return Windows(TokensInMemory.of(text), length=length, rule=rule, end_token=vocabulary.eos)


def shared(**body: Any) -> dict[str, Any]:
    """What every objective takes, with those settings of the Transformer."""
    return {
        "body": TransformerConfig(**body),
        "optimizer": OptimizerConfig(),
        "budget": Budget(steps=10),
    }


def predicted(body: Body, inputs: Inputs, positions_N: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [N, V] at positions of a batch, counted through [B · length], and the states of the last stack."""
    states = body(inputs)
    return body.logits(states.flatten(0, 1)[positions_N]), states


def made_up_documents(number: int = 120, seed: int = 0) -> list[str]:
    """Documents of short English and Korean sentences in which each word depends on the one before."""
    rng = np.random.default_rng(seed)
    languages: list[list[str]] = [[*ENGLISH.split()], [*KOREAN.split()]]
    follows = {word: rng.choice(words, 3).tolist() for words in languages for word in words}

    def sentence(words: list[str]) -> str:
        chain = [str(rng.choice(words))]
        for _ in range(int(rng.integers(3, 12))):
            chain.append(str(rng.choice(follows[chain[-1]])))
        return " ".join(chain).capitalize() + "."

    return [
        " ".join(sentence(languages[index % 3 == 0]) for _ in range(int(rng.integers(2, 9)))) for index in range(number)
    ]


def write_jsonl(path: Path, texts: list[str]) -> Path:
    """Texts as JSON lines."""
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    return path


# What `auto` would measure on this machine, each time anew.
UNMEASURED = ("--trainer.accelerator", "cpu", "--trainer.precision", "32-true")
# A model and batches so small that a step takes milliseconds; a picture of examples would take three of them.
TINY = (
    *("--logging.wandb", "off", "--data.vocab_size", "480", "--data.window", "32", "--data.batch_size", "8"),
    *("--data.validation_windows", "8", "--body.width", "32", "--body.num_heads", "2"),
    *("--body.layers", "2", "--logging.every_steps", "2", "--logging.examples", "0"),
    *UNMEASURED,
)


def train_in_process(arguments: list[str]) -> int:
    """Runs train.py's command in this process; returns its exit status."""
    import train

    try:
        return train.main(arguments)
    except SystemExit as left:
        return int(left.code or 0)


def make_cli(arguments: list[str]) -> RunCLI:
    """What train.py makes of a command line."""
    defaults = ROOT / "configs/base.yaml"
    return RunCLI(Objective, DataModule, BodyConfig, Pretraining, defaults=defaults, arguments=arguments)


def weights_of(run: Path) -> dict[str, Tensor]:
    """The weights of a run's newest checkpoint, by their names in the network."""
    state = read_checkpoint(checkpoints_in(run / "checkpoints")[0])["state_dict"]
    return {name.removeprefix("network."): tensor for name, tensor in state.items()}


def metrics_of(run: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv without what a clock decides."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if not name.startswith("speed/")} for row in rows]


def run_script(
    script: str, *arguments: str, timeout: float = 300, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script of the root to its end, in a process of its own."""
    with Script(script, *arguments, stdin=stdin, **environment) as started:
        return started.wait(timeout)


def torchrun(*arguments: str, processes: int = 2, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs train.py by torchrun, in several processes that talk by gloo."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*launcher, str(ROOT / "train.py"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def several_processes(*arguments: str, processes: int = 2, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs train.py in several processes that talk by gloo, each in the environment in which torchrun starts it.

    The store by which they meet is this process's, as torchrun's is its own: it outlives the first of them.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    port = store.port
    group = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "tests"}
    group["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    place = {**group, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    environments = [{**place, "RANK": rank, "LOCAL_RANK": rank} for rank in range(processes)]
    with ExitStack() as started:
        scripts = [
            started.enter_context(
                Script("train.py", *arguments, **{name: str(value) for name, value in environment.items()})
            )
            for environment in environments
        ]
        ended = [script.wait(timeout) for script in scripts]
    status = max((done.returncode for done in ended), key=abs)
    return subprocess.CompletedProcess(
        [], status, "".join(done.stdout for done in ended), "".join(done.stderr for done in ended)
    )


def opened(store: Path, split: str = "train", length: int = 32) -> tuple[Windows, Vocabulary]:
    """A store's windows and vocabulary."""
    _, vocabulary = read_tokenizer(store)
    return Windows(TokenStore(store, split), length=length, end_token=vocabulary.eos), vocabulary
