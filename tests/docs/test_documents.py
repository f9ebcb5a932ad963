"""The commands of README and docs are commands, and what the documents name is there."""

import inspect
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import generate
import predict
import show
import summarize
from evaluation.study.parse import parse as parse_study
from models.generation.decoding import Decoding
from tests.helpers import ROOT, UNMEASURED, make_cli

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"```\n(.*?)```", re.DOTALL)
NAMED_FILE = re.compile(r"`((?:data|models|objectives|training|configs|tests|benchmarks)/[\w/.]+\.(?:py|yaml))`")


def commands(script: str) -> list[str]:
    """The commands of the documents that run a script, each once, lines that go on put together."""
    fences = [fence for path in DOCUMENTS for fence in FENCE.findall(path.read_text(encoding="utf-8"))]
    lines = "\n".join(fences).replace("\\\n", " ").splitlines()
    named = [line for line in lines if f"{script} " in line and line.startswith(("python ", "torchrun "))]
    return list(dict.fromkeys(named))


@cache
def run_of(arguments: tuple[str, ...]) -> Path:
    """The folder of the run that a command line of train.py makes, on one device of this machine, unmeasured."""
    return make_cli([*(word for word in arguments if word not in ("--trainer.devices", "8")), *UNMEASURED]).folder


@pytest.mark.parametrize("command", commands("train.py"))
def test_every_training_command_of_the_readme_is_valid(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "texts").mkdir()
    for name in (
        "texts/one.txt",
        "articles.jsonl",
        "reports.jsonl",
        "reviews.jsonl",
        "train.jsonl",
        "validation.jsonl",
    ):
        (tmp_path / name).write_text("text", encoding="utf-8")
    assert run_of(tuple(words[words.index("train.py") + 1 :])).parent == Path("runs")


# Documents whose commands are run one after another, as a reader does.
PAGES = ("pretrain", "generate", "finetune", "score", "huggingface", "clusters", "compare", "objectives/index")
SEQUENCES = {
    "README.md": ["README.md"],
    "README.ko.md": ["README.ko.md"],
    "docs": [f"docs/{page}.md" for page in PAGES],
}


def all_commands(sequence: str) -> list[str]:
    """Every command of some documents in its order, lines that go on put together."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in SEQUENCES[sequence])
    lines = "\n".join(FENCE.findall(text)).replace("\\\n", " ").splitlines()
    found = [line for line in lines if line.startswith(("python ", "torchrun "))]
    inline = re.findall(r"`(python (?:show|summarize)\.py [^`]*)`", text)
    return [*found, *inline]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_no_command_takes_the_folder_of_an_earlier_one_and_each_run_that_it_names_is_made_before(
    sequence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for folder in ("texts", "reports"):
        (tmp_path / folder).mkdir()
    for name in (
        "texts/a.txt",
        "reports/a.txt",
        *("articles.jsonl", "reports.jsonl", "reviews.jsonl", "train.jsonl", "validation.jsonl"),
    ):
        (tmp_path / name).write_text("text", encoding="utf-8")
    made: list[str] = []
    for command in all_commands(sequence):
        words = shlex.split(command)
        script = next(Path(word).name for word in words if word.endswith(".py"))
        arguments = words[words.index(next(word for word in words if word.endswith(".py"))) + 1 :]
        used = re.findall(r"\bruns/([\w.-]+)", command)
        assert script == "show.py" or all(name in made for name in used), command
        if script == "train.py":
            made.append(run_of(tuple(arguments)).name)
        elif script == "finetune.py" and not any("--grid." in word for word in arguments):
            task = arguments[arguments.index("--config") + 1]
            made.append(f"{Path(task).stem}-{used[0]}-s0")
    assert len(made) == len(set(made))


SCRIPTS_OF_PARSERS = {"predict.py": predict.parse, "summarize.py": summarize.parse, "show.py": show.parse}


@pytest.mark.parametrize(
    "command",
    dict.fromkeys(
        line
        for sequence in SEQUENCES
        for line in all_commands(sequence)
        if line.split()[1] in SCRIPTS_OF_PARSERS and "config.yaml" not in line
    ),
)
def test_every_other_command_parses(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    assert SCRIPTS_OF_PARSERS[words[1]](words[2:])


@pytest.mark.parametrize("command", commands("generate.py"))
def test_every_prediction_of_the_readme_is_valid(command: str) -> None:
    parsed = generate.parse(shlex.split(command)[2:])
    assert parsed.run.parent == Path("runs")
    assert parsed.texts or parsed.file
    assert Decoding(**{name: parsed[name] for name in inspect.signature(Decoding).parameters})


@pytest.mark.parametrize("command", commands("compare.py"))
def test_every_study_of_the_readme_can_be_declared(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    study, options = parse_study(shlex.split(command)[2:])
    assert study.arms
    assert options.studies == Path("studies")


def test_the_study_in_the_documents_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    fences = FENCE.findall((ROOT / "docs/compare.md").read_text(encoding="utf-8"))
    (shown,) = [fence for fence in fences if fence.startswith("arms:")]
    (tmp_path / "shown.yaml").write_text(shown, encoding="utf-8")
    study, _ = parse_study(["--config", str(tmp_path / "shown.yaml")])
    assert len(study.arms) == 4
    assert len(study.hypotheses) == 2


def test_the_readme_is_short_and_its_korean_sibling_has_the_same_commands_and_links() -> None:
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
    assert len(english.splitlines()) <= 150
    links = [re.findall(r"\]\((docs/[\w./]+|[A-Z]+\.md|results/README\.md)\)", text) for text in (english, korean)]
    assert set(links[0]) == {link.replace(".ko.", ".") for link in links[1]} - {"README.md"}
    of_both = [[line for line in all_commands(name) if "show.py" not in line] for name in ("README.md", "README.ko.md")]
    assert of_both[0] == of_both[1]
    assert re.search("[가-힣]", korean)


def test_there_are_commands_to_check() -> None:
    assert len(commands("train.py")) >= 10
    assert len(commands("show.py")) >= 3
    assert len(commands("generate.py")) >= 4
    assert len(commands("compare.py")) >= 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_the_documents_name_are_there(document: Path) -> None:
    for name in NAMED_FILE.findall(document.read_text(encoding="utf-8")):
        assert (ROOT / name).exists() or "my_objective" in name, name


def test_the_makefile_lists_every_target_with_a_reason() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"\.PHONY: (.*)", text)
    assert targets is not None
    for target in targets[1].split():
        assert re.search(rf"^{target}:.*## \w", text, re.MULTILINE), target


def test_every_objective_has_a_page_with_its_pictures_and_its_settings() -> None:
    hooks = pytest.importorskip("docs.hooks", reason="mkdocs is not installed")
    pages = {name: hooks.objective_page(name, model, config) for name, model, config in hooks.configs()}
    assert {"masked_lm", "causal_lm", "denoising", "span_corruption"} <= set(pages)
    for name, page in pages.items():
        assert page.count('<pre class="picture">') == len(hooks.SENTENCES), name
        assert f"python train.py --config configs/{name}.yaml" in page


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site/objectives/masked_lm.html").is_file()
