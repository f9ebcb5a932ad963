"""Folders as transformers saves them: a small model of every family, with random weights that all matter."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

from data.tokens.tokenizer import SPECIAL_TOKENS, load_tokenizer, train_tokenizer, vocabulary_of
from tests.helpers import ENGLISH, KOREAN, made_up_documents

POSITIONS = 64
T5_SIZES = {"d_model": 32, "d_kv": 12, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2}
V1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
SIZES |= {"max_position_embeddings": POSITIONS}
GPT2_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS}
BART_SIZES = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
BART_SIZES |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": POSITIONS}

# By preset: the class of the model, that of its configuration, and what that is given.
CLASSES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "bert": (transformers.BertForPreTraining, transformers.BertConfig, SIZES),
    "gpt2": (transformers.GPT2LMHeadModel, transformers.GPT2Config, GPT2_SIZES),
    "lab": (transformers.LlamaForCausalLM, transformers.LlamaConfig, {**SIZES, "tie_word_embeddings": True}),
    "bart": (transformers.BartForConditionalGeneration, transformers.BartConfig, BART_SIZES),
    "t5": (transformers.T5ForConditionalGeneration, transformers.T5Config, T5_SIZES),
    "t5_v1_1": (transformers.T5ForConditionalGeneration, transformers.T5Config, {**T5_SIZES, **V1_1}),
}


def unsettle(module: nn.Module, *, seed: int, deviation: float = 0.2) -> None:
    """Moves every parameter, so that none is nothing and answers differ."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data += deviation * torch.randn(parameter.shape, generator=generator)


def word_pieces() -> Tokenizer:
    """BERT's kind of tokenizer, made without chance: of every third word there are only letters."""
    words = [*ENGLISH.split(), *KOREAN.split()]
    letters = sorted({*"".join(words), *"abcdefghijklmnopqrstuvwxyz.,?!'()0123456789"})
    pieces = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), *words]
    kept = dict.fromkeys(piece for number, piece in enumerate(pieces) if piece not in words or number % 3)
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(kept)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    return tokenizer


def plain_bytes() -> Tokenizer:
    """GPT-2's kind of tokenizer: of bytes, with one special token alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(made_up_documents(), trainer)
    return tokenizer


def save_tokenizer(kind: str, path: Path) -> None:
    """A tokenizer of word pieces (`wordpiece`), of bytes as GPT-2 has it (`plain`), or as a run has it."""
    made = {"wordpiece": word_pieces, "plain": plain_bytes}
    run = partial(train_tokenizer, iter(made_up_documents()), kind="byte_bpe", vocab_size=600)
    made.get(kind, run)().save(str(path))


def save_random(preset: str, folder: Path, tokenizer_file: Path) -> Any:
    """Saves a model of that family beside a tokenizer, and returns it."""
    size = Tokenizer.from_file(str(tokenizer_file)).get_vocab_size()
    vocabulary = vocabulary_of(load_tokenizer(tokenizer_file))
    found = {f"{role}_token_id": getattr(vocabulary, role) for role in ("pad", "bos", "eos")}
    ids = {name: index for name, index in found.items() if index < size}
    ids["decoder_start_token_id"] = vocabulary.eos if preset == "bart" else vocabulary.pad
    of_model, of_config, settings = CLASSES[preset]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = of_model(of_config(vocab_size=size, **settings, **ids))
    if preset == "t5_v1_1":  # transformers 5 ties what it makes new
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    unsettle(model, seed=1)
    model.eval().save_pretrained(folder)
    shutil.copyfile(tokenizer_file, folder / "tokenizer.json")
    return model
