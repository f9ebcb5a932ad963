"""A value that a constructor refuses is the user's; an exception of our own code within it stays ours."""

from dataclasses import dataclass

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from common.errors import UserError
from training.setup.parsing import OneLineErrors, refusing


@dataclass
class Settings:
    number: int = 6

    def __post_init__(self) -> None:
        if self.number < 0:
            raise UserError(f"number = {self.number} must be at least 0")
        np.zeros(6).reshape(self.number)  # ours, where the number is none of those that fit


class Base:
    pass


class Derived(Base):
    def __init__(self, *, number: int = 6) -> None:
        Settings(number=number)


def test_a_value_that_a_class_refuses_is_one_line_of_the_users() -> None:
    parser = OneLineErrors()
    parser.add_subclass_arguments(Base, "model")
    parser.add_class_arguments(Settings, "own")
    name = f"{__name__}.Derived"
    for arguments in ([f"--model={name}", "--model.number=-1"], [f"--model={name}", "--own.number=-1"]):
        with pytest.raises(UserError, match=r"number = -1 must be at least 0") as refused:
            parser.instantiate(parser.parse_args(arguments))
        assert "\n" not in str(refused.value)


def test_a_mistake_of_ours_within_a_constructor_is_not_the_users() -> None:
    parser = OneLineErrors()
    parser.add_subclass_arguments(Base, "model")
    with pytest.raises(ValueError, match="cannot reshape") as raised:
        parser.instantiate(parser.parse_args([f"--model={__name__}.Derived", "--model.number=5"]))
    assert type(raised.value) is not UserError


def test_a_type_that_jsonargparse_refuses_is_the_users_with_what_stands_before() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Settings, "own")
    with pytest.raises(UserError, match=r"^the study: own\.number: "), refusing("the study: "):
        parser.parse_object({"own": {"number": "many"}})
