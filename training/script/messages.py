"""A user's mistake in one line: jsonargparse's message without its scaffolding, and the nearest valid name."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

# Names that other programs have for what is a setting here: a flag of theirs is answered with the name of ours.
OURS = {
    # Lightning's Trainer
    "max_steps": "budget.steps",
    "min_steps": "budget.steps",
    "max_epochs": "budget.epochs",
    "min_epochs": "budget.epochs",
    "max_time": "budget.minutes",
    "gradient_clip_val": "optimizer.max_grad_norm",
    "accumulate_grad_batches": "data.micro_batch_size (windows a device computes at once; the gradient is that of "
    "data.batch_size whatever it is)",
    "fast_dev_run": "budget.steps, such as --budget.steps 3",
    "overfit_batches": "budget.epochs on a small data.corpus",
    "limit_val_batches": "data.validation_windows",
    "limit_train_batches": "budget.steps",
    "val_check_interval": "validation.every_steps",
    "check_val_every_n_epoch": "validation.every_steps",
    "log_every_n_steps": "logging.every_steps",
    "enable_checkpointing": "checkpoints.every_minutes",
    "default_root_dir": "runs",
    "enable_progress_bar": "nothing: where no terminal reads it, lines take the place of the bar",
    "enable_model_summary": "nothing: run.json holds the sizes",
    "inference_mode": "nothing: validation never keeps gradients",
    "benchmark": "nothing: kernels are chosen at the start",
    "sync_batchnorm": "nothing: no model here has batch normalisation",
    "use_distributed_sampler": "nothing: the order of the windows is a function of the seed",
    "reload_dataloaders_every_n_epochs": "nothing: the order of the windows is a function of the seed",
    "num_sanity_val_steps": "nothing: settings are checked before the first step",
    "detect_anomaly": "nothing: a loss that is no number stops the run, with its step and windows",
    "plugins": "trainer.strategy and trainer.precision",
    "barebones": "logging.wandb, such as --logging.wandb off",
    "gpus": "trainer.devices",
    "ckpt_path": "resume (the same command resumes a run by itself), or model.init_args.init_from for its weights",
    # transformers' TrainingArguments and example scripts
    "num_train_epochs": "budget.epochs",
    "epochs": "budget.epochs",
    "steps": "budget.steps",
    "max_train_steps": "budget.steps",
    "learning_rate": "optimizer.learning_rate",
    "lr": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay",
    "warmup_steps": "optimizer.warmup",
    "warmup_ratio": "optimizer.warmup",
    "warmup": "optimizer.warmup",
    "lr_scheduler_type": "optimizer.schedule",
    "lr_scheduler": "optimizer.schedule",
    "optim": "optimizer.name",
    "adam_beta1": "optimizer.betas",
    "adam_beta2": "optimizer.betas",
    "max_grad_norm": "optimizer.max_grad_norm",
    "per_device_train_batch_size": "data.batch_size (over all devices), and data.micro_batch_size for a device",
    "train_batch_size": "data.batch_size",
    "batch_size": "data.batch_size",
    "gradient_accumulation_steps": "data.micro_batch_size (windows a device computes at once; the gradient is that of "
    "data.batch_size whatever it is)",
    "dataloader_num_workers": "data.workers",
    "num_workers": "data.workers",
    "max_length": "data.window",
    "max_seq_length": "data.window",
    "max_source_length": "data.max_length",
    "block_size": "data.window",
    "seq_length": "data.window",
    "context_length": "data.window",
    "vocab_size": "data.vocab_size",
    "tokenizer": "data.tokenizer",
    "tokenizer_name": "data.tokenizer",
    "train_file": "data.corpus",
    "validation_file": "data.validation",
    "dataset": "data.corpus",
    "dataset_name": "data.corpus",
    "dataset_config_name": "data.configuration",
    "model_name_or_path": "model.init_args.init_from",
    "model_type": "body.preset",
    "hidden_size": "body.width",
    "d_model": "body.width",
    "n_embd": "body.width",
    "num_hidden_layers": "body.layers",
    "num_layers": "body.layers",
    "n_layer": "body.layers",
    "num_attention_heads": "body.num_heads",
    "n_head": "body.num_heads",
    "dropout": "body.dropout",
    "mlm_probability": "model.init_args.noise_density",
    "noise_density": "model.init_args.noise_density",
    "mean_span_length": "model.init_args.mean_span_length",
    "mean_noise_span_length": "model.init_args.mean_span_length",
    "init_from": "model.init_args.init_from",
    "output_dir": "runs, the folder of all runs, and name, that of this one",
    "run_name": "name",
    "logging_steps": "logging.every_steps",
    "eval_steps": "validation.every_steps",
    "save_steps": "checkpoints.every_steps",
    "save_total_limit": "checkpoints.keep",
    "report_to": "logging.wandb",
    "wandb_project": "logging.project",
    "project": "logging.project",
    "entity": "logging.entity",
    "resume_from_checkpoint": "resume (the same command resumes a run by itself)",
    "fp16": "trainer.precision, such as --trainer.precision bf16-mixed",
    "bf16": "trainer.precision, such as --trainer.precision bf16-mixed",
    "precision": "trainer.precision, such as --trainer.precision bf16-mixed",
    "devices": "trainer.devices",
    "device": "trainer.accelerator",
    "accelerator": "trainer.accelerator",
    "num_nodes": "trainer.num_nodes",
    "strategy": "trainer.strategy",
    "fsdp": "trainer.strategy, such as --trainer.strategy fsdp",
    "callbacks": "trainer.callbacks",
    "logger": "trainer.loggers",
    "profiler": "trainer.profiler",
    "full_determinism": "trainer.deterministic",
    "torch_compile": "compile",
}
NOTHING = "nothing:"  # begins the reason why none is needed
GROUPS = ("trainer", "train", "training", "args", "")  # under which their flags are written


def ours_for(name: str) -> str | None:
    """What another program's flag is called here; None where it is none of theirs.

    `trainer.max_steps`, `max_steps` and `budget.max_steps` are theirs, `data.max_steps` is a misspelt name of ours.
    """
    group, _, last = name.replace("-", "_").rpartition(".")
    ours = OURS.get(last)
    return ours if ours is not None and (group in GROUPS or ours.startswith(f"{group}.")) else None


_SCAFFOLDING = re.compile(
    r"^(Does not validate against any of|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|"
    r"Not a valid subclass|Expected a path but|Problem with given class_path .*:$|Parser key \"(?P<key>[\w.]+)\":$)"
)
_UNKNOWN = re.compile(
    r"(?:unrecognized arguments?: |Option '|Key '|option '|no attribute '|dot import path string: )"
    r"(?:--)?(?P<name>[\w.]+)"
)
_KEY = re.compile(r"^Parser key \"(?P<key>[\w.]+)\":", re.MULTILINE)
_LITERAL = re.compile(r"Expected a typing\.Literal\[(?P<choices>[^\]]*)\]\. Got value: (?P<value>.*)$")
_TYPE = re.compile(r"Expected a <class '(?P<type>\w+)'>\. Got value: (?P<value>.*)$")
_OF_UNION = re.compile(
    r"Expected a (?:<class '(?P<type>\w+)'>|typing\.Literal\[(?P<choices>[^\]]*)\])(?:\. Got value: .*)?"
)
_GIVEN = re.compile(r"Given value: (?P<value>.*)$", re.MULTILINE)
_GROUP = re.compile(r"Unable to load config '(?P<value>[^']*)'")
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list, such as [1, 2]",
    "list": "a list, such as [1, 2]",
    "dict": "a mapping, such as {a: 1}",
}
CUTOFF = 0.65  # likeness of the last parts of two names, above which one may be meant by the other


def _likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second).ratio()


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like `name` in full, of those whose last part is like its last part."""
    last = name.rsplit(".", 1)[-1]
    close = [full for full in sorted(set(valid)) if _likeness(last, full.rsplit(".", 1)[-1]) >= CUTOFF]
    return max(close, key=lambda full: _likeness(name, full), default=None)


