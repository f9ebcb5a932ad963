"""Builds the token store of a corpus ahead of any run: text, tokenizer, tokens.

    python prepare.py
    python prepare.py --data.corpus "texts/*.txt" --data.vocab_size 16384
    python prepare.py --config configs/corpora/wikitext2.yaml

The settings are those of train.py; a run with the same ones finds the store. Prints where it lies and what is in it.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import sys
from pathlib import Path

from rich.console import Console

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from data.datamodule import DataModule
from data.store.store import read_manifest
from models.bodies.make import BodyConfig
from objectives.core.base import Objective
from training.monitoring.next_command import print_next
from training.script.script import script
from training.setup.cli import RunCLI

CONFIG = Path(__file__).parent / "configs/masked_lm.yaml"
BASE = Path(__file__).parent / "configs/base.yaml"


def per_word(counts: dict[str, int]) -> str:
    """Tokens a word and the share that is unknown; "" for a store that was built before they were counted."""
    words, unknown = counts.get("words", 0), counts.get("unknown", 0)
    shares = [f"{counts['tokens'] / words:.2f} tokens a word"] if words else []
    shares += [f"{unknown / counts['tokens']:.2%} of the tokens unknown"] if unknown else []
    return "".join(f"{share}, " for share in shares)


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    cli = RunCLI(Objective, DataModule, BodyConfig, defaults=BASE, arguments=arguments, only_data=True)
    data = cli.datamodule
    data.prepare_data()
    data.open()
    console, manifest = Console(highlight=False), read_manifest(data.folder)
    console.print(f"token store  {data.folder}", soft_wrap=True)
    console.print(f"vocabulary   {data.vocabulary.size:,} ids")
    for split, windows in {"train": data.training_windows, "validation": data.held_out_windows}.items():
        counts = manifest[split]
        console.print(
            f"{split:<12} {counts['documents']:,} documents, {counts['sentences']:,} sentences, "
            f"{counts['tokens']:,} tokens, {len(windows):,} windows of {data.window}; "
            f"{counts['bytes'] / counts['tokens']:.2f} bytes a token, {per_word(counts)}"
            f"unigram entropy {counts['unigram_entropy']:.3f} nats",
            soft_wrap=True,
        )
    for warning, number in manifest["warnings"].items():
        if number and warning != "read":
            console.print(f"documents    {number:,} {warning}")
    named = any(argument.split("=")[0] == "--config" for argument in arguments)
    print_next("train.py", *([] if named else ["--config", CONFIG]), *arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
