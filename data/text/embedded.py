"""The embedded corpus: English prose that lies on every machine that can run this project.

It is the documentation of the Python standard library and of the packages this project runs on: docstrings and
`pydoc` topics, one document a module, paragraphs of prose kept; code, tables and signatures are left out where they
can be recognised. Modules are parsed, never imported.
"""

import ast
import gc
import importlib.metadata
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

# What the project runs on (pyproject.toml) and what those packages need in turn, the well documented of them.
DISTRIBUTIONS = (
    *("torch", "lightning", "torchmetrics", "datasets", "tokenizers", "safetensors", "wandb", "jsonargparse"),
    *("numpy", "pandas", "pyarrow", "sympy", "networkx", "mpmath", "fsspec", "huggingface_hub", "pydantic"),
    *("aiohttp", "anyio", "click", "rich", "Jinja2", "opentelemetry-sdk", "opentelemetry-api", "regex", "filelock"),
    *("multiprocess", "dill", "requests", "urllib3", "yarl", "typer", "attrs", "Pygments", "protobuf"),
)
SKIPPED_FOLDERS = frozenset({"test", "tests", "testing", "_vendor", "vendor", "site-packages", "idlelib", "lib2to3"})
MINIMUM_WORDS = 6  # a shorter paragraph is a heading or a label
MINIMUM_DOCUMENT_CHARACTERS = 200

_ROLE = re.compile(r":[\w:+-]+:`~?([^`<]+?)(?:\s*<[^`]*>)?`")  # :class:`~torch.Tensor` -> torch.Tensor
_LINK = re.compile(r"`([^`<]+?)\s*<[^`]*>`_+")  # `text <url>`_ -> text
_QUOTED = re.compile(r"`{1,3}([^`]+)`{1,3}_{0,2}")
_CODE_LINE = re.compile(
    r"\s*(>>>|\.\. |\.\.\.|@|#|\||\+[-=]|[-=~^*\"']{3,}|:\w+|def |class |import |from \S+ import|[{}\[\]()<])"
)
_LIST_MARK = re.compile(r"\s*(?:[-*+•]|\(?\w{1,2}[.)])\s+")
_PARAMETER = re.compile(r"\s*\*{0,2}[\w.]+ ?(?:\([^)]*\))?:\s+(?=\S)")  # "size (int): the size" in a list of arguments
_TYPED_PARAMETER = re.compile(r"\s*\*{0,2}[\w., *]+ : ")  # "size : int", the line above a description
_SYMBOL = re.compile(r"[=<>{}\[\]()_/\\|^~#*]")


def _unmarked(text: str) -> str:
    """`text` without reStructuredText marks."""
    text = _LINK.sub(r"\1", _ROLE.sub(r"\1", text))
    return _QUOTED.sub(r"\1", text).replace("**", "")


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph reads as sentences: enough words, few symbols, closed by a sentence's last mark."""
    words = paragraph.split()
    if len(words) < MINIMUM_WORDS or paragraph[-1] not in ".!?:)\"'" or paragraph.endswith("::"):
        return False
    plain = sum(word.strip(".,;:!?()\"'").replace("-", "").replace("'", "").isalpha() for word in words)
    return plain >= 0.75 * len(words) and len(_SYMBOL.findall(paragraph)) <= 0.03 * len(paragraph)


def paragraphs(docstring: str) -> Iterator[str]:
    """The paragraphs and list items of a docstring, each on one line and without marks; code lines part them."""
    block: list[str] = []
    depth: int | None = None  # of the block's lines; None while only the line of a parameter has been read
    for line in [*inspect.cleandoc(docstring).splitlines(), ""]:
        mark = _LIST_MARK.match(line) or _PARAMETER.match(line)
        is_text = bool(line.strip()) and not _CODE_LINE.match(line) and not _TYPED_PARAMETER.match(line)
        indent = len(line) - len(line.lstrip())
        if block and (not is_text or mark or (depth is not None and indent != depth)):
            yield _unmarked(" ".join(block))
            block = []
        if is_text:
            if mark:
                depth = None
            elif not block or depth is None:
                depth = indent
            block.append(line[mark.end() :].strip() if mark else line.strip())


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement under `body`, in source order; expressions are not entered."""
    for statement in body:
        yield statement
        for name in ("body", "handlers", "orelse", "finalbody"):
            yield from _statements(getattr(statement, name, []))


def _docstring(statement: ast.stmt) -> str | None:
    """The docstring that a statement is: a string on its own, or the string of `add_docstr(torch.abs, "...")`."""
    if not isinstance(statement, ast.Expr):
        return None
    expression = statement.value
    if isinstance(expression, ast.Call):  # how compiled functions get theirs
        name = getattr(expression.func, "id", None) or getattr(expression.func, "attr", "")
        expression = expression.args[-1] if "doc" in name.lower() and expression.args else expression
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return expression.value
    return None


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a module's source, in the order they stand there; nothing where it does not parse."""
    gc.disable()  # a tree holds no cycles, and the collector would double the time
    try:
        found = [_docstring(statement) for statement in _statements(ast.parse(source).body)]
    except (SyntaxError, ValueError, RecursionError):
        found = []
    finally:
        gc.enable()
    yield from (docstring for docstring in found if docstring)


def _module_files() -> Iterator[Path]:
    """Source files of the standard library and of the named distributions, in one order on every machine."""
    standard_library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(standard_library.rglob("*.py")):
        if SKIPPED_FOLDERS.isdisjoint(path.relative_to(standard_library).parts):
            yield path
    for name in versions():
        for file in sorted(importlib.metadata.files(name) or [] if name != "python" else []):
            if file.suffix in (".py", ".pyi") and SKIPPED_FOLDERS.isdisjoint(file.parts):
                yield Path(str(file.locate()))


def versions() -> dict[str, str]:
    """What the embedded corpus is made of on this machine: Python and each distribution present, by version."""
    found = {"python": sys.version.split()[0]}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name).split("+")[0]  # 2.13.0+cpu documents what 2.13.0 does
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def embedded_documents() -> Iterator[str]:
    """One document a module: its prose, paragraphs parted by blank lines; a paragraph met before is left out."""
    seen: set[str] = set()

    def document(texts: Iterable[str]) -> str:
        fresh: list[str] = []
        for paragraph in (paragraph for text in texts for paragraph in paragraphs(text)):
            if paragraph not in seen and is_prose(paragraph):
                seen.add(paragraph)
                fresh.append(paragraph)
        return "\n\n".join(fresh)

    documents = (document([topics[name]]) for name in sorted(topics))
    yield from (text for text in documents if len(text) >= MINIMUM_DOCUMENT_CHARACTERS)
    sources = (path.read_text(encoding="utf-8", errors="replace") for path in _module_files())
    documents = (document(docstrings(source)) for source in sources)
    yield from (text for text in documents if len(text) >= MINIMUM_DOCUMENT_CHARACTERS)
