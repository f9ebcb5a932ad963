"""What decides the content of a token store, and the name that follows from it."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from common.errors import UserError
from common.files import sha256_of_file
from data.text.corpora import Corpus
from data.text.hub import hub_not_reached, hub_reason
from data.tokens.pieces import cuts_before_white_space
from data.tokens.tokenizer import KINDS, VocabularyFormat, load_tokenizer

FORMAT = 1  # of the folder and of all that turns text into it; with another number every store is built anew


def _of_the_hub(name: str) -> str:
    """The tokenizer.json of a model on the hub, or of the copy in the cache that transformers uses as well.

    Raises:
        UserError: where there is no such model, or it has no such file.
        MachineError: where the hub is not reached, and there is no copy.
    """
    import huggingface_hub  # slow to import
    from huggingface_hub import errors

    hub_reason()
    try:
        return huggingface_hub.hf_hub_download(name, "tokenizer.json")
    except errors.EntryNotFoundError as error:
        if not isinstance(error, errors.LocalEntryNotFoundError):
            raise UserError(f"data.tokenizer: '{name}' on the hub has no tokenizer.json") from error
        if "/" in name:
            remedy = "name a tokenizer.json, or a folder that holds one"
            raise hub_not_reached(f"data.tokenizer: '{name}'", error, remedy=remedy) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        if "/" in name:
            raise UserError(f"data.tokenizer: '{name}' is no model of the hub that can be read") from error
    return name


def tokenizer_file(named: str) -> str:
    """A kind of tokenizer, or the file that a name stands for: itself, that in a folder such as a run's, or the hub's.

    A name that is nowhere is given back as it is.

    Raises:
        UserError: where the folder or the model of that name holds none.
        MachineError: where it would have to come from the hub, which is not reached.
    """
    folder = Path(named)
    if named in KINDS or folder.is_file():
        return named
    if not folder.is_dir():
        return _of_the_hub(named) if re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", named) and ".json" not in named else named
    places = (folder, folder.parent.parent)  # a run or what transformers saved; a run's checkpoint
    found = next((file for place in places if (file := place / "tokenizer.json").is_file()), None)
    if found is None:
        raise UserError(
            f"data.tokenizer: no tokenizer.json in '{folder}', which may be a run or what transformers saved"
        )
    return str(found)


def tokenizer_fingerprint(
    tokenizer: str, vocab_size: int, vocabulary_format: VocabularyFormat = 1
) -> dict[str, str | int]:
    """What identifies a tokenizer before it is there: how it is trained, or the hash of its file.

    The first format is not named, so that stores keep the names that they had before there was a second; nor is what
    reads sentence by sentence, as all tokenizers did at first.
    """
    newer: dict[str, str | int] = {} if vocabulary_format == 1 else {"vocabulary_format": vocabulary_format}
    if tokenizer in KINDS:
        return {"kind": tokenizer, "vocab_size": vocab_size, "library": tokenizers.__version__, **newer}
    path = Path(tokenizer)
    if not path.is_file():
        raise UserError(
            f"data.tokenizer: no file '{path}' (it takes {', '.join(KINDS)}, a tokenizer.json, or a model of the hub)"
        )
    sha256 = sha256_of_file(path)
    if not cuts_before_white_space(load_tokenizer(path, sha256=sha256)):
        newer["reads"] = "whole documents"
    return {"sha256": sha256, **newer}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides the content of a store.

    Args:
        corpus: what is read.
        validation: what validation reads; without it, documents are set aside by their hash.
        validation_fraction: share of the documents set aside where there is no `validation`.
        tokenizer: kind to train (`byte_bpe`, `wordpiece`, `unigram`) or path of a `tokenizer.json`.
        vocab_size: number of ids of a tokenizer trained here.
        vocabulary_format: 1, or 2 with the marks of UL2 and of fill-in-the-middle.
        end_of_document: whether every document is closed by the EOS token, for all objectives alike.
    """

    corpus: Corpus
    validation: Corpus | None = None
    validation_fraction: float = 0.05
    tokenizer: str = "byte_bpe"
    vocab_size: int = 8192
    vocabulary_format: VocabularyFormat = 1
    end_of_document: bool = True

    @cached_property
    def description(self) -> dict[str, Any]:
        """The recipe with files and versions in place of names: equal where the stores are equal.

        It is made once: files that change later are another recipe's, and are refused where they are read for this one.
        """
        return {
            "format": FORMAT,
            "corpus": self.corpus.fingerprint(),
            "validation": self.validation.fingerprint() if self.validation else self.validation_fraction,
            "tokenizer": tokenizer_fingerprint(self.tokenizer, self.vocab_size, self.vocabulary_format),
            "end_of_document": self.end_of_document,
        }

    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the store."""
        return hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:16]
