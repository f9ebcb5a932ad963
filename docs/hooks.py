"""Pages of the site that are made of the code itself: an objective's, the settings, results.

mkdocs calls `on_files` and `on_page_markdown`; see mkdocs.yml.
"""

import inspect
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402
from jsonargparse import ArgumentParser  # noqa: E402
from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import show  # noqa: E402
from data.datamodule import DataModule  # noqa: E402
from data.stream.order import Purpose, generator  # noqa: E402
from models.bodies.make import BodyConfig  # noqa: E402
from objectives.core.base import Objective  # noqa: E402
from objectives.core.pretraining import Pretraining  # noqa: E402
from objectives.inspection.picture import Painter, Panel, picture  # noqa: E402
from objectives.inspection.text import text_alone  # noqa: E402
from training.setup.cli import RunCLI  # noqa: E402

SENTENCES = {
    "English": "Thank you for inviting me to your party last week .",
    "Korean": "지난주 에 파티 에 초대 해 주셔서 감사 합니다 .",
}
WIDTH, SEED = 84, 3


def panels_of(model: dict[str, Any], text: str, seed: int) -> tuple[list[Panel], Table]:
    """What an objective makes of a text, and its rates: measured and nominal."""
    kind = show.class_named(model["class_path"])
    settings = {key: value for key, value in model.get("init_args", {}).items() if key not in show.SHARED}
    objective = kind(**settings)
    windows, window, tokenizer, vocabulary = text_alone(text)
    painter = Painter(vocabulary, lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False))
    rng = generator(seed, Purpose.DISPLAY, 0, window.index)
    panels = painter.panels(window, objective.corruption(vocabulary)(window, rng, windows))
    return panels, show.table_of_rates(objective, window, windows, vocabulary, seed)


def _html(panels: list[Panel]) -> str:
    console = Console(record=True, file=io.StringIO(), width=WIDTH)
    console.print(picture(panels, WIDTH))
    return console.export_html(inline_styles=True, code_format='<pre class="picture">{code}</pre>')


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\u2223") for cell in cells) + " |"


def _knobs(kind: type[Objective]) -> Iterator[str]:
    parser = ArgumentParser()
    parser.add_class_arguments(kind, "model", skip=show.SHARED)
    for action in parser._actions:
        if action.dest.startswith("model."):
            help_text = " ".join((action.help or "").split()).split(" (type:")[0]
            yield _row(f"`{action.dest.removeprefix('model.')}`", f"`{action.default}`", help_text)


def objective_page(name: str, model: dict[str, Any], config: str) -> str:
    """The page of one objective: its idea, its pictures, its rates, its settings."""
    kind = show.class_named(model["class_path"])
    docstring = inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")
    head, _, rest = docstring.partition("\n")
    lines = [f"# {name.replace('_', ' ').capitalize()}", "", head, "", "```", rest.strip("\n"), "```", ""]
    for language, text in SENTENCES.items():
        panels, table = panels_of(model, text, SEED)
        rates = zip(*(column.cells for column in table.columns), strict=True)
        lines += [f"## A sentence in {language}", "", _html(panels), ""]
        lines += [
            _row("", "here", f"{show.DRAWS} draws", "nominal"),
            _row(*["---"] * 4),
            *(_row(*row) for row in rates),
            "",
        ]
    lines += ["## Train it", "", "```", f"python train.py --config {config}", "```", ""]
    if knobs := list(_knobs(kind)):
        lines += ["## Settings", "", "Under `--model.init_args.`:", "", _row("setting", "default", "meaning")]
        lines += [_row(*["---"] * 3), *knobs, ""]
    return "\n".join(lines)


def configs() -> Iterator[tuple[str, dict[str, Any], str]]:
    paths = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if path.name != "base.yaml"]
    for path in paths:
        model = yaml.safe_load(path.read_text(encoding="utf-8")).get("model")
        if model:
            yield path.stem, model, path.relative_to(ROOT).as_posix()


def settings_page() -> str:
    """Every setting of train.py, from its signatures."""
    arguments = ["--config", str(ROOT / "configs/causal_lm.yaml")]
    cli = RunCLI(
        Objective, DataModule, BodyConfig, Pretraining, defaults=ROOT / "configs/base.yaml", arguments=arguments
    )
    groups: dict[str, list[str]] = {}
    for action in cli.parser._actions:
        if "." in action.dest and action.default != "==SUPPRESS==" and not action.dest.startswith("model."):
            group = action.dest.split(".")[0]
            text = " ".join((action.help or "").replace("(default: null)", "").split())
            text = re.sub(r"\((?:required, )?type:.*", "", text).strip()
            groups.setdefault(group, []).append(_row(f"`{action.dest}`", f"`{cli.config[action.dest]}`", text))
    lines = ["# Settings", "", "Every setting of `train.py` with the value that it has under `configs/base.yaml`; made "
             "from the signatures. Settings of an objective stand on its page.", ""]  # fmt: skip
    for group, rows in groups.items():
        lines += [f"## {group}", "", _row("setting", "value", "meaning"), _row(*["---"] * 3), *rows, ""]
    return "\n".join(lines)


def results_page() -> str:
    """results/README.md, whose links lead to files of the repository."""
    text = (ROOT / "results/README.md").read_text(encoding="utf-8")
    return re.sub(r"!?\[([^\]]*)\]\((?!http)[^)]*\)", r"\1", text)


def viewer_page() -> str:
    """The viewer's page of a sentence in either language."""
    parsed, objectives = show.parse(["--html", "viewer_page.html", *SENTENCES.values()])
    return show.viewer_of(parsed, objectives)[0]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made of the code."""
    pages = {f"objectives/{name}.md": objective_page(name, model, path) for name, model, path in configs()}
    pages |= {"settings.md": settings_page(), "results.md": results_page(), "viewer_page.html": viewer_page()}
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    assert config.nav is not None
    for section in config.nav:
        if "Objectives" in section:
            section["Objectives"] = ["objectives/index.md", *sorted(name for name in pages if "objectives/" in name)]
    return files
