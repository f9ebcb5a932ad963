"""A study's YAML: four arms are four lines, and whatever contradicts itself is refused in one."""

from pathlib import Path

import pytest

from evaluation.study.parse import parse
from evaluation.study.study import Arm, Hypothesis, Study
from tests.helpers import ROOT
from training.step.budget import Budget

MASKED, CAUSAL = (str(ROOT / f"configs/{name}.yaml") for name in ("masked_lm", "causal_lm"))
ARMS = f"arms: {{masked: {MASKED}, causal: {CAUSAL}}}\n"
WHOLE = f"{ARMS}seeds: [0, 1]\nbudget: {{raw_tokens: 1M}}\n"


def write(folder: Path, text: str) -> list[str]:
    """The command line of a study of that text."""
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return ["--config", str(path)]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of a study that is refused, in one line."""
    with pytest.raises((ValueError, SystemExit)) as left:
        parse(arguments)
    message = str(left.value) if isinstance(left.value, ValueError) else capsys.readouterr().err.strip()
    assert len(message.splitlines()) == 1
    return message


def test_an_arm_is_a_line(tmp_path: Path) -> None:
    study, options = parse(write(tmp_path, WHOLE))
    assert study == Study(
        arms={"masked": Arm(config=(MASKED,)), "causal": Arm(config=(CAUSAL,))},
        seeds=(0, 1),
        budget=Budget(raw_tokens="1M"),
    )
    assert (study.measure, study.amount) == ("raw_tokens", 1e6)
    assert (options.name, options.dry_run, options.studies) == ("study", False, Path("studies"))


def test_an_arm_has_configs_and_settings_and_shared_ones_stand_between_them(tmp_path: Path) -> None:
    text = (
        f"arms: {{2P: {{config: [{MASKED}], settings: {{body: {{layers: [4, 4]}}, logging.wandb: off}}}}}}\n"
        f"shared: {{config: {CAUSAL}, settings: {{body.width: 64, logging.wandb: online}}}}\n"
        "seeds: [3]\nbudget: {flops: 1e15}\n"
    )
    study, _ = parse(write(tmp_path, text))
    assert study.arguments("2P") == [
        *("--config", MASKED, "--config", CAUSAL),
        *("--body.width=64", "--logging.wandb=off", "--body.layers=[4, 4]"),
    ]


def test_the_command_line_wins_over_the_file_and_one_budget_over_another(tmp_path: Path) -> None:
    arguments = [*write(tmp_path, WHOLE), "--seeds", "[5]", "--budget.minutes", "2", "--name", "other", "--dry-run"]
    study, options = parse(arguments)
    assert study.seeds == (5,)
    assert (study.measure, study.amount) == ("minutes", 2)
    assert (options.name, options.dry_run) == ("other", True)


def test_arms_on_the_command_line_are_written_as_in_a_file(tmp_path: Path) -> None:
    shared = f"{{config: {CAUSAL}, settings: {{optimizer.warmup: 50, body: {{layers: [4, 4]}}}}}}"
    arms = f"{{one: {MASKED}, other: {{config: {CAUSAL}, settings: {{body.layers: 8}}}}}}"
    for given in (["--shared", shared, "--arms", arms], [f"--shared={shared}", f"--arms={arms}"]):
        study, _ = parse([*write(tmp_path, WHOLE), *given])
        settings = {"optimizer.warmup": "50", "body.layers": "[4, 4]"}
        assert study.shared == Arm(config=(CAUSAL,), settings=settings)
        assert study.arms == {
            "one": Arm(config=(MASKED,)),
            "other": Arm(config=(CAUSAL,), settings={"body.layers": "8"}),
        }
    for wrong, expected in (
        ("{config: no.yaml}", "shared: no config at 'no.yaml'"),
        ("{a: [}", "is no YAML"),
        ("{config: a, config: b}", "'config' stands twice"),
    ):
        with pytest.raises(ValueError, match=expected):
            parse([*write(tmp_path, WHOLE), "--shared", wrong])


def test_a_hypothesis_is_declared_with_its_direction_and_margin(tmp_path: Path) -> None:
    text = (
        f"{WHOLE}evaluations: [continuation]\n"
        "hypotheses:\n"
        "  - {arm: causal, against: masked, metric: continuation, direction: less}\n"
        "  - {arm: causal, against: masked, metric: continuation, direction: equivalent, margin: 0.1}\n"
    )
    study, _ = parse(write(tmp_path, text))
    assert study.evaluations == {"continuation": {}}
    assert study.hypotheses[1] == Hypothesis(
        arm="causal", against="masked", metric="continuation", direction="equivalent", margin=0.1
    )


def test_a_block_takes_up_another_as_yaml_has_it(tmp_path: Path) -> None:
    blocks = (
        "shared: &plain {settings: {body.layers: 2}}\n"
        f"arms:\n  deep: {{<<: *plain, config: {MASKED}}}\n  wide: {{config: {MASKED}, <<: *plain}}\n"
        "seeds: [0]\nbudget: {raw_tokens: 1M}\n"
    )
    arms = parse(write(tmp_path, blocks))[0].arms
    assert arms["deep"] == arms["wide"] == Arm(config=(MASKED,), settings={"body.layers": "2"})


HYPOTHESIS = "hypotheses: [{{arm: {}, against: causal, metric: {}, direction: {}}}]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seeds: [0]\nbudget: {raw_tokens: 1M}\n", "arms: one line each, LABEL: CONFIG"),
        (f"{WHOLE}seedz: [1]\n", "'seedz' is not accepted; did you mean 'seeds'?"),
        (f"{WHOLE}arms: {{a: {MASKED}}}\n", "'arms' stands twice in the block that begins in line 1"),
        (WHOLE.replace(MASKED, "nowhere.yaml"), "arm 'masked': no config at 'nowhere.yaml'"),
        (WHOLE.replace(MASKED, f"{{confg: {MASKED}}}"), "arm 'masked' has 'confg', which is not accepted; did you"),
        (WHOLE.replace("masked:", "../masked:"), "arms: '../masked' must be letters, digits"),
        (WHOLE.replace("[0, 1]", "[0, 0]"), "seeds = [0, 0]: 0 stands there twice"),
        (WHOLE.replace("[0, 1]", "[]"), "seeds: name at least one"),
        (WHOLE.replace("raw_tokens", "steps"), "steps is no measure that arms have in common; set one of raw_tokens"),
        (WHOLE.replace("raw_tokens: 1M", "raw_tokens: 1M, flops: 1e9"), "raw_tokens and flops are set; choose one"),
        (WHOLE.replace("{raw_tokens: 1M}", "{}"), "budget: there is none; set one of raw_tokens"),
        (WHOLE.replace("1M", "many"), "budget.raw_tokens = 'many' must be a number above 0"),
        (f"{WHOLE}tuning_seeds: [1]\nlearning_rates: [1e-3, 2e-3, 4e-3]\n", "tuning_seeds: 1 is also one of seeds"),
        (f"{WHOLE}tuning_seeds: [9]\n", "learning_rates and tuning_seeds belong together"),
        (f"{WHOLE}tuning_seeds: [9]\nlearning_rates: [1e-3, 2e-3]\n", "name at least three different ones"),
        (f"{WHOLE}branches: [2M]\n", "branches: 2M must be below the budget's 1e+06 raw_tokens"),
        (f"{WHOLE}branches: [0.5M, 500k]\n", "branches: 500000 stands there twice"),
        (WHOLE + HYPOTHESIS.format("maskd", "validation_loss", "less"), "the arm 'maskd', which is not there: masked?"),
        (WHOLE + HYPOTHESIS.format("masked", "blimp", "less"), "needs the metric 'blimp', which no evaluation"),
        (WHOLE + HYPOTHESIS.format("causal", "validation_loss", "less"), "compares an arm with itself"),
        (WHOLE + HYPOTHESIS.format("masked", "validation_loss", "equivalent"), "equivalent needs one above 0"),
        (WHOLE + HYPOTHESIS.format("masked", "validation_loss", "better"), "'better' is none of greater, less"),
        (WHOLE.replace(MASKED, f"{{config: {MASKED}, settings: {{budget.steps: 3}}}}"), "sets budget.steps = 3, which"),
        (WHOLE.replace(MASKED, f"{{config: {MASKED}, settings: {{seed: 3}}}}"), "sets seed = 3, which is the study's"),
        (WHOLE + "shared: {settings: {name: mine}}\n", "shared sets name = mine, which is the study's"),
        ("- a list\n", "Unexpected config: - a list"),
        (WHOLE + HYPOTHESIS.format("m", "x", "less").replace("arm:", "amr:"), "'amr' is not accepted; did you mean"),
        (f"{WHOLE}evaluations: 3\n", "evaluations = 3 must be names"),
        ("arms: {a: [\n", "while parsing"),
    ],
)  # fmt: skip
def test_a_study_that_contradicts_itself_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    assert expected in refused(write(tmp_path, text), capsys)


def test_labels_that_would_share_a_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = WHOLE.replace("masked:", "a b:").replace("causal:", "a-b:")
    assert "2 labels name 1 folders (a-b twice)" in refused(write(tmp_path, text), capsys)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--seedz", "[1]"], "did you mean"),
        (["--name", "a/b"], "name = 'a/b' must be a plain name"),
        (["--parallel", "0"], "parallel = 0 must be at least 1"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    assert expected in refused([*write(tmp_path, WHOLE), *more], capsys)


def test_a_study_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "which study? Name it" in refused([], capsys)
    assert "File does not exist" in refused(["--config", "nowhere.yaml"], capsys)


def test_the_fingerprint_changes_with_the_declaration_and_with_the_configs_that_it_names(tmp_path: Path) -> None:
    config, defaults = tmp_path / "arm.yaml", ROOT / "configs/base.yaml"
    config.write_text("seed: 0\n", encoding="utf-8")
    text = WHOLE.replace(MASKED, str(config))
    first = parse(write(tmp_path, text))[0].fingerprint(defaults)
    assert parse(write(tmp_path, text))[0].fingerprint(defaults) == first
    assert parse(write(tmp_path, text.replace("1M", "2M")))[0].fingerprint(defaults) != first
    config.write_text("seed: 1\n", encoding="utf-8")
    assert parse(write(tmp_path, text))[0].fingerprint(defaults) != first
