"""A study as it is declared: arms, seeds, one budget, evaluations and hypotheses, read from one YAML file.

    arms:
      masked_lm: configs/masked_lm.yaml
      causal_lm: configs/causal_lm.yaml
      causal_lm at twice the depth: {config: configs/causal_lm.yaml, settings: {body.layers: 8}}
    seeds: [0, 1, 2]
    budget: {raw_tokens: 1M}

Nothing here reads a corpus or makes a model.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from common.errors import UserError
from common.ranges import LEARNING_RATE, SEED, Range, check_ranges
from evaluation.record.kinds import MEASURES, Direction, Measure
from training.script.messages import nearest
from training.step.budget import Budget, quantity

VALIDATION_LOSS = "validation_loss"  # of each objective's own question (law 7)

_LABEL = re.compile(r"\w[\w .+=,-]*")
OF_THE_STUDY = {  # settings of a run that its arm does not choose
    "budget": "declare it once, under budget",
    "seed": "declare seeds, for all arms alike",
    "name": "a run is named by its arm and its seed",
    "runs": "runs lie in the study's folder",
    "resume": "a study always goes on",
    "branch_from": "declare branches",
}


RANGES = {
    "seeds": SEED,
    "tuning_seeds": SEED,
    "learning_rates": LEARNING_RATE,
    "tuning_share": Range(0, 1, low_open=True),
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What is trained under one label.

    Args:
        config: files, each as after a --config of train.py.
        settings: settings beside them, as after their names on the command line, such as body.layers: "[4, 4]".
    """

    config: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """What is expected, declared before anything is trained: that `arm` minus `against` is so on `metric`.

    Args:
        arm, against: labels.
        metric: of an evaluation, such as continuation.
        direction: of the difference; `equivalent` is within the margin.
        margin: in the metric's units; greater and less have 0.
    """

    arm: str
    against: str
    metric: str
    direction: Direction
    margin: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(f"hypotheses, '{self}': ", {"margin": Range(0, 1e9)}, vars(self))
        if (self.direction == "equivalent") != (self.margin > 0):
            raise UserError(
                f"hypotheses: margin = {self.margin:g} of '{self}': equivalent needs one above 0, in the units of "
                f"{self.metric}, and greater and less have none"
            )
        if self.arm == self.against:
            raise UserError(f"hypotheses: '{self}' compares an arm with itself")

    def __str__(self) -> str:
        return f"{self.arm} - {self.against} on {self.metric}: {self.direction}"


def amounts(budget: Mapping[str, str | float | None]) -> dict[str, float]:
    """A budget in numbers, whichever way they are written: those of its measures that are set."""
    return {name: quantity(value, f"budget.{name}") for name, value in budget.items() if value is not None}


