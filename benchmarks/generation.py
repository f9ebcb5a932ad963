"""Measures generation beside transformers' on the same weights, as ratios: python -m benchmarks.generation.

Tokens a second against the length of the text, greedily, one text at a time, by one thread in float32: with keys and
values kept from one token to the next, and without, where the whole text is read anew for every token. Both sides take
turns in one process, and what is timed is what the processor spends on them, so that other processes do not count.

    python -m benchmarks.generation
    python -m benchmarks.generation --device cuda --shape base --batches 1 32

With --batches, or on a GPU: tokens a second of so many texts at once by the clock, on a GPU or with --compiled those of
compiled steps besides (generate.py --compile; on a GPU replayed as one graph), against transformers' `generate` with
its static cache, which it compiles on a GPU, and with the cache that grows. Medians of the turns are printed, and
written as JSON under benchmarks/results/, in the file of this machine.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.shared.record import add, add_out, file_of, machine, today
from benchmarks.steps.shapes import MEASURED, BenchmarkShape, shape_named
from models.body import Inputs
from models.generation.decoding import Decoding
from models.generation.generation import stream
from models.huggingface.families import FAMILIES
from models.huggingface.settings import to_huggingface_config
from models.huggingface.weights import to_huggingface
from models.presets import PresetName, TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.transformer import Transformer
from training.monitoring.tables import plain_table, print_whole

HAS_ENCODER: dict[PresetName, bool] = {"gpt2": False, "bart": True, "t5": True}
PROMPT, SOURCE = 16, 128  # tokens that a decoder, or an encoder, reads first
LENGTHS = (64, 128, 256, 512, 1024)
LONGEST_WITHOUT_CACHE = 256
POSITIONS = PROMPT + max(LENGTHS)
START = 0  # of a decoder beside an encoder

Generate = Callable[[int, "Clock"], list[int]]  # that many tokens, each noted by the clock when it is there


class Clock:
    """Seconds of the processor that had passed when each token was there; a streamer of transformers' besides."""

    def __init__(self) -> None:
        self.started, self.moments = time.process_time(), []

    def put(self, _: Tensor) -> None:
        self.moments.append(time.process_time() - self.started)

    def end(self) -> None:
        """All tokens have been put."""


def blocks_of(preset: PresetName, shape: BenchmarkShape) -> tuple[int, int]:
    """Blocks of the encoder and of the decoder."""
    return shape.layers * HAS_ENCODER[preset], shape.layers


def make_ours(preset: PresetName, shape: BenchmarkShape) -> tuple[nn.ModuleDict, TransformerConfig]:
    """A model of the family, with initial weights."""
    config = TransformerConfig(preset=preset, width=shape.width, num_heads=shape.num_heads)
    blocks = blocks_of(preset, shape)
    body = Transformer(config, num_blocks=blocks, vocab_size=shape.vocab_size, max_positions=POSITIONS)
    initialise(body, 0)
    return nn.ModuleDict({"body": body}).eval(), config


def make_theirs(ours: nn.ModuleDict, config: TransformerConfig, shape: BenchmarkShape) -> Any:
    """Transformers' class of the family with the same weights."""
    import transformers

    family, blocks = FAMILIES[config.preset], blocks_of(config.preset, shape)
    settings = to_huggingface_config(config, blocks, vocab_size=shape.vocab_size, max_positions=POSITIONS)
    special = {"pad_token_id": START, "bos_token_id": None, "eos_token_id": None, "decoder_start_token_id": START}
    model = getattr(transformers, family.name)(transformers.AutoConfig.for_model(**{**settings, **special}))
    model.load_state_dict(to_huggingface(ours.state_dict(), config, blocks), strict=True)
    return model.eval()


def prompt_of(shape: BenchmarkShape, rows: int, length: int) -> Tensor:
    """int64[rows, length], random tokens."""
    return torch.randint(1, shape.vocab_size, (rows, length), generator=torch.Generator().manual_seed(0))


