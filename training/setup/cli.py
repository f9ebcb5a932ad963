"""From a command line to a run: LightningCLI with the groups of settings that a run has, and with its own messages."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from common.ranges import SEED, check_name, check_ranges
from training.machine.ranks import agreed
from training.machine.threads import set_threads, usual
from training.setup.body_kind import chosen_body, flags_of_others
from training.setup.command_line import text_of_script
from training.setup.parsing import one_budget, setting_defaults
from training.setup.precision import Product, computed_in, products_of, taken, to_compile
from training.setup.run_parser import Parser
from training.setup.settings import GROUPS, Precision, TrainerSettings
from training.setup.trainer import check_strategy, make_trainer, resolved
from training.step.compilation import HELP
from training.step.kernels import Kernels, of_run
from training.step.micro import FoundSizes, at_once
from training.step.module import ExactModule
from training.storage.branch import ParentRun
from training.storage.old_names import resolved_settings
from training.storage.run_dir import RunFolder
from training.storage.yaml_text import load

_PARSERS: dict[tuple[Any, ...], Parser] = {}  # of this process, by all that one is made of


def _agreed(name: str, decide: Callable[[], str], settings: TrainerSettings) -> str:
    return agreed(name, decide, devices=cast(int, settings.devices), num_nodes=settings.num_nodes)


class RunCLI(LightningCLI):
    """Parses, checks and builds objective, data and Trainer; nothing is read or written yet.

    Args:
        objective: class whose subclasses `model` may name.
        module: makes the LightningModule from an objective and from body, optimizer, budget and seed.
        data: class of `data`.
        body: class of `body`, which is given to the objective, or a union of such classes.
        defaults: configuration that lies under every other.
        arguments: the command line, without the program's name.
        only_data: builds the data alone, and needs no objective.
        settle: completes the settings by what other settings imply, and returns a line on that for the user.
        precision: what `trainer.precision = auto` is, where another run of the same study has decided it.

    Attributes:
        threads: that a process of the run computes with.
        measured: floating-point operations a second in each precision that `auto` chose among; none where it did not.
    """

    job_type = "pretrain"  # what W&B calls it
    parser_of_runs: type[Parser] = Parser

    def __init__(
        self,
        objective: type,
        data: type[LightningDataModule],
        body: Any,
        module: Callable[..., ExactModule] | None = None,
        *,
        defaults: Path,
        arguments: Sequence[str],
        only_data: bool = False,
        settle: Callable[[Namespace], str | None] | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.objective, self.module, self.bodies = objective, module, body
        self.body = chosen_body(body, arguments)
        # Only a config that is named is read without settings of other bodies, so the defaults are named as well.
        is_default = not get_args(body) or self.body is get_args(body)[0]
        before = [] if is_default else ["--config", str(defaults)]
        below = [str(defaults)] if is_default else []
        of_body = {
            "bodies": (body, self.body),
            "other_flags": (*self.parser_of_runs.other_flags, *flags_of_others(body, self.body)),
            "describes_script": is_default,  # any command may be answered with its --help
        }
        parser_of_runs = type("ParserOfBody", (self.parser_of_runs,), of_body)
        self.only_data, self.settle, self.precision = only_data, settle, precision
        self.measured: dict[Precision, float] = {}
        super().__init__(
            ExactModule,
            data,
            subclass_mode_model=True,
            save_config_callback=None,
            parser_class=parser_of_runs,
            parser_kwargs={
                "description": text_of_script(),
                "default_config_files": below,
                "allow_abbrev": False,
            },
            args=[*before, *one_budget(arguments)],
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def setup_parser(
        self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, Any]
    ) -> None:
        """One parser serves every command line of a kind in this process, since a study reads one for each arm."""
        classes = (type(self), self.objective, self.datamodule_class, self.bodies, self.body)
        kind = (*classes, self.only_data, json.dumps(main_kwargs))
        if kind not in _PARSERS:
            super().setup_parser(add_subcommands, main_kwargs, subparser_kwargs)
            _PARSERS[kind] = cast(Parser, self.parser)
        self.parser = _PARSERS[kind]

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str | None, default=None, help="name of the run and of its folder")
        parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
        parser.add_argument(
            "--resume",
            type=Literal["auto", "never"],
            default="auto",
            help="`auto` goes on where the run of that name stopped; `never` sets it aside and starts over",
        )
        parser.add_argument(
            "--branch_from",
            type=Path | None,
            default=None,
            help="checkpoint of another run, which differs in its budget alone, to go on from",
        )
        parser.add_argument("--seed", type=int, default=0, help="decides weights, order, noise and dropout")
        parser.add_argument("--compile", type=bool | Literal["auto"], default=False, help=HELP)
        parser.add_argument(
            "--gradient_checkpointing", type=bool, default=False, help="computes Blocks twice, to save memory"
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        cast(Parser, parser).objective = self.objective
        parser.add_subclass_arguments(self.objective, "model", required=not self.only_data)
        parser.add_lightning_class_args(self._datamodule_class, "data")
        parser.add_class_arguments(self.body, "body")
        for name, settings in GROUPS.items():
            parser.add_class_arguments(settings, name)
        parser.link_arguments("body.document_masking", "model.init_args.keep_documents_apart")
        parser.link_arguments("seed", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)
        check_ranges("", {"seed": SEED}, {"seed": self.config.seed})
        if self.settle and (message := self.settle(self.config)):
            rank_zero_info(message)

    def _set_seed(self) -> None:
        """Nothing draws from the global generators: everything random has its own, and dropout is seeded anew."""

    def instantiate_classes(self) -> None:
        """Builds everything; LightningCLI's own way is by a method that jsonargparse gives up."""
        self.config_init = self.parser.instantiate(self.config)
        self.datamodule = self.config_init["data"]
        if not self.only_data:
            assert self.module is not None
            settings = {name: self.config_init[name] for name in ("body", "optimizer", "budget", "seed")}
            self.model = self.module(self.config_init["model"], **settings)
            self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        settings = resolved(self.config_init["trainer"])
        self.threads = self._set_threads(settings)
        precision = self._auto_precision(settings) if settings.precision == "auto" else settings.precision
        self.trainer_settings = replace(settings, precision=precision)
        self.compiles: bool = self._auto_compile() if self.config.compile == "auto" else self.config.compile
        optimizer, micro_batch_size = self.config.optimizer, self.config.data.micro_batch_size
        check_strategy(self.trainer_settings, optimizer.name, optimizer.ema_decay, micro_batch_size)
        self.kernels = self.model.kernels = self._choose_kernels(self.trainer_settings)
        self.model.sizes = self._found_sizes(self.trainer_settings) if micro_batch_size == "auto" else None
        return make_trainer(self.trainer_settings, self.folder, repeats_steps=self.model.sizes is not None)

    def products(self) -> Counter[Product]:
        """The matrix products of a micro-batch; the vocabulary is of the size that the settings name."""
        data, module = self.config.data, cast(Any, self.model)
        rows = at_once(data.micro_batch_size, data.batch_size) * data.window
        return products_of(module.blank_network(data.vocab_size), rows=rows, vocab_size=data.vocab_size)

    def _earlier(self) -> RunFolder | None:
        """The run that this one goes on with, or branches from."""
        run = RunFolder(self.folder)
        if self.config.resume == "auto" and run.is_run and run.has_started:
            return run
        return None if self.config.branch_from is None else ParentRun(self.config.branch_from).folder

    def _set_threads(self, settings: TrainerSettings) -> int:
        """As many as the run began with, which one that did not note them had by default; else what is free."""
        run, devices = self._earlier(), cast(int, settings.devices)
        earlier = None if run is None else run.read_info().get("threads", usual())
        threads = int(_agreed("threads", lambda: str(set_threads(earlier, processes=devices)), settings))
        torch.set_num_threads(threads)
        return threads

    def _auto_precision(self, settings: TrainerSettings) -> Precision:
        """What the run, or the one that it branches from, began with; else what another decided, or what is faster."""

        def decide() -> str:
            if (run := self._earlier()) is not None:
                return run.read_config()["trainer"]["precision"]
            return self.precision or taken(settings.accelerator, self.products, self.measured)

        return cast(Precision, _agreed("precision", decide, settings))

    def _auto_compile(self) -> bool:
        """As the run, or the one that it branches from, began; else where it pays."""
        kept = None if (run := self._earlier()) is None else run.read_config()["compile"] is True
        settings, run, layers = self.trainer_settings, vars(self.config_init), self.model.compiled_layers
        decide = partial(to_compile, kept, settings, run, self.products, self.measured, layers)
        return _agreed("compile", decide, settings) == "True"

    def _choose_kernels(self, settings: TrainerSettings) -> Kernels:
        """What the run, or the one that it branches from, began with, or what is faster, unless a setting names it."""
        run, where = self._earlier(), (torch.device(settings.accelerator), computed_in(settings.precision))
        seconds = partial(self.model.attention_seconds, *where, self.config.data)
        decide = partial(of_run, None if run is None else run.read_info(), seconds, *where)
        return Kernels.from_json(_agreed("kernels", decide, settings)).with_attention(settings.attention)

    def _found_sizes(self, settings: TrainerSettings) -> FoundSizes:
        """The micro-batches that the run, or the one that it branches from, found to fit."""
        run = self._earlier()
        found = FoundSizes.of({} if run is None else run.read_info())
        return FoundSizes.of(json.loads(_agreed("micro_batch_sizes", found.to_json, settings)))

    def resolved_config(self) -> dict[str, Any]:
        """Every setting, as `config.yaml` keeps it: precision is the one decided here, devices are not."""
        # Parsing has validated them, which takes longer than to write them.
        config = load(self.parser.dump(self.config, skip_unset=False, skip_validation=True, format="yaml"))
        config["trainer"]["precision"], config["compile"] = self.trainer_settings.precision, self.compiles
        if self.trainer_settings.accelerator == "cuda":  # elsewhere there is one kernel
            config["trainer"]["attention"] = self.kernels.attention
        return resolved_settings(config)

    def setting_defaults(self, config: dict[str, Any]) -> dict[str, Any]:
        """The default of each of these settings: what a run that was made before there was one had."""
        return setting_defaults(self.parser, config)

    @property
    def tags(self) -> list[str]:
        """What W&B finds this run by, beside its `logging.tags`."""
        return [self.objective_name, self.config.body.get("preset") or self.config.body.kind]

    @property
    def objective_name(self) -> str:
        """The name of the file that the objective stands in, such as `masked_lm`."""
        return self.config.model.class_path.rsplit(".", 2)[-2]

    @property
    def begins_with(self) -> Path | None:
        """The run or checkpoint whose weights this run begins with, where it does."""
        where = self.config.branch_from or self.config.get("model.init_args.init_from")
        return None if where is None else Path(where)

    @property
    def folder(self) -> Path:
        """The run's folder: `--name`, or the objective's module and the seed; a trial of a sweep has W&B's id too."""
        given = self.config.name
        name = given if given is not None else f"{self.objective_name}-s{self.config.seed}"
        if "WANDB_SWEEP_ID" in os.environ and (trial := os.environ.get("WANDB_RUN_ID")):
            name = name if name.endswith(f"-{trial}") else f"{name}-{trial}"
        check_name("name", name, "the folder of the run lies in --runs")
        return self.config.runs / name
