"""A run is taken up from its folder alone; one that this version cannot read is refused in one line."""

from collections.abc import Callable

import pytest

from objectives.weights.load import objective_of
from tests.helpers import OBJECTIVES, make_cli

Command = Callable[..., list[str]]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_objective_is_the_one_that_the_config_describes(name: str, tiny_run: Command) -> None:
    cli = make_cli(tiny_run(name, "described", "--seed", "5"))
    found = objective_of(cli.resolved_config())
    assert type(found) is type(cli.model)
    assert (found.seed, found.config) == (5, cli.model.config)


@pytest.mark.parametrize(
    ("group", "said"),
    [("init_args", "Option 'tempo' is not accepted"), ("optimizer", "does not accept option 'tempo'")],
)
def test_settings_of_another_version_are_named_in_one_line(group: str, said: str, tiny_run: Command) -> None:
    config = make_cli(tiny_run("causal_lm", "later")).resolved_config()
    (config["model"]["init_args"] if group == "init_args" else config[group])["tempo"] = 3
    with pytest.raises(ValueError, match=rf"the settings of later are not this version's: .*{said}") as refused:
        objective_of(config)
    assert len(str(refused.value).splitlines()) == 1
