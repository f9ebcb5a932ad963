"""A tokenizer.json from elsewhere: it gets what it lacks, keeps what it has, and no text becomes a special id."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from data.tokens.tokenizer import NUM_SENTINELS, Vocabulary, load_tokenizer, vocabulary_of
from tests.helpers import made_up_documents

LITERALS = "the [MASK] <mask> cat</s><s> <pad> [CLS][SEP] <extra_id_0> <|endoftext|> <extra_id_127>"


def byte_bpe(*special: str) -> Tokenizer:
    """A byte-level BPE tokenizer as GPT-2 has one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=list(special), show_progress=False
    )
    tokenizer.train_from_iterator(made_up_documents(), trainer)
    return tokenizer


def loaded(tokenizer: Tokenizer, folder: Path) -> tuple[Tokenizer, Vocabulary]:
    tokenizer.save(str(folder / "tokenizer.json"))
    found = load_tokenizer(folder / "tokenizer.json")
    return found, vocabulary_of(found)


def special_ids_in(text: str, tokenizer: Tokenizer, vocabulary: Vocabulary) -> set[str | None]:
    ids = np.array(tokenizer.encode(text, add_special_tokens=False).ids)
    return {tokenizer.id_to_token(int(index)) for index in ids[vocabulary.is_special[ids]]}


def test_a_tokenizer_gets_the_special_tokens_it_lacks_behind_its_own(tmp_path: Path) -> None:
    foreign = byte_bpe("<|endoftext|>")
    size = foreign.get_vocab_size()
    tokenizer, vocabulary = loaded(foreign, tmp_path)
    assert vocabulary.eos == foreign.token_to_id("<|endoftext|>")
    assert vocabulary.size == size + 6 + NUM_SENTINELS
    assert (np.diff(vocabulary.sentinels) == -1).all()
    assert {foreign.id_to_token(index) for index in range(size)} <= set(tokenizer.get_vocab())
    text = made_up_documents(1, seed=1)[0]
    assert tokenizer.encode(text).ids == foreign.encode(text).ids


def test_other_spellings_are_recognised(tmp_path: Path) -> None:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<mask>", "<|begin_of_text|>", "<|end_of_text|>"]
    foreign = byte_bpe(*names)
    _, vocabulary = loaded(foreign, tmp_path)
    roles = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
    assert [getattr(vocabulary, role) for role in roles] == [foreign.token_to_id(name) for name in names]


def test_the_sentinels_of_t5_are_kept_and_completed(tmp_path: Path) -> None:
    foreign = byte_bpe(*(f"<extra_id_{k}>" for k in reversed(range(100))))
    _, vocabulary = loaded(foreign, tmp_path)
    assert vocabulary.sentinels[:100].tolist() == [foreign.token_to_id(f"<extra_id_{k}>") for k in range(100)]
    assert len(set(vocabulary.sentinels.tolist())) == NUM_SENTINELS
    assert vocabulary.is_special[vocabulary.sentinels].all()


def test_text_is_text_though_the_file_adds_special_tokens(tmp_path: Path) -> None:
    tokenizer, vocabulary = loaded(byte_bpe("[MASK]", "</s>", "<extra_id_0>", "<|endoftext|>"), tmp_path)
    assert special_ids_in(LITERALS, tokenizer, vocabulary) == set()
    assert tokenizer.decode(tokenizer.encode(LITERALS).ids) == LITERALS


def test_text_is_text_though_the_file_adds_the_same_names_as_words(tmp_path: Path) -> None:
    foreign = byte_bpe()
    foreign.add_tokens(["[MASK]", AddedToken("<mask>", lstrip=True), "<extra_id_0>", "</s>"])
    tokenizer, vocabulary = loaded(foreign, tmp_path)
    assert special_ids_in(LITERALS, tokenizer, vocabulary) == set()
    assert vocabulary.mask == foreign.token_to_id("[MASK]")


@pytest.mark.parametrize("model", [models.WordLevel, models.WordPiece])
def test_text_is_text_though_special_tokens_are_words_of_the_model(
    model: Callable[..., models.Model], tmp_path: Path
) -> None:
    words = ["[UNK]", "[MASK]", "<extra_id_0>", "</s>", "the", "cat", "[", "]", "<", ">"]
    foreign = Tokenizer(model({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    foreign.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer, vocabulary = loaded(foreign, tmp_path)
    assert special_ids_in(LITERALS, tokenizer, vocabulary) <= {"[UNK]"}


def test_words_that_a_file_adds_stand_for_text(tmp_path: Path) -> None:
    foreign = byte_bpe()
    foreign.add_tokens(["        ", "objective"])
    tokenizer, vocabulary = loaded(foreign, tmp_path)
    index = foreign.token_to_id("objective")
    assert index in tokenizer.encode("an objective").ids
    assert not vocabulary.is_special[index]


def test_a_file_that_cuts_and_pads_loses_nothing_and_adds_nothing(tmp_path: Path) -> None:
    foreign = byte_bpe("[MASK]")
    text = " ".join(made_up_documents(5))
    ids, short_ids = foreign.encode(text).ids, foreign.encode("the").ids
    foreign.enable_truncation(8)
    foreign.enable_padding(length=12, pad_token="[MASK]")
    tokenizer, _ = loaded(foreign, tmp_path)
    assert tokenizer.encode(text).ids == ids
    assert [encoding.ids for encoding in tokenizer.encode_batch_fast(["the", text])] == [short_ids, ids]


def test_an_id_that_no_token_has_stands_for_no_text(tmp_path: Path) -> None:
    foreign = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "cat": 5, "<mask>": 9}, unk_token="<unk>"))
    foreign.add_special_tokens(["<mask>"])
    _, vocabulary = loaded(foreign, tmp_path)
    assert vocabulary.ordinary.tolist() == [1, 5]


def test_ids_with_gaps_into_which_special_tokens_would_fall_are_refused(tmp_path: Path) -> None:
    foreign = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "cat": 5}, unk_token="<unk>"))
    with pytest.raises(ValueError, match=r"data\.tokenizer: '.*' leaves gaps between its ids"):
        loaded(foreign, tmp_path)
