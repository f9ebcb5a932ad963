"""The likelihoods that a run gives texts, computed once and kept in files."""

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tokenizers import Tokenizer

from common.errors import UserError
from common.files import write_whole
from data.tokens.pieces import continuing
from evaluation.scoring import likelihood
from evaluation.scoring.likelihood import POSITIONS_AT_ONCE, Likelihoods, Precision, PrefixedTokens, score
from objectives.inference import likelihood as scorers
from objectives.weights.load import TrainedRun
from training.setup.precision import fastest, measured_rates, products_of, rates_line
from training.storage.run_dir import RunFolder

PrecisionSetting = Literal["auto", "float32", "bfloat16"]

PASSAGES_AT_ONCE = 2_000  # what is lost where a process is killed


class Passage(NamedTuple):
    """A cleaned text, and what stands before it, which is given."""

    text: str
    prefix: str = ""


def tokens_of(tokenizer: Tokenizer, passages: Sequence[Passage]) -> list[PrefixedTokens]:
    """Passages as ids; what stands before and the text are cut each by itself, the text as one that goes on."""

    def ids_of(one: Tokenizer, texts: Iterable[str]) -> list[np.ndarray]:
        encodings = one.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    prefixes = ids_of(tokenizer, (passage.prefix for passage in passages))
    alone = iter(ids_of(tokenizer, (passage.text for passage in passages if not passage.prefix)))
    behind = iter(ids_of(continuing(tokenizer), (passage.text for passage in passages if passage.prefix)))
    return [
        PrefixedTokens(text=next(behind if passage.prefix else alone), prefix=prefix)
        for passage, prefix in zip(passages, prefixes, strict=True)
    ]


def several(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names, of which one may stand alone."""
    return (names,) if isinstance(names, str) else tuple(names)


def store_of(run: TrainedRun) -> Path | None:
    """The token store that a run was trained on; None where it is no longer there."""
    data = RunFolder(run.folder).read_info().get("data")
    folder = Path(run.config["data"]["cache"]) / Path(data["store"]).name if data else None
    return folder if folder and (folder / "manifest.json").is_file() else None


def _hash_of(arrays: Mapping[str, np.ndarray], name: str) -> str:
    """Hash of scores and of the name of their file, which follows from all that they were computed of."""
    digest = hashlib.sha256(name.encode())
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode() + arrays[key].tobytes())
    return digest.hexdigest()


def _read(path: Path) -> Likelihoods | None:
    """What a file holds; None where it is not there, or is not what was written, which is named."""
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
            if (file.metadata() or {}).get("sha256") == _hash_of(arrays, path.stem):
                return Likelihoods(**arrays)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, TypeError):
        pass
    print(f"{path} is damaged, or from before scores were hashed: its texts are scored anew", file=sys.stderr)
    return None


def _write(scores: Likelihoods, path: Path) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in vars(scores).items()}
    write_whole(path, save(arrays, metadata={"sha256": _hash_of(arrays, path.stem)}))


@contextmanager
def progress(description: str, passages: int) -> Iterator[Callable[[float], None]]:
    """A bar where a terminal reads it; what it gives is called with how many more passages are done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=passages)
        yield lambda more: bar.advance(task, more)


_DECIDED: dict[str, Precision] = {}  # what `auto` is by kind of device, so that a process scores all runs alike


def decided(setting: PrecisionSetting, run: TrainedRun) -> Precision:
    """The precision that a setting means: `auto` is the faster one, measured at the first run that is scored."""
    if setting != "auto":
        return setting
    accelerator = run.network.device.type
    if accelerator not in _DECIDED:
        rows, vocab_size = POSITIONS_AT_ONCE[accelerator], run.vocabulary.size
        rates = measured_rates(products_of(run.network, rows=rows, vocab_size=vocab_size), accelerator)
        rank_zero_info(f"[machine] {rates_line(fastest(rates), rates)}")
        _DECIDED[accelerator] = "bfloat16" if fastest(rates) == "bf16-mixed" else "float32"
    return _DECIDED[accelerator]


class CachedScorer:
    """The scorers of a run, which remember what they computed.

    Args:
        run: of any objective that has scorers; it goes to a GPU where there is one.
        precision: of the products; `auto` is the faster one here, measured once for all runs that a process scores.
        cache: folder of what has been computed; by default `scores` in the run's. A file in it is named by all that
            decides its content: weights, scorer, precision, texts, and the code that makes examples of them.

    Raises:
        UserError: where its objective has no scorers.
    """

    def __init__(self, run: TrainedRun, *, precision: PrecisionSetting = "float32", cache: Path | None = None) -> None:
        self.run, self.cache = run, cache or run.folder / "scores"
        self.scorers = run.scorers
        run.network.to("cuda" if torch.cuda.is_available() else "cpu")
        self.precision: Precision = decided(precision, run)

    @property
    def primary(self) -> str:
        """The scorer that minimal pairs are judged by."""
        return next(iter(self.scorers))

    @property
    def continuation(self) -> str:
        """The scorer whose probabilities of what follows sum to 1.

        Raises:
            UserError: where there is none.
        """
        found = [name for name, scorer in self.scorers.items() if scorer.is_normalised and not scorer.is_control]
        if not found:
            raise UserError(f"{type(self.run.objective).__name__} has no normalised scorer: it continues no texts")
        return found[0]

    def check(self, names: Iterable[str]) -> None:
        """Raises UserError for the name of a scorer that the objective does not have."""
        for name in names:
            if name not in self.scorers:
                kind = type(self.run.objective).__name__
                raise UserError(
                    f"minimal_pairs.scorers: '{name}' is none of {kind}'s, which are {', '.join(self.scorers)}"
                )

    def score(
        self, name: str, passages: Sequence[Passage], advance: Callable[[float], None] = lambda passages: None
    ) -> Likelihoods:
        """What a scorer finds of passages, one at least; `advance` is called with how many more are done."""
        return Likelihoods.joined(
            [
                self._remembered(name, passages[start : start + PASSAGES_AT_ONCE], advance)
                for start in range(0, len(passages), PASSAGES_AT_ONCE)
            ]
        )

    def _remembered(self, name: str, passages: Sequence[Passage], advance: Callable[[float], None]) -> Likelihoods:
        path = self.cache / f"{self._digest(name, passages)}.safetensors"
        if (remembered := _read(path)) is not None:
            advance(len(passages))
            return remembered
        tokens = tokens_of(self.run.tokenizer, passages)
        scores = score(self.run, self.scorers[name], tokens, precision=self.precision, advance=advance)
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            _write(scores, path)
        except OSError as error:
            error.add_note(f"scores are kept in {self.cache}: name another folder as cache")
            raise
        return scores

    def _digest(self, name: str, passages: Sequence[Passage]) -> str:
        # Hashed are the weights, by the hashes of their files; the code that makes examples of texts and scores them
        # (scoring/likelihood.py, objectives/inference/likelihood.py and the file of the objective's strategy, by their
        # bytes: a change of their text, moves of modules among them, has every text scored anew); the tokenizer; and
        # the scorer's name, the precision and the texts.
        digest = hashlib.sha256((self.run.checkpoint / "sha256.json").read_bytes())
        for code in (likelihood.__file__, scorers.__file__, inspect.getfile(type(self.run.objective.inference))):
            digest.update(Path(code).read_bytes())
        digest.update(RunFolder(self.run.folder).tokenizer.read_bytes())
        digest.update(json.dumps([name, self.precision, passages]).encode())
        return digest.hexdigest()[:32]
