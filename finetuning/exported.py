"""A fine-tuned run as a folder of transformers: `pipeline` then says what predict.py says."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from finetuning.base import FineTuning
from finetuning.body import Start
from finetuning.classification import Classification
from finetuning.question_answering import QuestionAnswering
from finetuning.token_classification import TokenClassification
from finetuning.tuned import Tuned
from finetuning.writing import Writing
from models.huggingface import to_huggingface
from models.huggingface_config import FAMILIES, to_huggingface_config
from objectives.base import Framing as Roles
from objectives.exported import ROLES, special_ids, write_json, write_tokenizer
from training.checkpoint import write_whole


@dataclass(frozen=True, kw_only=True)
class Class:
    """A class of transformers with a head for a task.

    Attributes:
        name: of the class.
        head: name of its last layer.
        pooler: name of the layer before it, where there is one.
    """

    name: str
    head: str
    pooler: str | None = None


# By the kind of the head, and by the preset of the body; what is not here has no class that is the same.
CLASSES: dict[type[FineTuning], dict[str, Class]] = {
    Classification: {
        "bert": Class(name="BertForSequenceClassification", head="classifier", pooler="bert.pooler.dense"),
        "gpt2": Class(name="GPT2ForSequenceClassification", head="score"),
        "lab": Class(name="LlamaForSequenceClassification", head="score"),
    },
    TokenClassification: {
        "bert": Class(name="BertForTokenClassification", head="classifier"),
        "gpt2": Class(name="GPT2ForTokenClassification", head="classifier"),
        "lab": Class(name="LlamaForTokenClassification", head="score"),
    },
    QuestionAnswering: {
        "bert": Class(name="BertForQuestionAnswering", head="qa_outputs"),
        "gpt2": Class(name="GPT2ForQuestionAnswering", head="qa_outputs"),
    },
}


def _check(module: FineTuning) -> None:
    """Raises ValueError, with the reason, where a setting makes of the model what no class of transformers is."""
    if module.tuning.attention == "bidirectional":
        raise ValueError("tuning.attention = bidirectional: transformers' classes of this decoder are causal")
    if not isinstance(module, Classification):
        return
    wanted = "cls" if module.start.has_encoder else "last"
    if module.pooling != wanted:
        raise ValueError(
            f"tuning.pooling = {module.pooling}: transformers' class of this body pools by `{wanted}`; fine-tune with "
            f"--tuning.pooling {wanted} to export"
        )
    if module.task.form == "number" and module.head.classifier.bias is None:
        raise ValueError("task.form = number: transformers' class of this decoder has no bias, which a number needs")


def class_of(module: FineTuning) -> str:
    """The class of transformers that a fine-tuned model is.

    Raises:
        ValueError: where none is.
    """
    _check(module)
    preset = module.start.transformer.preset
    if isinstance(module, Writing):
        return FAMILIES[preset].name
    found = CLASSES.get(type(module), {}).get(preset)
    if found is None or (preset == "lab" and module.start.has_encoder):
        raise ValueError(
            f"no class of transformers is a {type(module).__name__} over this body (transformer.preset = {preset})"
        )
    return found.name


def _head_of(module: FineTuning) -> dict[str, Tensor]:
    """The head's tensors under their names; numbers come out on their own scale."""
    if isinstance(module, Writing):
        return {}
    found = CLASSES[type(module)][module.start.transformer.preset]
    state = {name.removeprefix("head."): tensor for name, tensor in module.state_dict().items()}
    tensors = {f"{found.head}.{kind}": state[f"classifier.{kind}"] for kind in ("weight", "bias")
               if f"classifier.{kind}" in state}  # fmt: skip
    if isinstance(module, Classification) and module.task.form == "number":
        mean, deviation = (value.to(torch.float32) for value in module.scale)
        tensors = {name: tensor * deviation for name, tensor in tensors.items()}
        tensors[f"{found.head}.bias"] += mean
    if found.pooler is not None:
        tensors |= {f"{found.pooler}.{kind}": state[f"pooler.{kind}"] for kind in ("weight", "bias")}
    return tensors


def _roles_of(start: Start) -> Roles:
    """The frame of a text by the roles of its tokens."""
    role_of = {getattr(start.vocabulary, role): role for role in ROLES}
    framing = start.framing
    before, behind = (tuple(role_of[index] for index in ids) for ids in (framing.before, framing.behind))
    return Roles(before=before, behind=behind, decoder_start=role_of[framing.start[0]] if framing.start else None)


def _settings_of(module: FineTuning) -> dict[str, Any]:
    """What `config.json` says of the head."""
    if isinstance(module, Writing | QuestionAnswering):
        return {}
    names = module.labels or ["number"]
    settings: dict[str, Any] = {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
    if isinstance(module, Classification):
        kinds = {"one": "single_label_classification", "many": "multi_label_classification", "number": "regression"}
        settings["problem_type"] = kinds[module.task.form]
    return settings


def export_tuned(tuned: Tuned, folder: Path) -> str:
    """Writes a fine-tuned model as one of transformers' classes into a new folder; returns the name of the class.

    Raises:
        ValueError: where the folder is there already, or no class of transformers is this model.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"'{folder}' is not empty: name a new folder")
    module, start = tuned.module, tuned.module.start
    name, roles = class_of(module), _roles_of(start)
    config = to_huggingface_config(
        start.transformer, start.num_blocks, vocab_size=start.vocabulary.size, max_positions=start.max_positions
    )
    ids = special_ids(roles, start.vocabulary)
    body = {name: tensor for name, tensor in module.state_dict().items() if name.startswith("transformer.")}
    weights = {**to_huggingface(body, start.transformer, start.num_blocks, copies=False), **_head_of(module)}

    def fill(writing: Path) -> None:
        settings = {"architectures": [name], "dtype": "float32", **ids, **_settings_of(module)}
        write_json(writing / "config.json", {**config, **settings})
        if isinstance(module, Writing):
            write_json(writing / "generation_config.json", ids)
        tensors = {key: tensor.detach().contiguous() for key, tensor in weights.items()}
        (writing / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
        write_tokenizer(writing, start.tokenizer, start.vocabulary, roles, max_positions=start.max_positions)
        if start.transformer.parts.num_segments:  # two texts are told apart
            path = writing / "tokenizer_config.json"
            told = json.loads(path.read_text(encoding="utf-8"))
            write_json(path, {**told, "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]})

    write_whole(folder, fill)
    return name