def generators(preset: PresetName, shape: BenchmarkShape) -> dict[str, Generate]:
    """Ways to generate a text: ours and theirs, with keys and values kept and without."""
    ours, config = make_ours(preset, shape)
    model, body = make_theirs(ours, config, shape), ours["body"]
    assert isinstance(body, Transformer)
    has_encoder, never = HAS_ENCODER[preset], shape.vocab_size  # no token ends a text
    read = prompt_of(shape, 1, SOURCE if has_encoder else PROMPT)
    sources = read.tolist() if has_encoder else None
    prompts = [[START]] if has_encoder else read.tolist()

    def ours_cached(length: int, clock: Clock) -> list[int]:
        generated, decoding = [], Decoding(max_new_tokens=length)
        steps = stream(body, prompts, sources=sources, decoding=decoding, eos=never, max_positions=POSITIONS)
        for ids_B, _ in steps:
            clock.put(ids_B)
            generated.append(int(ids_B[0]))
        return generated

    @torch.inference_mode()
    def ours_whole(length: int, clock: Clock) -> list[int]:
        ids_BT = torch.tensor(prompts)
        memory_BSD = body.encode(Inputs(encoder_ids_BS=read)) if has_encoder else None
        for _ in range(length):
            states_BTD = body.decode(Inputs(decoder_ids_BT=ids_BT), memory_BSD)
            ids_B1 = body.logits(states_BTD[:, -1]).argmax(dim=-1, keepdim=True)
            clock.put(ids_B1)
            ids_BT = torch.cat([ids_BT, ids_B1], dim=1)
        return ids_BT[0, len(prompts[0]) :].tolist()

    def theirs(length: int, clock: Clock, *, use_cache: bool) -> list[int]:
        ids_1T = model.generate(
            read,
            attention_mask=torch.ones_like(read),
            max_new_tokens=length,
            do_sample=False,
            use_cache=use_cache,
            streamer=clock,
        )
        del clock.moments[0]  # it is handed the prompt first
        return ids_1T[0, 1 if has_encoder else PROMPT :].tolist()

    return {
        "ours": ours_cached,
        "theirs": lambda length, clock: theirs(length, clock, use_cache=True),
        "ours, no cache": ours_whole,
        "theirs, no cache": lambda length, clock: theirs(length, clock, use_cache=False),
    }


def measure(preset: PresetName, shape: BenchmarkShape, turns: int) -> dict[str, Any]:
    """For every way to generate a text, tokens a second by its length; and how many tokens both sides agree on."""
    ways = generators(preset, shape)
    seconds: dict[str, list[list[float]]] = {name: [] for name in ways}
    texts: dict[str, list[int]] = {}
    for turn in range(turns + 1):
        for name, generate in ways.items():
            without = name.endswith("no cache")
            longest = 8 if turn == 0 else LONGEST_WITHOUT_CACHE if without else max(LENGTHS)  # the first warms up
            if without and turn > 1:
                continue  # it takes long, and one turn shows it
            clock = Clock()
            texts[name] = generate(longest, clock)
            if turn:
                seconds[name].append(clock.moments)
    found: dict[str, Any] = {
        name: {
            length: length / statistics.median(moments[length - 1] for moments in runs)
            for length in LENGTHS
            if length <= len(runs[0])
        }
        for name, runs in seconds.items()
    }
    pairs = zip(texts["ours"], texts["theirs"], strict=True)
    agreed = next((number for number, (mine, other) in enumerate(pairs) if mine != other), len(texts["ours"]))
    return {"tokens_per_second": found, "first_tokens_alike": agreed}


