"""The command line: a mistake is one line with the key, the value, the constraint or the nearest valid name."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.presets import PRESETS
from tests.helpers import ROOT, UNMEASURED, make_cli, run_script, train_in_process
from training.setup.parsing import one_budget
from training.storage.config_file import changed_settings, flat

Command = Callable[..., list[str]]

MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "a misspelt key": (("--data.windw", "64"), "did you mean 'data.window'"),
    "a misspelt setting of the objective": (("--model.init_args.noise_densty", "0.3"), "noise_density"),
    "a setting of another objective": (("--model.init_args.infill_rate", "0.3"), "infill_rate"),
    "a word for a number": (("--data.window", "wide"), "data.window"),
    "a choice that there is not": (("--body.preset", "brt"), "brt"),
    "heads that do not divide": (("--body.num_heads", "3"), "body.width = 32 does not divide"),
    "key heads that do not divide": (
        ("--body.num_heads", "4", "--body.num_key_value_heads", "3"),
        "does not divide into body.num_key_value_heads = 3",
    ),
    "a window longer than the positions": (("--body.max_positions", "20"), "the longest window that fits is 17"),
    "a rate outside (0, 1)": (
        ("--model.init_args.noise_density", "1.5"),
        "noise_density = 1.5 must lie between 0 and 1",
    ),
    "rates that add up to more than 1": (
        ("--model.init_args.mask_rate", "0.9", "--model.init_args.random_rate", "0.2"),
        "mask_rate + random_rate = 1.1 must lie in [0, 1]",
    ),
    "a contradiction": (("--body.document_masking", "true"), "set model.init_args.next_sentence to false"),
    "two budgets": (("--budget.steps", "3", "--budget.minutes", "1"), "choose one"),
    "a budget that is no number": (("--budget.steps", "many"), "must be a number above 0"),
    "a warmup longer than the run": (("--budget.steps", "3", "--optimizer.warmup", "5"), "must be below the run's 3"),
    "a batch that does not split": (("--data.micro_batch_size", "3"), "do not split over"),
    "a vocabulary too small": (("--data.vocab_size", "20"), "must be at least"),
    "a corpus that is not there": (("--data.corpus", "no/such/file.txt"), "no file at 'no/such/file.txt'"),
    "a tokenizer that is not there": (("--data.tokenizer", "no/tokenizer.json"), "no file 'no/tokenizer.json'"),
    "a split of documents outside (0, 1)": (("--data.validation_fraction", "1"), "must lie between 0 and 1"),
    "a setting within a list of texts": (
        ("--logging.tags.nonsense=1",),
        "unrecognized arguments: --logging.tags.nonsense",
    ),
    "a setting within a number": (("--seed.of", "1"), "unrecognized arguments: --seed.of"),
    "a config that is not there": (("--config", "no.yaml"), "no.yaml"),
    "a learning rate of zero": (("--optimizer.learning_rate", "0"), "optimizer.learning_rate = 0.0 must be above 0"),
    "a name that is a path": (("--name", "../elsewhere"), "must be a plain name"),
    "layers for a decoder that there is not": (("--body.layers", "[2, 2]"), "needs an encoder alone"),
    "an interval of zero": (("--logging.every_steps", "0"), "logging.every_steps = 0 must be at least 1"),
    "a shard of a precision that has none": (
        ("--trainer.strategy", "fsdp", "--trainer.precision", "64-true"),
        "trainer.precision",
    ),
    "an optimizer that cannot be sharded": (
        ("--trainer.strategy", "fsdp", "--optimizer.name", "muon"),
        "optimizer.name = muon",
    ),
    "more devices than there are": (
        ("--trainer.accelerator", "cuda", "--trainer.devices", "99"),
        "trainer.devices = 99, but torch finds",
    ),
    "a corpus in the home of nobody": (("--data.corpus", "~nobody-of-this-name/a.txt"), "no file at '~nobody-of"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_before_training_in_one_line(
    tiny_run: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, mistake: str
) -> None:
    arguments, expected = MISTAKES[mistake]
    before = time.monotonic()
    assert train_in_process(tiny_run("masked_lm", "mistake", "--budget.steps", "100", *arguments)) == 2
    assert time.monotonic() - before < 10
    message = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(message) == 1
    assert expected in message[0]
    assert not (tmp_path / "runs/mistake/checkpoints").exists()


def test_a_job_of_slurm_with_tasks_that_lightning_does_not_take_is_refused_in_one_line(
    tiny_run: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"NTASKS": "2", "JOB_NAME": "train", "JOB_ID": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert train_in_process(tiny_run("causal_lm", "job", "--budget.steps", "1")) == 2
    assert "error: this job of SLURM: You set `--ntasks=2`" in capsys.readouterr().err


def test_settings_for_lightning_in_the_environment_are_refused(
    tiny_run: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 9: no run folder would tell of them."""
    monkeypatch.setenv("PL_TRAINER_MAX_STEPS", "1")
    assert train_in_process(tiny_run("causal_lm", "shorter", "--budget.steps", "2")) == 2
    assert "error: PL_TRAINER_MAX_STEPS in the environment would change the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "which objective? Name its config, such as --config configs/masked_lm.yaml"),
        (("--config", "configs/masked_lm.yaml", "--data.windw=3"), "did you mean 'data.window'?"),
        (
            ("--config", "configs/masked_lm.yaml", "--model", "objectives.masked_lm.MaskdLM"),
            "objectives.masked_lm.MaskedLM",
        ),
    ],
)
def test_no_mistake_ends_in_a_traceback(arguments: tuple[str, ...], expected: str) -> None:
    done = run_script("train.py", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert expected in done.stderr


def test_command_lines_of_one_process_leave_nothing_in_each_other(
    tiny_run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One parser reads them all; a new one finds the same."""
    plain, other = tiny_run("masked_lm", "plain"), tiny_run("span_corruption", "other", "--logging.tags", "[mine]")
    before = make_cli(plain).resolved_config()
    changed = make_cli([*other, "--seed", "3", "--model.init_args.noise_density", "0.3"]).resolved_config()
    assert train_in_process([*plain, "--data.windw", "3"]) == 2
    assert make_cli(plain).resolved_config() == before != changed
    monkeypatch.setattr("training.setup.cli._PARSERS", {})
    assert make_cli(plain).resolved_config() == before


def test_one_budget_on_the_command_line_takes_the_others_back() -> None:
    assert one_budget(["--budget.steps", "5"])[2:] == [
        *("--budget.raw_tokens=null", "--budget.flops=null", "--budget.target_tokens=null"),
        *("--budget.epochs=null", "--budget.minutes=null"),
    ]
    assert one_budget(["--seed", "5"]) == ["--seed", "5"]
    both = ["--budget.steps=5", "--budget.minutes=1"]
    assert one_budget(both) == both


OTHER_SCRIPTS = ("tasks", "comparisons", "sweeps")  # configs of finetune.py, of compare.py and of W&B
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name not in OTHER_SCRIPTS)


def config_line(path: Path) -> list[str]:
    """A command line that a shipped config is part of."""
    objective = [] if "model" in yaml.safe_load(path.read_text(encoding="utf-8")) else ["configs/causal_lm.yaml"]
    return [argument for config in (*objective, path) for argument in ("--config", str(ROOT / config))]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_config_is_valid_and_its_windows_fit(path: Path) -> None:
    cli = make_cli([*config_line(path), *UNMEASURED])
    module: Any = cli.model
    module.check_window(cli.datamodule.window)
    assert cli.datamodule.micro_batches(1) >= 1
    assert cli.datamodule.batch_size % 8 == 0  # it shares out to eight devices


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_config_begins_with_what_it_is_and_its_command(path: Path) -> None:
    header = [line for line in path.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if line.startswith("#")]
    assert any("python train.py" in line for line in header)


def test_presets_on_the_command_line_are_those_of_the_models(tiny_run: Command) -> None:
    for preset in PRESETS:
        cli = make_cli(tiny_run("masked_lm", "preset", "--body.preset", preset))
        assert cli.config_init["body"].preset == preset


def test_the_defaults_of_settings_are_those_of_signatures_and_not_of_configs(tiny_run: Command) -> None:
    """Of every setting that config.yaml holds, as it holds them; so what a config does not set is its default."""
    cli = make_cli(tiny_run("masked_lm", "of_signatures", "--model.init_args.unit", "word"))
    config = cli.resolved_config()
    defaults = cli.setting_defaults(config)
    changed = changed_settings({}, config, defaults)
    assert changed["model.init_args.unit"] == ("token", "word")
    assert changed["optimizer.learning_rate"][0] == 1e-3  # the signature's, where base.yaml has another
    assert not {"optimizer.betas", "checkpoints.at_steps", "data.encoding", "model.init_args.z_loss"} & changed.keys()
    assert dict(flat(config)).keys() <= {*dict(flat(defaults)), "model.class_path"}


def test_the_seed_decides_first_weights_dropout_and_the_order_of_the_windows(tiny_run: Command) -> None:
    cli = make_cli(tiny_run("masked_lm", "seeded", "--seed", "41"))
    assert (cli.model.seed, cli.datamodule.seed) == (41, 41)
