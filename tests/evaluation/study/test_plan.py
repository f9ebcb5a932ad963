"""A plan: sizes and costs that hold for the runs, and comparisons that are refused before anything is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.study.checks import check_arms
from evaluation.study.plan import ADAPTER, Plan, make_plan
from evaluation.study.study import Arm, Hypothesis, Study
from models.transformer.accounting import count_parameters
from tests.helpers import ROOT, TINY, make_cli, write_jsonl
from training.setup.settings import Precision
from training.step.budget import Budget

DEFAULTS = ROOT / "configs/base.yaml"
Declared = Callable[..., Study]
Planned = Callable[..., Plan]


def config(objective: str) -> tuple[str, ...]:
    return (str(ROOT / f"configs/{objective}.yaml"),)


def tiny_settings(corpus_file: Path, cache: Path) -> dict[str, str]:
    """What tiny runs share, as a study declares it."""
    named = dict(zip([name.removeprefix("--") for name in TINY[::2]], TINY[1::2], strict=True))
    return {**named, "data.corpus": str(corpus_file), "data.cache": str(cache)}


@pytest.fixture
def declared(corpus_file: Path, cache: Path, store: Path) -> Declared:
    """A study over the made-up corpus: `declared(arms, more settings, shared=...)`."""

    def declare(arms: dict[str, Arm], *, shared: dict[str, str] | None = None, **more: Any) -> Study:
        settings = {**tiny_settings(corpus_file, cache), **(shared or {})}
        return Study(
            arms=arms,
            shared=Arm(settings=settings),
            **{"seeds": (0,), "budget": Budget(raw_tokens=10_000), **more},
        )

    return declare


@pytest.fixture
def planned(declared: Declared) -> Planned:
    """The plan of a study that is declared so."""

    def plan(arms: dict[str, Arm], **more: Any) -> Plan:
        return make_plan(declared(arms, **more), DEFAULTS)

    return plan


def test_a_plan_holds_what_the_runs_come_to(planned: Planned, tiny_run: Callable[..., list[str]]) -> None:
    arms = {name: Arm(config=config(name)) for name in ("masked_lm", "causal_lm", "denoising")}
    plan = planned(arms)
    for name, arm in plan.arms.items():
        objective: Any = make_cli(tiny_run(name, "sizes")).model
        objective.build(vocab_size=480, window=32)
        assert arm.parameters == sum(parameter.numel() for parameter in objective.parameters())
        assert arm.non_embedding == count_parameters(objective, embeddings=False)
        assert arm.total_steps == -(-10_000 // arm.cost.raw_tokens)
        assert sum(arm.layers) == 2
    assert plan.arms["causal_lm"].cost.target_tokens == pytest.approx(plan.arms["causal_lm"].cost.raw_tokens, rel=0.02)
    assert plan.arms["masked_lm"].active == plan.arms["masked_lm"].non_embedding
    assert plan.arms["denoising"].active < plan.arms["denoising"].non_embedding
    assert plan.text.vocab_size == 480
    assert ADAPTER.validate_json(ADAPTER.dump_json(plan)) == plan


def test_every_measure_is_turned_into_steps_by_the_arms_own_costs(planned: Planned) -> None:
    arms = {name: Arm(config=config(name)) for name in ("masked_lm", "causal_lm")}
    for measure, amount in {"flops": 1e9, "target_tokens": 3_000}.items():
        plan = planned(arms, budget=Budget(**{measure: amount}))
        for arm in plan.arms.values():
            assert arm.total_steps == -(-amount // getattr(arm.cost, measure))
        assert plan.arms["masked_lm"].total_steps != plan.arms["causal_lm"].total_steps
    assert planned({"causal_lm": arms["causal_lm"]}, budget=Budget(minutes=1)).arms["causal_lm"].total_steps is None


def masked(**settings: str) -> Arm:
    return Arm(
        config=config("masked_lm"), settings={name.replace("__", "."): value for name, value in settings.items()}
    )


CAUSAL = Arm(config=config("causal_lm"))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (masked(data__corpus="embedded"), "differ in data.corpus: .* and embedded"),
        (masked(data__windows="within_document"), "differ in data.windows: contiguous and within_document"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (masked(data__tokenizer="wordpiece"), "differ in data.tokenizer: byte_bpe and wordpiece"),
                (masked(data__vocab_size="500"), "differ in data.vocab_size: 480 and 500"),
                (masked(data__window="16"), "differ in data.window: 32 and 16"),
            )
        ),
    ],
)
def test_two_texts_in_one_study_are_refused(planned: Planned, other: Arm, expected: str) -> None:
    with pytest.raises(ValueError, match=f"arms 'causal' and 'other' {expected}"):
        planned({"causal": CAUSAL, "other": other})


def test_a_batch_size_is_an_arms_own_matter(planned: Planned) -> None:
    plan = planned({"causal": CAUSAL, "other": masked(data__batch_size="4")})
    assert [arm.batch_size for arm in plan.arms.values()] == [8, 4]


def ranked_by_loss(one: str, other: str) -> dict[str, Any]:
    return {"hypotheses": (Hypothesis(arm=one, against=other, metric="validation_loss", direction="less"),)}


def test_a_loss_is_no_hypothesis_across_objectives(planned: Planned) -> None:
    arms = {"masked": masked(), "causal": CAUSAL, "denser": masked(model__init_args__noise_density="0.4")}
    for other in ("causal", "denser"):
        two = {label: arms[label] for label in ("masked", other)}
        with pytest.raises(ValueError, match=f"'masked - {other} on validation_loss: less' ranks losses of two"):
            planned(two, **ranked_by_loss("masked", other))


def test_a_loss_may_rank_arms_that_predict_the_same(declared: Declared) -> None:
    arms = {"masked": masked(), "wide": masked(body__width="64")}
    assert check_arms(declared(arms, **ranked_by_loss("masked", "wide")), DEFAULTS).keys() == arms.keys()


def test_an_arm_that_train_would_refuse_is_refused_by_name(planned: Planned) -> None:
    with pytest.raises(ValueError, match=r"arm 'masked': .*widht.*did you mean 'body.width'"):
        planned({"masked": masked(body__widht="64")})
    with pytest.raises(ValueError, match=r"arm 'masked': body.layers = \[1, 1\], but this objective needs"):
        planned({"masked": masked(body__layers="[1, 1]")})


def test_next_sentence_prediction_is_refused_on_a_text_without_sentence_pairs(
    planned: Planned, tmp_path: Path, cache: Path
) -> None:
    words = ["cat", "dog", "bird", "house", "tree", "river"]
    texts = [f"the {one} sees a {other} and then {third}" for one in words for other in words for third in words]
    corpus = write_jsonl(tmp_path / "lines.jsonl", texts)
    shared = {"data.corpus": str(corpus), "data.validation_fraction": "0.2", "data.vocab_size": "430"}
    with pytest.raises(ValueError, match="arm 'masked': next-sentence prediction needs two documents of several"):
        planned({"causal": CAUSAL, "masked": masked()}, shared=shared)


WSD = {"optimizer.schedule": "wsd", "optimizer.warmup": "3", "optimizer.decay": "0.25"}


def test_a_branch_is_where_the_shorter_run_begins_to_decay(planned: Planned) -> None:
    arm = planned({"causal": CAUSAL}, shared=WSD, branches=("2.5k", 5_000)).arms["causal"]
    per_step = arm.cost.raw_tokens
    assert [branch.total_steps for branch in arm.branches] == [-(-2_500 // per_step), -(-5_000 // per_step)]
    assert [branch.step for branch in arm.branches] == [int(0.75 * branch.total_steps) for branch in arm.branches]


@pytest.mark.parametrize("change", [{"optimizer.schedule": "cosine"}, {"optimizer.warmup": "0.1"}])
def test_a_run_that_passes_through_no_shorter_one_cannot_branch(planned: Planned, change: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match=r"arm 'causal' cannot branch off to 5k raw_tokens: .* optimizer\.schedule = wsd and"
    ):
        planned({"causal": CAUSAL}, shared={**WSD, **change}, branches=("5k",))


def test_auto_precision_is_measured_once_for_all_arms_or_is_that_of_runs_there_are(
    declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([{"32-true": 1.0, "bf16-mixed": 2.0}, {"32-true": 2.0, "bf16-mixed": 1.0}])
    monkeypatch.setattr("training.setup.precision.measured_rates", lambda products, accelerator: next(found))
    arms = {
        "named": Arm(config=config("masked_lm"), settings={"trainer.precision": "64-true"}),
        "first": Arm(config=config("masked_lm"), settings={"trainer.precision": "auto"}),
        "second": Arm(config=config("causal_lm"), settings={"trainer.precision": "auto"}),
    }

    def precisions(**earlier: Precision) -> list[str]:
        clis = check_arms(declared(arms), DEFAULTS, earlier)
        return [cli.resolved_config()["trainer"]["precision"] for cli in clis.values()]

    assert precisions() == ["64-true", "bf16-mixed", "bf16-mixed"]
    assert precisions(second="32-true", named="64-true") == ["64-true", "32-true", "32-true"]
    assert precisions(named="64-true") == ["64-true", "32-true", "32-true"]  # which `auto` does not follow


def test_a_mistake_of_ours_in_an_arm_is_not_the_users(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("of a line of ours")

    monkeypatch.setattr("objectives.core.pretraining.Pretraining.check_window", fails)
    with pytest.raises(ValueError, match=r"^of a line of ours$"):
        planned({"causal": CAUSAL})
