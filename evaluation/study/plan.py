"""What a study comes to before anything is trained: sizes and costs of its arms, and whether they may be compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.utilities import rank_zero_info
from pydantic import TypeAdapter

from common.errors import UserError
from data.datamodule import DataModule
from data.store.store import read_manifest
from evaluation.record.record import TextRecord
from evaluation.study.checks import check_arms, question_of
from evaluation.study.study import Study
from evaluation.study.timing import seconds_of_a_step
from models.transformer.accounting import count_parameters
from objectives.core.pretraining import Pretraining
from training.optimizers.optim import OptimizerConfig, learning_rate_factor
from training.setup.cli import RunCLI
from training.setup.settings import LoggingSettings, Precision
from training.step.budget import Budget, StepCost, quantity
from training.storage.config_file import flat


@dataclass(frozen=True, kw_only=True)
class BranchPlan:
    """A smaller budget, and the step at which a run of the whole one is left for it."""

    amount: float
    step: int
    total_steps: int


@dataclass(frozen=True, kw_only=True)
class ArmPlan:
    """What every run of an arm comes to.

    Attributes:
        objective: the dotted path of its class.
        question: settings of the objective, which decide what its validation loss is over.
        settings: the others that may differ between arms, by their dotted names.
        config: every setting, as the run of the first seed has it.
        defaults: of these settings, nested or under dotted names.
        layers: blocks of encoder and decoder.
        parameters, non_embedding, active: all; those beside the token and position tables; those of the blocks and
            the head that a position goes through, on the average over the positions of both stacks.
        beside: of the parameters, those that each body beside the main one alone has, by its role.
        batch_size: windows a step.
        cost: of a step.
        total_steps, tuning_steps: of a run and of one of the sweep; None where a clock decides.
        branches: in the order declared.
        devices: that a run has.
        seconds_per_step: of a few real steps here; None where they were not measured.
    """

    objective: str
    question: dict[str, Any]
    settings: dict[str, Any]
    config: dict[str, Any]
    defaults: dict[str, Any]
    layers: tuple[int, int]
    parameters: int
    non_embedding: int
    active: int
    batch_size: int
    cost: StepCost
    beside: dict[str, int] = field(default_factory=dict)
    total_steps: int | None
    tuning_steps: int | None = None
    branches: tuple[BranchPlan, ...] = ()
    devices: int = 1
    seconds_per_step: float | None = None

    @property
    def seconds(self) -> float | None:
        """Of a whole run, by the steps that were measured."""
        return (
            None if self.total_steps is None or not self.seconds_per_step else self.total_steps * self.seconds_per_step
        )

    @property
    def flops(self) -> float | None:
        """Of a whole run."""
        return None if self.total_steps is None else self.total_steps * self.cost.flops


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study that may be trained.

    Attributes:
        fingerprint: of the declaration that it was made for.
        text: what every arm reads.
        data: hashes of the token store's files.
        logging: of the first arm's runs, by which the study is logged as well.
        arms: by label.
    """

    fingerprint: str
    text: TextRecord
    data: dict[str, str]
    logging: LoggingSettings
    arms: dict[str, ArmPlan]


ADAPTER = TypeAdapter(Plan)


def _branches(
    study: Study, label: str, optimizer: OptimizerConfig, cost: StepCost, total: int | None
) -> Iterator[BranchPlan]:
    """Raises UserError where a run of the whole budget does not pass through what shorter ones would have been."""
    for declared in study.branches:
        assert total is not None
        amount = quantity(declared, "branches")
        steps = Budget(**{study.measure: amount}).total_steps(cost)
        assert steps is not None
        step = int(steps * (1 - optimizer.decay))
        factors = ((learning_rate_factor(optimizer, at, length) for length in (steps, total)) for at in range(step))
        if optimizer.schedule != "wsd" or step < 1 or any(short != whole for short, whole in factors):
            raise UserError(
                f"arm '{label}' cannot branch off to {declared} {study.measure}: a run of {steps:,} steps has not the "
                f"learning rates of one of {total:,}. It takes optimizer.schedule = wsd and a warmup in steps, below "
                f"{step:,}"
            )
        yield BranchPlan(amount=amount, step=step, total_steps=steps)


