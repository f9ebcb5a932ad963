"""The model card of an exported folder with a task's head."""

from collections.abc import Sequence

from finetuning.load import FineTunedRun
from objectives.weights.card import model_card
from training.storage.run_dir import RunFolder
from training.storage.scores import read_scores


def card_of(tuned: FineTunedRun, class_name: str, differences: Sequence[str]) -> str:
    """The model card of a fine-tuned run; `differences` are sentences on what differs from predict.py."""
    run = RunFolder(tuned.folder)
    config = run.read_config() if run.is_run else {"budget": {}}
    task, result = tuned.module.task, read_scores(run) if run.is_run else None
    files = {name: getattr(task, name) for name in ("dataset", "train", "development", "test")}
    named = ", ".join(f"{split} `{source}`" for split, source in files.items() if source is not None)
    return model_card(
        name=tuned.folder.name,
        class_name=class_name,
        what=f"A `{class_name}`, fine-tuned on {task.name}, from {config.get('checkpoint', 'trained weights')} "
        f"(seed {tuned.module.seed}).",
        tags=[task.name, "fine-tuning"],
        data=[f"{named}."],
        config=config,
        parameters=sum(parameter.numel() for parameter in tuned.module.parameters()),
        scores=result.scores if result else {},
        scores_are=" ".join(["Of the weights that were best on the development split.", *differences]),
    )
