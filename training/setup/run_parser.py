"""The parser of a run's settings: of any edition, for any body, and of every objective that is imported."""

from collections.abc import Iterator
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace, get_loader
from lightning.pytorch.cli import LightningArgumentParser

from training.script.endings import leave
from training.setup.body_kind import of_this_body
from training.setup.parsing import OneLineErrors
from training.step.module import ExactModule
from training.storage.old_names import renamed_config


class Parser(OneLineErrors, LightningArgumentParser):
    """Knows the settings of every objective that is imported.

    Attributes:
        objective: the class that they are subclasses of.
        bodies: the union of the settings of bodies, and the one of this run.
    """

    objective: type = ExactModule
    bodies: tuple[Any, Any] = (None, None)

    def valid_names(self) -> Iterator[str]:
        yield from super().valid_names()
        for key, base in self.class_settings().items():
            for class_path, settings in self.settings_of(base).items():
                yield class_path
                yield from (f"{key}.init_args.{name}" for name in settings)

    def class_settings(self) -> dict[str, type]:
        return {"model": self.objective}

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """A config's settings; those of an earlier edition have today's names, those of another body are left out."""
        return super().parse_string(self.for_body(renamed_config(content)), *args, **kwargs)

    def for_body(self, content: str) -> str:
        """The text of a config without settings of other bodies, where it is for a run with any of them."""
        try:
            settings = get_loader("yaml")(content)
        except yaml.YAMLError:  # the parser that reads the text names the mistake
            return content
        changed = of_this_body(settings, *self.bodies)
        return content if changed == settings else yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if "arguments are required: model" in message:
            leave("which objective? Name its config, such as --config configs/masked_lm.yaml")
        super().error(message, ex)