def _arm(study: Study, label: str, cli: RunCLI, config: dict[str, Any]) -> ArmPlan:
    """Sizes and costs of an arm, whose data are open.

    Raises:
        UserError: naming the arm, where its objective cannot read this text.
    """
    module, data, trainer = cast(Pretraining, cli.model), cast(DataModule, cli.datamodule), cli.trainer
    try:
        module.check_window(data.window)
        module.objective.check_vocabulary(data.vocabulary)
        module.objective.check_data(data.training_windows)
        network = module.build(vocab_size=data.vocabulary.size, window=data.window)
    except UserError as error:
        raise UserError(f"arm '{label}': {error}") from None
    cast(Any, trainer).datamodule, module.trainer = data, trainer
    cost, tuned = module.step_cost(), Budget(**{study.measure: study.amount * study.tuning_share})
    total = module.budget.total_steps(cost)
    sizes = [0 if stack is None else count_parameters(stack, embeddings=False) for stack in network.body.stacks]
    lengths = module.mean_lengths[:2]
    non_embedding = count_parameters(network, embeddings=False, without=network.frozen)
    through = sum(size * length for size, length in zip(sizes, lengths, strict=True)) / sum(lengths)
    of_one_arm = {key: value for key, value in flat(config) if key.split(".")[0] in ("body", "optimizer")}
    return ArmPlan(
        objective=config["model"]["class_path"],
        question=question_of(config),
        settings={**of_one_arm, "data.batch_size": data.batch_size, "precision": config["trainer"]["precision"]},
        config=config,
        defaults=cli.setting_defaults(config),
        layers=module.num_blocks,
        parameters=count_parameters(network, without=network.frozen),
        non_embedding=non_embedding,
        active=round(non_embedding - sum(sizes) + through),
        batch_size=data.batch_size,
        cost=cost,
        beside=network.parameters_beside(),
        total_steps=total,
        tuning_steps=tuned.total_steps(cost) if study.learning_rates else None,
        branches=tuple(_branches(study, label, module.optimizer_config, cost, total)),
        devices=config["trainer"]["devices"] if isinstance(config["trainer"]["devices"], int) else 1,
        seconds_per_step=seconds_of_a_step(
            module, data, device=trainer.strategy.root_device, precision=config["trainer"]["precision"]
        ),
    )


def text_record(
    counts: Mapping[str, Any], settings: Mapping[str, Any], *, vocab_size: int, references: Mapping[str, float]
) -> TextRecord:
    """What every arm reads.

    Args:
        counts: of the token store, as its manifest and a run's folder have them.
        settings: `data` of a run's config.
        vocab_size: of the tokenizer.
        references: `ln_vocabulary` and `unigram_entropy`.
    """
    corpus = settings["corpus"]
    return TextRecord(
        corpus=corpus if isinstance(corpus, str) else ", ".join(corpus),
        train_tokens=counts["train"]["tokens"],
        validation_tokens=counts["validation"]["tokens"],
        train_bytes=counts["train"]["bytes"],
        documents=counts["train"]["documents"],
        tokenizer=str(settings["tokenizer"]),
        vocab_size=vocab_size,
        window=settings["window"],
        ln_vocabulary=references["ln_vocabulary"],
        unigram_entropy=references["unigram_entropy"],
    )


def make_plan(study: Study, defaults: Path, earlier: Mapping[str, Precision] | None = None) -> Plan:
    """Builds the token store where it is missing, and measures every arm on it.

    Args:
        study: which arms.
        defaults: configuration that lies under every other.
        earlier: the precision of the runs that an arm has already.

    Raises:
        UserError: where the arms may not be compared, or one of them cannot be trained.
    """
    clis = check_arms(study, defaults, earlier)
    arms, text, hashes = {}, None, {}
    for label, cli in clis.items():
        data, config = cast(DataModule, cli.datamodule), cli.resolved_config()
        if text is None:
            rank_zero_info(f"[study] the text of {label} and of all other arms")
            data.prepare_data()
        data.open()
        arms[label] = _arm(study, label, cli, config)
        if text is None:
            assert data.folder is not None
            assert data.folder is not None
            manifest, references = read_manifest(data.folder), cast(Pretraining, cli.model).references()
            text = text_record(manifest, config["data"], vocab_size=data.vocabulary.size, references=references)
            hashes = data.describe()["sha256"]
        del cli.model  # its weights are no longer needed
    assert text is not None
    logging: LoggingSettings = next(iter(clis.values())).config_init["logging"]
    return Plan(fingerprint=study.fingerprint(defaults), text=text, data=hashes, logging=logging, arms=arms)
