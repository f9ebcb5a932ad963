"""README's commands in sequence, in one clean folder, over a corpus that the test makes."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_documents import SEQUENCES, all_commands
from tests.helpers import ROOT, made_up_documents, write_jsonl

# Shapes and budgets of seconds in place of README's; everything else is as README has it.
SMALL = (
    *("--body.width=32", "--body.num_heads=2", "--data.vocab_size=480", "--data.window=64", "--data.batch_size=8"),
    *("--data.validation_windows=8", "--logging.examples=1", "--budget.steps=4", "--optimizer.warmup=1"),
)
OF_SCRIPT = {
    "train.py": SMALL,
    "finetune.py": ("--budget.steps=4", "--task.train_rows=40", "--data.batch_size=8", "--optimizer.warmup=1"),
    "generate.py": ("--max_new_tokens=4",),
    "score.py": ("--passages=4", "--bytes=32"),
}
CORPUS = "made_up.jsonl"


def write_files(folder: Path) -> None:
    """The files that README's commands name."""
    documents = made_up_documents()
    write_jsonl(folder / CORPUS, documents)
    texts = ("articles", "train", "validation", "reviews", "corpus/test", "lambada")
    for name in (f"{name}.jsonl" for name in texts):
        (folder / name).parent.mkdir(exist_ok=True)
        write_jsonl(folder / name, documents[:60])
    bodies = "".join(json.dumps({"body": text}, ensure_ascii=False) + "\n" for text in documents)
    (folder / "reports.jsonl").write_text(bodies, encoding="utf-8")
    for name in ("texts/one.txt", "reports/one.txt", "essay.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("\n\n".join(documents), encoding="utf-8")
    (folder / "texts.txt").write_text("The [MASK] cat sees.\nA [MASK] dog.\n", encoding="utf-8")
    (folder / "blimp/data").mkdir(parents=True)
    pair = {"sentence_good": "The cats see it.", "sentence_bad": "The cats sees it.", "UID": "a"}
    (folder / "blimp/data/a.jsonl").write_text(f"{json.dumps(pair)}\n" * 3, encoding="utf-8")
    for name, size in (("ratings_train.txt", 100), ("ratings_test.txt", 20)):
        rows = [f"{number}\t{documents[number % 100][:60]}\t{number % 2}" for number in range(size)]
        (folder / name).write_text("\n".join(["id\tdocument\tlabel", *rows]) + "\n", encoding="utf-8")
    for name, size in (("sst2-train.tsv", 60), ("sst2-test.tsv", 20)):
        rows = [f"{documents[number][:60]}\t{('negative', 'positive')[number % 2]}" for number in range(size)]
        (folder / name).write_text("\n".join(["sentence\tlabel", *rows]) + "\n", encoding="utf-8")


def without_budgets(arguments: list[str]) -> list[str]:
    """A command line without the budgets that it sets, each with its value."""
    of_budgets = {place for place, word in enumerate(arguments) if word.startswith("--budget.")}
    values = {place + 1 for place in of_budgets if "=" not in arguments[place]}
    return [word for place, word in enumerate(arguments) if place not in of_budgets | values]


def runnable(command: str) -> list[str] | None:
    """A command of the README as it is run here; None where it needs several devices."""
    words = shlex.split(command)
    if words[0] == "torchrun" or "--trainer.devices" in words:
        return None
    script, arguments = words[1], without_budgets(words[2:])
    named = any(word.endswith((".txt", ".jsonl")) for word in arguments)
    fills_masks = "--candidates" in arguments or any("masked_lm" in word for word in arguments)
    more = [] if script == "generate.py" and fills_masks else list(OF_SCRIPT.get(script, ()))
    if script == "train.py":
        if not named:  # the embedded corpus, and one of the hub
            more += [f"--data.corpus={CORPUS}", "--data.configuration=null", "--data.validation=null"]
        if "--body.layers" not in arguments:
            more.append("--body.layers=4")
    if "configs/tasks/sst2.yaml" in arguments:
        files = ("--task.train=sst2-train.tsv", "--task.test=sst2-test.tsv", "--task.dataset=null")
        more += [*files, "--task.label_names=null"]
    if script == "compare.py":
        return None if "--dry-run" not in arguments else [script, *arguments]
    return [script, *arguments, *more]


@pytest.mark.slow
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_the_commands_run_one_after_another_in_a_clean_folder(
    sequence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("WANDB_MODE", "offline")
    failed = []
    for command in all_commands(sequence):
        if (words := runnable(command)) is None:
            continue
        line = [sys.executable, str(ROOT / words[0]), *words[1:]]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            failed.append(f"{command}\n{done.stderr[-600:]}")
    assert not failed, "\n\n".join(failed)