def suggestion(name: str, valid: Iterable[str]) -> str | None:
    """What to write in place of an unknown name: what another program's flag is called here, or a name like it."""
    names = set(valid)
    theirs = ours_for(name)
    if theirs is not None:
        last = name.rsplit(".", 1)[-1]
        same = [full for full in names if full.rsplit(".", 1)[-1] == last]  # such as data.max_length of fine-tuning
        ours = theirs.split()[0].rstrip(",")
        if theirs.startswith(NOTHING):
            return f"needed here is {theirs}"
        if ours in names:
            return f"here it is {theirs}"
        if len(same) == 1:
            return f"here it is {same[0]}"
    near = nearest(name, names)
    return f"did you mean '{near}'?" if near else None


def _choices(literal: str) -> list[str]:
    """Those of a `typing.Literal`, as it is written between its brackets."""
    return [choice.strip(" '\"") for choice in literal.split(",")]


def _readable(text: str) -> str:
    """A message on a wrong value in plain words: the choices, and the one that was meant."""
    if found := _LITERAL.search(text):
        value, choices = found["value"], _choices(found["choices"])
        near = [choice for choice in choices if choice.startswith(value)]
        near = near or difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        text = f"{text[: found.start()]}'{value}' is none of {', '.join(choices)}{meant}{text[found.end() :]}"
    if found := _TYPE.search(text):
        kind = KINDS.get(found["type"], f"a {found['type']}")
        text = f"{text[: found.start()]}'{found['value']}' is not {kind}{text[found.end() :]}"
    return text


