"""The model card of an exported folder: what a reader of it should know before using it."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

PIPELINES = {  # by what the name of a class ends with, as the Hugging Face hub names tasks
    "ForMaskedLM": "fill-mask",
    "ForPreTraining": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForConditionalGeneration": "text2text-generation",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
}
WITHOUT_PIPELINE = ("text2text-generation", "question-answering")  # transformers 5 has dropped these


def pipeline_of(class_name: str) -> str:
    """The task of the hub that a class of transformers is for."""
    return next(task for ending, task in PIPELINES.items() if class_name.endswith(ending))


def _usage(class_name: str) -> list[str]:
    task = pipeline_of(class_name)
    if task in WITHOUT_PIPELINE:
        return [
            f"from transformers import AutoTokenizer, {class_name}",
            "",
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
            f'model = {class_name}.from_pretrained("FOLDER")',
        ]
    example = "A text with a [MASK] in it ." if task == "fill-mask" else "A text ."
    return ["from transformers import pipeline", "", f'print(pipeline("{task}", "FOLDER")("{example}"))']


def data_of(info: Mapping[str, Any]) -> list[str]:
    """The corpus of a pretraining run, from its run.json."""
    data = info["data"]
    sources = [str(part["name"] if isinstance(part, Mapping) else part) for part in data["recipe"]["corpus"]["source"]]
    named = ", ".join(f"`{name}`" for name in sources)
    return [f"{named}: {data['train']['tokens']:,} training tokens in {data['train']['documents']:,} documents."]


def model_card(
    *,
    name: str,
    class_name: str,
    what: str,
    tags: Sequence[str],
    data: Sequence[str],
    config: Mapping[str, Any],
    parameters: int,
    scores: Mapping[str, float],
    scores_are: str,
) -> str:
    """The card, with the fields that the hub reads at its head.

    Args:
        name: of the run.
        class_name: of transformers.
        what: the model in a sentence.
        tags: of the hub, besides its task.
        data: what it was trained on, in sentences.
        config: every setting of the run.
        parameters: their number.
        scores: by name.
        scores_are: how they are to be read.
    """
    head = {
        "library_name": "transformers",
        "pipeline_tag": pipeline_of(class_name),
        "tags": list(tags),
        "license": "unknown",  # the hub's word; whoever publishes the folder decides
    }
    budget = {key: value for key, value in config["budget"].items() if value is not None}
    table = [f"| {key} | {value:.6g} |" for key, value in scores.items()]
    lines = [
        *("---", yaml.safe_dump(head, sort_keys=False).rstrip(), "---"),
        *(f"# {name}", "", what, ""),
        *("## Usage", "", "```python", *_usage(class_name), "```", ""),
        *("## Data", "", *data, ""),
        *(
            "## Budget",
            "",
            *(f"- {key}: {value}" for key, value in budget.items()),
            f"- parameters: {parameters:,}",
            "",
        ),
        *("## Scores", "", *(["| | |", "|---|---|", *table] if table else ["This run is not finished."]), ""),
        *(scores_are, ""),
        *("## Licence", ""),
        "None has been chosen for these weights: set `license` at the head of this file before publishing them, and "
        "name the licence of the text that they were trained on.",
        "",
        *("## Every setting", "", "```yaml"),
        yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).rstrip(),
        *("```", ""),
    ]
    return "\n".join(lines)
