"""Windows of a text by datasets, as its users make them: python -m benchmarks.shared.by_datasets TEXT TOKENIZER ...

It is a process of its own, which loads what it needs and nothing of this project, as `prepare.py` is one.
"""

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

WINDOW = 128  # tokens
Rows = dict[str, list[Any]]  # columns, as datasets gives them to `map`


def by_tokenizers(tokenizer: str) -> Callable[[Rows], Rows]:
    """Ids of texts by the fastest call of tokenizers."""
    from tokenizers import Tokenizer

    encode = Tokenizer.from_file(tokenizer).encode_batch_fast
    return lambda rows: {"input_ids": [one.ids for one in encode(rows["text"], add_special_tokens=False)]}


def by_transformers(tokenizer: str) -> Callable[[Rows], Rows]:
    """What transformers' examples of pretraining keep of texts."""
    from transformers import PreTrainedTokenizerFast

    encode = PreTrainedTokenizerFast(tokenizer_file=tokenizer)
    return lambda rows: dict(encode(rows["text"], return_special_tokens_mask=True))


WAYS = {"tokenizers": by_tokenizers, "transformers": by_transformers}


def grouped(rows: Rows) -> Rows:
    """Windows of all that a tokenizer gave, end to end."""
    joined = {name: list(itertools.chain.from_iterable(values)) for name, values in rows.items()}
    firsts = range(0, len(joined["input_ids"]) - WINDOW + 1, WINDOW)
    return {name: [values[first : first + WINDOW] for first in firsts] for name, values in joined.items()}


def windows_of(text: str, tokenise: Callable[[Rows], Rows], cache: str, processes: int) -> int:
    """The number of windows that datasets makes of the text."""
    import datasets

    datasets.disable_progress_bars()
    loaded: Any = datasets.load_dataset("json", data_files=text, cache_dir=cache, split="train")
    mapped = loaded.map(tokenise, batched=True, num_proc=processes, remove_columns=["text"])
    return len(mapped.map(grouped, batched=True, num_proc=processes))


if __name__ == "__main__":
    # The processes of `map` are as many as there are processors, and each has one thread.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _text, _tokenizer, _way, _cache, _processes = sys.argv[1:]
    assert windows_of(_text, WAYS[_way](_tokenizer), _cache, int(_processes))