def _repeated(values: Sequence[Any]) -> list[Any]:
    return sorted({value for value in values if values.count(value) > 1})


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared.

    Args:
        question: that it is to answer, in a sentence or two.
        arms: configs, or configs and settings, by label.
        seeds: of the runs of every arm; one seed gives the same windows in the same order to all.
        budget: how long every run lasts, by one measure: raw_tokens, flops, target_tokens or minutes.
        shared: configs and settings for all arms, between each arm's configs and its settings.
        evaluations: settings of each, by its name.
        hypotheses: what is expected, declared beforehand.
        learning_rates: each arm is tuned over these, and then runs with the one that was best for it.
        tuning_seeds: seeds of the tuning, which are not used again.
        tuning_share: budget of a tuning run, as a share of the budget.
        branches: smaller budgets of the same measure, to which every run branches off (optimizer.schedule wsd).

    Raises:
        UserError: where the declaration contradicts itself.
    """

    arms: dict[str, Arm]
    seeds: tuple[int, ...]
    budget: Budget
    question: str = ""
    shared: Arm = Arm()
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    hypotheses: tuple[Hypothesis, ...] = ()
    learning_rates: tuple[float, ...] = ()
    tuning_seeds: tuple[int, ...] = ()
    tuning_share: float = 0.25
    branches: tuple[str | float, ...] = ()

    def __post_init__(self) -> None:
        self._check_arms()
        self._check_budget()
        self._check_seeds()
        for hypothesis in self.hypotheses:
            for label in (hypothesis.arm, hypothesis.against):
                if label not in self.arms:
                    near = nearest(label, self.arms) or ", ".join(self.arms)
                    raise UserError(f"hypotheses: '{hypothesis}' names the arm '{label}', which is not there: {near}?")
            metrics = [*self.evaluations, VALIDATION_LOSS]
            if hypothesis.metric.split("/")[0] not in metrics:
                raise UserError(
                    f"hypotheses: '{hypothesis}' needs the metric '{hypothesis.metric}', which no evaluation of this "
                    f"study measures; they are {', '.join(metrics)}"
                )

    def _check_arms(self) -> None:
        if not self.arms:
            raise UserError("arms: name at least one, such as {masked_lm: configs/masked_lm.yaml}")
        for label, arm in self.arms.items():
            if not _LABEL.fullmatch(label):
                raise UserError(
                    f"arms: '{label}' must be letters, digits, spaces and . , + = - _, for it names folders"
                )
            self._check_settings(f"arm '{label}'", arm.settings)
        self._check_settings("shared", self.shared.settings)
        names = [slug(label) for label in self.arms]
        if repeated := _repeated(names):
            raise UserError(f"arms: {len(names)} labels name {len(set(names))} folders ({', '.join(repeated)} twice)")

    def _check_settings(self, where: str, settings: dict[str, str]) -> None:
        for key, value in settings.items():
            if reason := OF_THE_STUDY.get(key.split(".")[0]):
                raise UserError(f"{where} sets {key} = {value}, which is the study's: {reason}")
            if self.learning_rates and key == "optimizer.learning_rate":
                raise UserError(f"{where} sets {key} = {value}, and learning_rates tunes it: drop one of the two")

    def _check_budget(self) -> None:
        measure = next(iter(amounts(asdict(self.budget))), None)
        if measure not in MEASURES:
            given = f"{measure} is no measure that arms have in common" if measure else "there is none"
            raise UserError(f"budget: {given}; set one of {', '.join(MEASURES)}")
        for branch in self.branches:
            if self.measure == "minutes":
                raise UserError("branches: a run whose budget is minutes has no branches; declare another measure")
            if quantity(branch, "branches") >= self.amount:
                raise UserError(f"branches: {branch} must be below the budget's {self.amount:g} {self.measure}")
        if repeated := _repeated([quantity(branch, "branches") for branch in self.branches]):
            raise UserError(f"branches: {repeated[0]:g} stands there twice")
        check_ranges("", RANGES, vars(self))

    def _check_seeds(self) -> None:
        for name, seeds in (("seeds", self.seeds), ("tuning_seeds", self.tuning_seeds)):
            if repeated := _repeated(seeds):
                raise UserError(f"{name} = {list(seeds)}: {repeated[0]} stands there twice, and a seed is one run")
        if not self.seeds:
            raise UserError("seeds: name at least one, such as [0]")
        if shared := sorted(set(self.seeds) & set(self.tuning_seeds)):
            raise UserError(f"tuning_seeds: {shared[0]} is also one of seeds; tune on seeds that are not used again")
        if bool(self.learning_rates) != bool(self.tuning_seeds):
            raise UserError("learning_rates and tuning_seeds belong together: set both, or neither")
        if len(self.learning_rates) in (1, 2) or _repeated(self.learning_rates):
            raise UserError(f"learning_rates = {list(self.learning_rates)}: name at least three different ones, for "
                             f"the best must not lie at an edge")  # fmt: skip

    @property
    def measure(self) -> Measure:
        """The budget's measure."""
        return cast(Measure, next(iter(amounts(asdict(self.budget)))))

    @property
    def amount(self) -> float:
        """The budget, in its measure."""
        return amounts(asdict(self.budget))[self.measure]

    def arguments(self, label: str) -> list[str]:
        """Of train.py, for every run of an arm; what comes later wins."""
        arm = self.arms[label]
        configs = [argument for path in (*arm.config, *self.shared.config) for argument in ("--config", path)]
        settings = {**self.shared.settings, **arm.settings}
        return [*configs, *(f"--{key}={value}" for key, value in settings.items())]

    def describe(self) -> dict[str, Any]:
        """The declaration, as JSON can hold it."""
        return json.loads(json.dumps(asdict(self)))

    def fingerprint(self, defaults: Path) -> str:
        """Changes with the declaration and with the text of every config that it names."""
        digest = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        named = [path for arm in (*self.arms.values(), self.shared) for path in arm.config]
        for path in [defaults, *map(Path, named)]:
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()


def tuning_name(label: str, rate: float, seed: int) -> str:
    """The name of an arm's run in the sweep over learning rates."""
    return f"{slug(label)}-lr{rate:g}-s{seed}"


def run_name(label: str, seed: int) -> str:
    """The name of an arm's run of the whole budget."""
    return f"{slug(label)}-s{seed}"


def slug(label: str) -> str:
    """A label as a folder's name has it."""
    return re.sub(r"[^\w.+=-]+", "-", label)
