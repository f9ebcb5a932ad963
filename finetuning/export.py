"""A fine-tuned run as a folder of transformers: `pipeline`, or `generate`, then predicts what predict.py predicts.

Labels, numbers and probabilities, the logits of tags and spans, and texts are the same, for texts cut to the
tokenizer's `model_max_length` with `truncation=True`. The folder holds the settings of decoding, so that `generate`
needs none. What differs:

- tags: predict.py reads a text with its words and signs parted by `task.joiner`, as training does, and takes the
  likeliest tags that follow from one another. `aggregation_strategy="first"` on a text parted so by blanks has the same
  groups wherever the likeliest tag of each word follows from the one before.
- tags of characters (`task.joiner` ""): predict.py encodes every character by itself, as training does, and a pipeline
  the whole text; `differences_of` has the sentence when the folder is written.
- spans: transformers 5 has no pipeline for them; the best one by the two logits, over windows, is to be found as BERT's
  run_squad.py does.
- texts: `task.prefix` is `prefix` in config.json. The pipeline `text-generation` puts it before a text itself; an
  encoder-decoder has no pipeline, and wants it there. Texts that are drawn come from the same probabilities, with other
  random numbers. The beginning of a text that is to be continued is cut at its left by predict.py, if it is too long.
- sentences longer than `data.max_length` are tagged in parts by predict.py, and cut by the pipeline.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from common.errors import UserError
from common.files import write_folder_whole
from finetuning.card import card_of
from finetuning.core.base import FineTuning
from finetuning.core.generative import GenerativeFineTuning
from finetuning.load import FineTunedRun
from finetuning.tasks.classification import Classification
from finetuning.tasks.question_answering import QuestionAnswering
from finetuning.tasks.token_classification import TokenClassification
from models.huggingface.families import FAMILIES
from models.huggingface.settings import check_representable, to_huggingface_config
from models.huggingface.weights import to_huggingface
from models.presets import TransformerConfig
from objectives.core.base import SpecialTokenTemplate as Roles
from objectives.weights.export import ROLES, special_ids, write_json, write_tokenizer


@dataclass(frozen=True, kw_only=True)
class Class:
    """A class of transformers with a head for a task.

    Attributes:
        name: of the class.
        head: name of its last layer.
        pooler: name of the layer before it, where there is one.
        body: what goes before the names that the body's tensors have in the class without this head.
    """

    name: str
    head: str
    pooler: str | None = None
    body: str = ""


_T5_CLASSIFIER = Class(
    name="T5ForSequenceClassification",
    head="classification_head.out_proj",
    pooler="classification_head.dense",
    body="transformer.",
)
_T5_TAGGER = Class(name="T5ForTokenClassification", head="classifier", body="transformer.")

# By the kind of the head, and by the preset of the body; what is not here has no class that is the same: those of BART
# and T5 for questions read them with the decoder as well, and BART has none for tags.
CLASSES: dict[type[FineTuning], dict[str, Class]] = {
    Classification: {
        "bert": Class(name="BertForSequenceClassification", head="classifier", pooler="bert.pooler.dense"),
        "gpt2": Class(name="GPT2ForSequenceClassification", head="score"),
        "lab": Class(name="LlamaForSequenceClassification", head="score"),
        "bart": Class(
            name="BartForSequenceClassification",
            head="classification_head.out_proj",
            pooler="classification_head.dense",
        ),
        "t5": _T5_CLASSIFIER,
        "t5_v1_1": _T5_CLASSIFIER,
    },
    TokenClassification: {
        "bert": Class(name="BertForTokenClassification", head="classifier"),
        "gpt2": Class(name="GPT2ForTokenClassification", head="classifier"),
        "lab": Class(name="LlamaForTokenClassification", head="score"),
        "t5": _T5_TAGGER,
        "t5_v1_1": _T5_TAGGER,
    },
    QuestionAnswering: {
        "bert": Class(name="BertForQuestionAnswering", head="qa_outputs"),
        "gpt2": Class(name="GPT2ForQuestionAnswering", head="qa_outputs"),
    },
}


def _check(module: FineTuning) -> None:
    """Raises UserError, with the reason, where a setting makes of the model what no class of transformers is."""
    if module.tuning.attention == "bidirectional":
        raise UserError("tuning.attention = bidirectional: transformers' classes of this decoder are causal")
    if not isinstance(module, Classification):
        return
    wanted = "last" if module.start.has_decoder else "cls"
    if module.pooling != wanted:
        raise UserError(
            f"tuning.pooling = {module.pooling}: transformers' class of this body pools by `{wanted}`; fine-tune with "
            f"--tuning.pooling {wanted} to export"
        )
    if module.task.form == "number" and not module.start.has_encoder:
        raise UserError("task.form = number: transformers' class of this decoder has no bias, which a number needs")


def _shape_of(module: FineTuning) -> TransformerConfig:
    """Raises UserError where the body is of a kind that transformers has not."""
    if not isinstance(module.start.body, TransformerConfig):
        raise UserError("body.kind = recurrent: transformers has no class of recurrent models")
    return module.start.body


def class_of(module: FineTuning) -> str:
    """The class of transformers that a fine-tuned model is.

    Raises:
        UserError: where none is.
    """
    preset = _shape_of(module).preset
    if isinstance(module, GenerativeFineTuning):
        return FAMILIES[preset].name
    found = CLASSES.get(type(module), {}).get(preset)
    if found is None or (preset == "lab" and module.start.has_encoder):
        raise UserError(
            f"no class of transformers is a {type(module).__name__} over this body (body.preset = {preset})"
        )
    _check(module)
    return found.name


def _body_of(module: FineTuning) -> dict[str, Tensor]:
    """The body's tensors under their names."""
    start = module.start
    state = {name: tensor for name, tensor in module.state_dict().items() if name.startswith("body.")}
    tensors = to_huggingface(state, _shape_of(module), start.num_blocks, copies=False)
    if isinstance(module, GenerativeFineTuning):
        return tensors
    return {f"{CLASSES[type(module)][_shape_of(module).preset].body}{name}": tensor for name, tensor in tensors.items()}


