"""A run is taken up from its folder alone; one that this version cannot read is refused in one line."""

from collections.abc import Callable
from typing import cast

import pytest

from models.bodies.make import config_from
from objectives.core.pretraining import Pretraining
from objectives.weights.load import objective_of
from tests.helpers import OBJECTIVES, make_cli

Command = Callable[..., list[str]]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_objective_is_the_one_that_the_config_describes(name: str, tiny_run: Command) -> None:
    cli = make_cli(tiny_run(name, "described", "--seed", "5"))
    found = objective_of(cli.resolved_config())
    module = cast(Pretraining, cli.model)
    assert type(found) is type(module.objective)
    assert module.seed == 5
    assert module.config == config_from(cli.resolved_config()["body"])


def test_settings_of_another_version_are_named_in_one_line(tiny_run: Command) -> None:
    config = make_cli(tiny_run("causal_lm", "later")).resolved_config()
    config["model"]["init_args"]["tempo"] = 3
    expected = "the settings of later are not this version's: .*Option 'tempo' is not accepted"
    with pytest.raises(ValueError, match=expected) as refused:
        objective_of(config)
    assert len(str(refused.value).splitlines()) == 1
