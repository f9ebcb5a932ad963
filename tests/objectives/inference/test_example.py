"""What a run ends with: the command that generates, with a text to begin with."""

import pytest

import show
from objectives.core.prompts import MARK

MODELS = show.objective_configs(None)


@pytest.mark.parametrize("name", MODELS)
def test_every_objective_has_a_text_to_begin_with_and_marks_where_it_reads_them(name: str) -> None:
    model = MODELS[name]
    own = {key: value for key, value in model.get("init_args", {}).items() if key not in show.SHARED}
    strategy = show.class_named(model["class_path"])(**own).inference
    assert strategy.example is not None
    assert strategy.reads_marks or not MARK.search(strategy.example)