def _head_of(module: FineTuning) -> dict[str, Tensor]:
    """The head's tensors under their names; numbers come out on their own scale."""
    if isinstance(module, GenerativeFineTuning):
        return {}
    found = CLASSES[type(module)][_shape_of(module).preset]
    state = {name.removeprefix("head."): tensor for name, tensor in module.state_dict().items()}
    tensors = {f"{found.head}.{kind}": state[f"classifier.{kind}"] for kind in ("weight", "bias")
               if f"classifier.{kind}" in state}  # fmt: skip
    if isinstance(module, Classification) and module.task.form == "number":
        mean, deviation = module.number_scale
        tensors = {name: tensor * deviation for name, tensor in tensors.items()}
        tensors[f"{found.head}.bias"] += mean
    if found.pooler is not None:
        tensors |= {f"{found.pooler}.{kind}": state[f"pooler.{kind}"] for kind in ("weight", "bias")}
    return tensors


def _roles_of(module: FineTuning) -> Roles:
    """The template of a text by the roles of its tokens; for a causal decoder that generates, that of a source."""
    role_of = {getattr(module.start.vocabulary, role): role for role in ROLES}
    template = module.start.template
    before, behind = (tuple(role_of[index] for index in ids) for ids in (template.before, template.behind))
    if isinstance(module, GenerativeFineTuning) and not module.start.has_encoder:
        behind = module.closes_source
    return Roles(before=before, behind=behind, decoder_start=role_of[template.start[0]] if template.start else None)


def _longest_read(module: FineTuning) -> int:
    """Positions of the longest text that is read, its special tokens included."""
    if isinstance(module, GenerativeFineTuning) and not module.start.has_encoder:
        return module.max_length - (module.decoding.max_new_tokens or 0)
    return module.max_length