def _of_union(lines: Sequence[str], message: str) -> str | None:
    """A value that is of none of several simple kinds in plain words; None where it is another mistake."""
    if any(". Got value: " in line for line in lines):  # a part of it is wrong, such as one of a list
        return " ".join(_readable(line) for line in lines if ". Got value: " in line)
    given, allowed = _GIVEN.search(message), list[str]()
    for line in lines:
        if (found := _OF_UNION.fullmatch(line)) is None:
            return None
        kind = found["type"]
        if kind == "bool":
            allowed += ["true", "false"]
        else:
            allowed += _choices(found["choices"]) if kind is None else [KINDS.get(kind, f"a {kind}")]
    if given is None or not allowed:
        return None
    wrong = f"is not {allowed[0]}" if len(allowed) == 1 else f"is neither {', '.join(allowed[:-1])} nor {allowed[-1]}"
    return f"'{given['value']}' {wrong}"


def _of_group(message: str, choices: Mapping[str, Sequence[str]]) -> str | None:
    """A value that was given to a group of settings, with the one of them that it may be meant for."""
    key, found = _KEY.search(message), _GROUP.search(message)
    if not (key and found):
        return None
    within = [name for name in choices if name.startswith(f"{key['key']}.")]
    meant = next((name for name in within if found["value"] in choices[name]), None)
    remedy = f"did you mean --{meant} {found['value']}?" if meant else f"they are {', '.join(within)}"
    return f"{key['key']} = {found['value']}: {key['key']} is a group of settings; {remedy}"


def one_line(message: str, valid: Iterable[str] = (), choices: Mapping[str, Sequence[str]] | None = None) -> str:
    """`message` as one line: its key, what is wrong, and a valid name for the unknown one.

    Args:
        message: jsonargparse's.
        valid: names that a setting may have.
        choices: every name on the command line, with its values where they are a closed list.
    """
    if choices and (line := _of_group(message, choices)):
        return line
    keys = [
        match["key"] for line in message.splitlines() if (match := _SCAFFOLDING.match(line.strip())) and match["key"]
    ]
    lines = [line.strip().removeprefix("- ").strip() for line in message.splitlines()]
    parts = [line for line in dict.fromkeys(lines) if line and not _SCAFFOLDING.match(line)]
    text = _of_union(parts, message) or " ".join(map(_readable, parts))
    for key in keys[-1:]:
        if key not in text:
            text = f"{key}: {text}"
    unknown = _UNKNOWN.search(message)
    meant = suggestion(unknown["name"], valid) if unknown else None
    return f"{text}; {meant}" if meant else text
