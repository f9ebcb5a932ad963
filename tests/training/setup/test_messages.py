"""Messages: one line of them, with the nearest valid name."""

import pytest

from training.setup.endings import leave
from training.setup.messages import nearest, one_line

VALID = ["data.window", "data.batch_size", "optimizer.learning_rate", "model.init_args.noise_density"]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("data.windw", "data.window"),
        ("learning_rte", "optimizer.learning_rate"),
        ("model.init_args.noise_densty", "model.init_args.noise_density"),
        ("nonsense", None),
    ],
)
def test_the_nearest_valid_name_is_found_in_full_or_by_its_last_part(wrong: str, right: str | None) -> None:
    assert nearest(wrong, VALID) == right


def test_scaffolding_goes_and_the_key_stays() -> None:
    said = 'Parser key "data.window":\n  Does not validate against any of the Union subtypes\n  - Expected an int'
    assert one_line(said) == "data.window: Expected an int"


def test_an_unknown_name_gets_a_suggestion() -> None:
    assert one_line("unrecognized arguments: --data.windw 3", VALID).endswith("did you mean 'data.window'?")


def test_leaving_says_one_line_and_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        leave("no such thing")
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith("error: no such thing\n")