def _generation_of(module: GenerativeFineTuning) -> dict[str, Any]:
    """How a text is generated, for `generation_config.json`."""
    decoding, template, start = module.decoding, module.start.template, module.start
    settings: dict[str, Any] = {"do_sample": decoding.temperature > 0, "num_beams": decoding.beams}
    if decoding.temperature:
        settings |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k or 0}
    if decoding.beams > 1:
        settings |= {"length_penalty": decoding.length_penalty, "early_stopping": False}
    most = decoding.max_new_tokens or start.max_positions
    if start.has_encoder:
        most += len(template.target_before)  # which transformers generates as well
        most = min(most, start.max_positions) if start.is_limited else most
        settings["forced_bos_token_id"] = next(iter(template.target_before), None)
    return {**settings, "max_new_tokens": most, "suppress_tokens": module.never.tolist()}


def _settings_of(module: FineTuning) -> dict[str, Any]:
    """The settings of the head in `config.json`."""
    if isinstance(module, QuestionAnswering):
        return {}
    if isinstance(module, GenerativeFineTuning):
        return {"prefix": prefix} if (prefix := getattr(module.task, "prefix", "")) else {}
    names = module.labels or ["number"]
    settings: dict[str, Any] = {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
    if isinstance(module, Classification):
        kinds = {"one": "single_label_classification", "many": "multi_label_classification", "number": "regression"}
        settings["problem_type"] = kinds[module.task.form]
    return settings


def differences_of(module: FineTuning) -> list[str]:
    """What a person must know who takes the folder for what predict.py does; a sentence each."""
    if isinstance(module, TokenClassification) and module.by_unit:
        return [
            "tags: this run encoded every tagged unit by itself; encode a text's characters one by one, each with the "
            "blanks before it, for the same tags (transformers' pipeline encodes the whole text)"
        ]
    return []


def export_readiness(module: FineTuning) -> str:
    """Whether a fine-tuned model of this kind will export to transformers, and, if not, why, in a line."""
    try:
        name = class_of(module)
        check_representable(_shape_of(module), module.start.num_blocks)
    except UserError as error:
        return f"will not export to transformers ({error})"
    return f"will export to transformers, as {name}"


def export_tuned(tuned: FineTunedRun, folder: Path) -> str:
    """Writes a fine-tuned model as one of transformers' classes into a new folder; returns the name of the class.

    Raises:
        UserError: where the folder is there already, or no class of transformers is this model.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty: name a new folder")
    module, start = tuned.module, tuned.module.start
    name, roles = class_of(module), _roles_of(module)
    config = to_huggingface_config(
        _shape_of(module), start.num_blocks, vocab_size=start.vocabulary.size, max_positions=start.max_positions
    )
    ids = special_ids(roles, start.vocabulary)
    weights = {**_body_of(module), **_head_of(module)}

    def fill(writing: Path) -> None:
        settings = {"architectures": [name], "dtype": "float32", **ids, **_settings_of(module)}
        write_json(writing / "config.json", {**config, **settings})
        if isinstance(module, GenerativeFineTuning):
            write_json(writing / "generation_config.json", {**ids, **_generation_of(module)})
        tensors = {key: tensor.detach().contiguous() for key, tensor in weights.items()}
        (writing / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
        (writing / "README.md").write_text(card_of(tuned, name, differences_of(module)), encoding="utf-8")
        pads_left = isinstance(module, GenerativeFineTuning) and not start.has_encoder
        write_tokenizer(
            writing,
            start.tokenizer,
            start.vocabulary,
            roles,
            max_positions=_longest_read(module),
            pads_left=pads_left,
        )
        if _shape_of(module).parts.num_segments:  # two texts have token types
            path = writing / "tokenizer_config.json"
            written = json.loads(path.read_text(encoding="utf-8"))
            write_json(path, {**written, "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]})

    write_folder_whole(folder, fill, is_locked=False)
    return name