def measure_batch(
    shape: BenchmarkShape, rows: int, *, length: int, device: torch.device, turns: int, compiles: bool
) -> dict[str, float]:
    """Tokens a second of so many texts at once, by the clock: ours and theirs, with a static and a growing cache."""
    (ours, config), (static, _) = make_ours("gpt2", shape), make_ours("gpt2", shape)
    model, body, compiled = make_theirs(ours, config, shape).to(device), ours.to(device)["body"], static["body"]
    assert isinstance(body, Transformer)
    assert isinstance(compiled, Transformer)
    if compiles:
        compiled.to(device).compile_generation()
    read, never = prompt_of(shape, rows, PROMPT).to(device), shape.vocab_size

    def of_ours(body: Transformer) -> Tensor:
        decoding = Decoding(max_new_tokens=length)
        steps = stream(body, read.tolist(), decoding=decoding, eos=never, max_positions=POSITIONS)
        return torch.stack([ids_B for ids_B, _ in steps], dim=1)

    def of_theirs(**cache: Any) -> Tensor:
        mask = torch.ones_like(read)
        return model.generate(read, attention_mask=mask, max_new_tokens=length, do_sample=False, **cache)[:, PROMPT:]

    ways: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: of_ours(body),
        **({"ours, compiled": lambda: of_ours(compiled)} if compiles else {}),
        "theirs, static cache": lambda: of_theirs(cache_implementation="static"),
        "theirs, growing cache": of_theirs,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, generate in ways.items():
            before = time.perf_counter()
            ids_BT = generate().cpu()  # which waits for the device
            assert ids_BT.shape == (rows, length)
            if turn:  # the first warms up, and compiles
                seconds[name].append(time.perf_counter() - before)
    return {name: rows * length / statistics.median(taken) for name, taken in seconds.items()}


def print_results(console: Console, results: dict[PresetName, Any]) -> None:
    """A table of each family, and what a token costs at the end of the longest text beside the shortest."""
    for preset, result in results.items():
        lengths = [f"{length}" for length in LENGTHS]
        table = plain_table(f"{preset}: tokens a second", *lengths, "a token, longest / shortest")
        rates = result["tokens_per_second"]
        for name, row in rates.items():
            ratio = row[min(row)] / row[max(row)]
            cells = [f"{row[length]:,.0f}" if length in row else "" for length in LENGTHS]
            table.add_row(name, *cells, f"{ratio:.2f}")
        ratios = [f"{rates['ours'][length] / rates['theirs'][length]:.2f}" for length in LENGTHS]
        table.add_row("ours / theirs", *ratios, style="bold")
        print_whole(console, table)
        console.print(
            f"theirs: {FAMILIES[preset].name}; the first {result['first_tokens_alike']:,} tokens are the same\n"
        )


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=list(HAS_ENCODER), choices=list(HAS_ENCODER))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shape", choices=MEASURED, default="mini")
    parser.add_argument("--batches", nargs="+", type=int, help="texts at once; 1 and 32 by default on a GPU")
    parser.add_argument("--compiled", action="store_true", help="compiles ours, too; on a GPU it always does")
    parser.add_argument("--length", type=int, default=256, help="tokens of each of these")
    parser.add_argument("--turns", type=int, default=3)
    add_out(parser)
    options = parser.parse_args(arguments)
    console, shape, device = Console(highlight=False), shape_named(options.shape), torch.device(options.device)
    described, key = machine(), f"{options.shape} on {options.device}"
    console.print(described)
    found: dict[str, Any] = {}
    batches = options.batches or ([1, 32] if device.type == "cuda" else [])
    for rows in batches:
        settings = {"length": options.length, "device": device, "turns": options.turns}
        rates = measure_batch(shape, rows, **settings, compiles=options.compiled or device.type == "cuda")
        found[f"gpt2, {rows} at once"] = {"date": today(), "tokens_per_second": rates}
        cells = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
        console.print(f"gpt2, {rows} at once, tokens a second: {cells}")
    if not batches:
        torch.set_num_threads(1)
        results = {preset: measure(preset, shape, options.turns) for preset in options.presets}
        print_results(console, results)
        found = {preset: {"date": today(), **result} for preset, result in results.items()}
    add(options.out or file_of(described), described, {"generation": {key: found}})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
