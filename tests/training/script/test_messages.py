"""Messages: one line of them, with the nearest valid name."""

import pytest

from training.script.endings import leave
from training.script.messages import nearest, one_line

VALID = ["data.window", "data.batch_size", "optimizer.learning_rate", "model.init_args.noise_density"]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("data.windw", "data.window"),
        ("learning_rte", "optimizer.learning_rate"),
        ("model.init_args.noise_densty", "model.init_args.noise_density"),
        ("nonsense", None),
        ("data.max_steps", None),  # half of its letters are those of data.batch_size
    ],
)
def test_the_nearest_valid_name_is_found_in_full_or_by_its_last_part(wrong: str, right: str | None) -> None:
    assert nearest(wrong, VALID) == right


def test_scaffolding_goes_and_the_key_stays() -> None:
    printed = 'Parser key "data.window":\n  Does not validate against any of the Union subtypes\n  - Expected an int'
    assert one_line(printed) == "data.window: Expected an int"


def union(key: str, value: str, *errors: str) -> str:
    """The message of jsonargparse on a value of several types."""
    lines = "\n".join(f"    - Expected a {error}" for error in errors)
    return (
        f'Parser key "{key}":\n  Does not validate against any of the Union subtypes\n  Subtypes: [...]\n'
        f"  Errors:\n{lines}\n  Given value type: <class 'str'>\n  Given value: {value}"
    )


@pytest.mark.parametrize(
    ("value", "errors", "expected"),
    [
        ("1.5", ("<class 'int'>", "typing.Literal['auto']", "<class 'NoneType'>"), "neither a whole number nor auto"),
        ("x", ("<class 'float'>", "<class 'NoneType'>"), "not a number"),
        ("maybe", ("<class 'bool'>", "typing.Literal['auto']"), "neither true, false nor auto"),
        ("many", ("<class 'int'>", "<class 'tuple'>"), "neither a whole number nor a list, such as [1, 2]"),
    ],
)
def test_a_value_of_several_types_is_answered_with_all_of_them(
    value: str, errors: tuple[str, ...], expected: str
) -> None:
    assert one_line(union("some.key", value, *errors)) == f"some.key: '{value}' is {expected}"


def test_of_a_list_the_part_that_is_wrong_is_named() -> None:
    message = union("some.key", "[1, 'x y']", "<class 'int'>", "<class 'int'>. Got value: x y")
    assert one_line(message) == "some.key: 'x y' is not a whole number"


def test_an_unknown_name_gets_a_suggestion() -> None:
    assert one_line("unrecognized arguments: --data.windw 3", VALID).endswith("did you mean 'data.window'?")


NAMES = ["budget.steps", "budget.epochs", "optimizer.max_grad_norm", "data.micro_batch_size", "data.validation_windows",
         "optimizer.learning_rate", "data.window", "trainer.precision", "trainer.num_nodes", "body.width"]  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "ours"),
    {
        "trainer.max_steps": "here it is budget.steps",
        "max_epochs": "here it is budget.epochs",
        "num_train_epochs": "here it is budget.epochs",
        "trainer.gradient_clip_val": "here it is optimizer.max_grad_norm",
        "accumulate_grad_batches": "here it is data.micro_batch_size",
        "limit_val_batches": "here it is data.validation_windows",
        "trainer.fast_dev_run": "here it is budget.steps, such as --budget.steps 3",
        "lr": "here it is optimizer.learning_rate",
        "max_length": "here it is data.window",
        "precision": "here it is trainer.precision",
        "body.hidden_size": "here it is body.width",
        "num_sanity_val_steps": "needed here is nothing: settings are checked before the first step",
    }.items(),
)
def test_a_flag_of_another_program_is_answered_with_the_name_of_ours(theirs: str, ours: str) -> None:
    assert ours in one_line(f"unrecognized arguments: --{theirs} 3", NAMES)
    assert "did you mean" not in one_line(f"unrecognized arguments: --{theirs} 3", NAMES)


def test_a_name_of_fine_tuning_goes_before_that_of_pretraining() -> None:
    assert one_line("unrecognized arguments: --max_length 3", ["data.max_length"]).endswith(
        "here it is data.max_length"
    )


def test_a_value_that_is_no_choice_is_answered_with_the_choices() -> None:
    literal = (
        "Parser key \"trainer.precision\":\n  Expected a typing.Literal['auto', '32-true', 'bf16-mixed', 'bf16-true']"
    )
    assert one_line(f"{literal}. Got value: bf16") == (
        "trainer.precision: 'bf16' is none of auto, 32-true, bf16-mixed, bf16-true; did you mean 'bf16-mixed'?"
    )
    assert one_line("Parser key \"data.window\":\n  Expected a <class 'int'>. Got value: wide") == (
        "data.window: 'wide' is not a whole number"
    )


def test_a_value_that_is_of_none_of_several_kinds_is_answered_with_them() -> None:
    union = (
        'Parser key "compile":\n  Does not validate against any of the Union subtypes\n  Subtypes: [...]\n  Errors:\n'
    )
    kinds = (
        "    - Expected a <class 'bool'>\n    - Expected a typing.Literal['auto']\n  Given value type: <class 'str'>\n"
    )
    assert one_line(f"{union}{kinds}  Given value: may be") == "compile: 'may be' is neither true, false nor auto"
    none = "    - Expected a <class 'float'>\n    - Expected a <class 'NoneType'>\n  Given value type: <class 'str'>\n"
    assert one_line(f"{union}{none}  Given value: x") == "compile: 'x' is not a number"
    within = (
        "    - Problem with given class_path 'a.B':\n        Parser key \"draws\":\n          Expected a <class 'int'>."
    )
    outside = "    - Expected a <class 'NoneType'>\n  Given value: NestedArg(key='draws', val='.5')"
    assert one_line(f"{union}{within} Got value: 0.5\n{outside}") == "draws: '0.5' is not a whole number"


def test_a_value_of_a_group_of_settings_is_answered_with_the_setting_that_takes_it() -> None:
    answer = 'Parser key "optimizer":\nUnable to load config \'adamw\'\n  - Parser key "optimizer": Unable to load'
    choices = {"optimizer.name": ("adamw", "muon"), "optimizer.schedule": ("cosine",), "data.window": ()}
    assert one_line(answer, choices, choices) == (
        "optimizer = adamw: optimizer is a group of settings; did you mean --optimizer.name adamw?"
    )
    assert one_line(answer.replace("adamw", "x"), choices, choices).endswith(
        "they are optimizer.name, optimizer.schedule"
    )


def test_leaving_says_one_line_and_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        leave("no such thing")
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith("error: no such thing\n")
