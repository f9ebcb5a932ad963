"""Writes a run as a folder that Hugging Face's transformers loads: python export.py runs/NAME --to FOLDER.

    python export.py runs/bert-s0 --to exported/bert
    python export.py runs/bert-s0 --to exported/bert-early --step 1000
    python export.py runs/sst2-bert-s0 --to exported/bert-sst2

Presets bert, albert, gpt2, bart, t5 and t5_v1_1 are classes of transformers, and so is lab with a sole stack: Llama
with a decoder, EuroBERT with an encoder (or Llama with is_causal = false: --as LlamaForCausalLM). Replaced-token
detection over bert is ELECTRA, its generator in a folder within; distillation over bert is DistilBERT. Nothing else is.
Of a fine-tuned run the best weights are taken, and transformers' pipeline answers as predict.py does.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import shlex
import sys
from pathlib import Path

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from common.errors import UserError
from finetuning.export import differences_of, export_tuned
from finetuning.load import is_tuned, load_fine_tuned
from objectives.weights.export import export_run
from objectives.weights.load import load_run
from training.script.script import script
from training.setup.parsing import OneLineErrors


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = OneLineErrors(description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--to", type=Path, required=True, help="folder to write, which must not be there yet")
    parser.add_argument("--step", type=int | None, default=None, help="checkpoint to take; the newest by default")
    parser.add_argument(
        "--as", type=str | None, default=None, help="class, where a model is several, such as LlamaForCausalLM"
    )
    parsed = parser.parse_args(arguments)
    if is_tuned(parsed.run):
        if parsed.step is not None:
            raise UserError(f"--step = {parsed.step}: of a fine-tuned run the best weights are taken")
        tuned = load_fine_tuned(parsed.run)
        name = export_tuned(tuned, parsed.to)
        for sentence in differences_of(tuned.module):
            print(f"note: {sentence}")
    else:
        name = export_run(load_run(parsed.run, step=parsed.step), parsed.to, class_name=parsed["as"])
    print(f"{parsed.to}: {name}; its README.md has data, budget, scores and usage")
    loading = f"from transformers import AutoConfig; print(AutoConfig.from_pretrained({str(parsed.to)!r}))"
    print(f"next: {shlex.join(['python', '-c', loading])}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
