"""The token store: a corpus as flat arrays on disk, built once and read without a copy.

A store is one folder, named by the fingerprint of all that decides its content:

    manifest.json        counts, fingerprints, the SHA-256 of every other file, the report of the build
    tokenizer.json
    train/ validation/   tokens.bin             uint16 or uint32, all documents one after another
                         sentence_starts.bin    int64, indices into the tokens; a document's start is one
                         document_starts.bin    int64
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from tokenizers import Tokenizer

from common.errors import UserError
from common.files import read_sealed, sha256_of_file, write_folder_whole, write_sealed
from data.store.ingest import SPLITS, ingest
from data.store.recipe import Recipe
from data.tokens.tokenizer import Vocabulary, load_tokenizer, vocabulary_of


def _entropy(path: Path, dtype: str, size: int) -> float:
    """Entropy in nats of the token frequencies: what a model that knows nothing else can reach."""
    counts = np.zeros(size, dtype=np.int64)
    with path.open("rb") as file:
        while len(tokens := np.fromfile(file, dtype=dtype, count=1 << 20)):
            counts += np.bincount(tokens, minlength=size)
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum())


def _fill(recipe: Recipe, building: Path, report: Callable[[str], None]) -> None:
    """Writes the files of a store, the manifest last."""
    counts, warnings = ingest(recipe, building, report)
    vocabulary = vocabulary_of(load_tokenizer(building / "tokenizer.json"))
    for split in SPLITS:
        tokens = building / split / "tokens.bin"
        counts[split]["unigram_entropy"] = _entropy(tokens, counts["dtype"], vocabulary.size)
    files = sorted(path for path in building.rglob("*") if path.is_file())
    manifest = {
        "recipe": recipe.description,
        **counts,
        "warnings": dict(warnings),
        "sha256": {str(path.relative_to(building)): sha256_of_file(path) for path in files},
    }
    write_sealed(building / "manifest.json", manifest)


def _build(recipe: Recipe, folder: Path, report: Callable[[str], None]) -> None:
    """Writes a store into `folder` whole.

    Raises:
        OSError: where the system refuses to write, naming `folder`.
    """
    try:
        write_folder_whole(folder, lambda building: _fill(recipe, building, report))
    except OSError as error:
        error.add_note("nothing of this store is kept, and the same command builds it from its beginning")
        raise


def damaged_files(folder: Path) -> list[str]:
    """Names of the files of a store that are missing or not as they were built; empty where the store is sound."""
    try:
        manifest, is_sealed = read_sealed(folder / "manifest.json", remedy="")
    except (OSError, UserError):
        return ["manifest.json"]
    if not is_sealed:
        return ["manifest.json"]
    paths = {name: folder / name for name in manifest["sha256"]}
    return [
        name for name, path in paths.items() if not path.is_file() or sha256_of_file(path) != manifest["sha256"][name]
    ]


def find_or_build(recipe: Recipe, cache: Path, report: Callable[[str], None] = print) -> Path:
    """The folder of the sound store that `recipe` describes, built where it is missing or damaged.

    Every file is read and compared with its hash first: a damaged store is never trained on. Of two processes that
    want the same store, one builds and the other waits.

    Raises:
        UserError: where the corpus cannot be read or does not hold what the recipe names.
    """
    folder = cache / recipe.fingerprint()
    if folder.exists() and not damaged_files(folder):  # without a lock, which a read-only disk does not give
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f".{folder.name}.lock"):
        if folder.exists():
            damage = damaged_files(folder)
            if not damage:
                return folder
            report(f"{folder}: {', '.join(damage)} damaged (the SHA-256 differs); building the store anew")
        _build(recipe, folder, report)
    return folder


class TokenStore:
    """One split of a store, mapped into memory.

    Attributes:
        tokens: uint16 or uint32[num_tokens].
        sentence_starts, document_starts: int64[...], rising indices into `tokens`; both begin with 0.
    """

    def __init__(self, folder: Path, split: str) -> None:
        manifest = read_manifest(folder)
        self.folder, self.split = folder, split
        self.tokens = self._map("tokens", manifest["dtype"])
        self.sentence_starts = self._map("sentence_starts", "int64")
        self.document_starts = self._map("document_starts", "int64")
        self.num_bytes: int = manifest[split]["bytes"]
        self.unigram_entropy: float = manifest[split]["unigram_entropy"]

    def _map(self, name: str, dtype: str) -> np.ndarray:
        path = self.folder / self.split / f"{name}.bin"
        if path.stat().st_size == 0:  # an empty file cannot be mapped
            return np.zeros(0, dtype=dtype)
        return np.asarray(np.memmap(path, dtype=dtype, mode="r"))  # a memmap's own slices cost microseconds each


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a store."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {"warnings" if key == "faults" else key: value for key, value in manifest.items()}  # of the first edition


def read_tokenizer(folder: Path) -> tuple[Tokenizer, Vocabulary]:
    """The tokenizer of a store or of a run folder, with its vocabulary."""
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    return tokenizer, vocabulary_of(tokenizer)
