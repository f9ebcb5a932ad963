"""A run as a folder that transformers' `from_pretrained` loads: weights, configuration, tokenizer and model card."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save
from tokenizers import Tokenizer, processors
from tokenizers.decoders import ByteLevel
from torch import Tensor

from common.errors import UserError
from common.files import write_folder_whole
from data.tokens.tokenizer import SPELLINGS, Vocabulary
from models.bodies.make import BodyConfig
from models.huggingface.families import FAMILIES
from models.huggingface.settings import check_representable, family_named, family_of, to_huggingface_config
from models.huggingface.weights import entries, left_out, to_huggingface
from models.presets import TransformerConfig
from models.transformer.transformer import Transformer
from objectives.core.base import DecoderAttention, Objective, SpecialTokenTemplate
from objectives.core.network import MAIN
from objectives.weights.card import data_of, model_card
from objectives.weights.load import TrainedRun
from training.storage.checkpoint import checkpoint_step
from training.storage.run_dir import RunFolder

# What transformers calls each role; the text of its tokens is the tokenizer's own.
ROLES = {
    "pad": "pad_token",
    "eos": "eos_token",
    "unk": "unk_token",
    "bos": "bos_token",
    "cls": "cls_token",
    "sep": "sep_token",
    "mask": "mask_token",
}
BIDIRECTIONAL = "config_bidirectional.json"  # of the same weights, for attention to both sides
# What config.json has for a decoder that is not causal, and what a reader of the model card should know of it.
OF_ATTENTION: dict[DecoderAttention, dict[str, bool]] = {
    "causal": {},
    "bidirectional": {"is_causal": False, "use_cache": False},
    "either": {},
    "prefix": {"use_cache": False},
}
NOTES: dict[DecoderAttention, str] = {
    "causal": "",
    "bidirectional": "Attention goes to both sides (`is_causal` is false), and a hidden token is predicted at the "
    "position before it: `generate` is meaningless, and masks are filled one after another.",
    "either": f"`config.json` makes it a causal model; `{BIDIRECTIONAL}`, given as `config`, one that attends to both "
    "sides and predicts a hidden token at the position before it. Both have these weights.",
    "prefix": "The prefix attends to both sides: give the model an additive 4-D `attention_mask` of floats (a boolean "
    "one is added as 0 and 1 by eager attention, which shows the future) and no cache.",
}
# The class of a model that lacks a head beside.
WITHOUT_ITS_HEAD = {"BertForPreTraining": "BertForMaskedLM", "AlbertForPreTraining": "AlbertForMaskedLM"}


def with_open_marks(tokenizer: Tokenizer) -> Tokenizer:
    """A copy whose marks of hidden text take the blank before them, as `Prompts.encode` reads them."""
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        if token["content"] in SPELLINGS["mask"] or re.fullmatch(r"<extra_id_\d+>", token["content"]):
            token["lstrip"] = True
    return Tokenizer.from_str(json.dumps(content))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON as transformers does."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def with_template(tokenizer: Tokenizer, template: SpecialTokenTemplate, vocabulary: Vocabulary) -> Tokenizer:
    """A copy of the tokenizer that adds special tokens around a text, or a pair of texts, as in training."""
    copy = with_open_marks(tokenizer)
    names = {role: str(tokenizer.id_to_token(vocabulary.id_of(role))) for role in (*template.before, *template.behind)}
    before, behind = ([names[role] for role in roles] for roles in (template.before, template.behind))
    single = [*before, "$A", *behind]
    pair = [*single, "$B:1", *(f"{name}:1" for name in behind)]
    ids = [(name, vocabulary.id_of(role)) for role, name in names.items()]
    frame = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    trimmed = processors.ByteLevel(trim_offsets=True)  # the blank before a word is not the word's; as Llama 3 has it
    copy.post_processor = processors.Sequence([trimmed, frame]) if isinstance(copy.decoder, ByteLevel) else frame
    return copy


def write_tokenizer(
    folder: Path,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    template: SpecialTokenTemplate,
    *,
    max_positions: int,
    pads_left: bool,
) -> None:
    """Writes the tokenizer's files; a literal special token in a text is that token there, as is their custom.

    `pads_left` is for a decoder that goes on behind its prompt, so that no padding comes between.
    """
    with_template(tokenizer, template, vocabulary).save(str(folder / "tokenizer.json"))
    special = {theirs: tokenizer.id_to_token(getattr(vocabulary, role)) for role, theirs in ROLES.items()}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_positions,
            "clean_up_tokenization_spaces": False,
            "padding_side": "left" if pads_left else "right",
            "model_input_names": ["input_ids", "attention_mask"],
            **special,
        },
    )
    write_json(folder / "special_tokens_map.json", special)


def special_ids(template: SpecialTokenTemplate, vocabulary: Vocabulary) -> dict[str, int]:
    """Ids of special tokens, for `config.json` and `generation_config.json`."""
    begins = template.decoder_start or (template.before[0] if template.before else "bos")
    ids = {"pad_token_id": vocabulary.pad, "eos_token_id": vocabulary.eos, "bos_token_id": getattr(vocabulary, begins)}
    return {**ids, **({"decoder_start_token_id": ids["bos_token_id"]} if template.decoder_start else {})}


class ExportedBody(NamedTuple):
    """One body of a run as a class of transformers.

    Attributes:
        folder: below that of the run's export; "" for the main body.
        name: of the class.
        config: the content of `config.json`.
        weights: under their names.
    """

    folder: str
    name: str
    config: dict[str, Any]
    weights: dict[str, Tensor]


def _state_of(run: TrainedRun, role: str) -> dict[str, Tensor]:
    """A body's tensors as `body`, with the heads beside it where it is the main one."""
    network = run.network
    state = {f"body.{name}": tensor for name, tensor in network.role(role).state_dict().items()}
    if role != MAIN:
        return state
    bodies = {id(body) for body in network.bodies}
    heads = [(name, child) for name, child in network.named_children() if id(child) not in bodies]
    return state | {f"{name}.{key}": tensor for name, head in heads for key, tensor in head.state_dict().items()}


def exported_body(run: TrainedRun, role: str, class_name: str | None) -> ExportedBody:
    """A body as a class of transformers, by default the one that its preset and stacks are.

    Raises:
        UserError: where that class is another model, or has no place for a head.
    """
    body, state = run.network.role(role), _state_of(run, role)
    if not isinstance(body, Transformer):
        raise UserError(body.why_not_exported)
    blocks, limit = body.num_blocks, run.max_positions
    family = family_named(class_name) if class_name else family_of(body.config, blocks)
    config = to_huggingface_config(
        body.config, blocks, vocab_size=run.vocabulary.size, max_positions=limit, family=family
    )
    weights = to_huggingface(state, body.config, blocks, copies=False, family=family)
    names = {entry.ours for entry in entries(body.config, blocks, family)} | left_out(family)
    lost = {name if name.startswith("body.") else name.split(".")[0] for name in state if name not in names}
    if lost:
        raise UserError(
            f"{family.name} has no place for {', '.join(sorted(lost))}: train without, such as with "
            f"--model.init_args.second_segment none"
        )
    has_heads = any(not name.startswith("body.") for name in state)
    name = family.name if has_heads else WITHOUT_ITS_HEAD.get(family.name, family.name)
    return ExportedBody("" if role == MAIN else role, name, config, weights)


def card_of(run: TrainedRun, class_name: str) -> str:
    """The model card of a pretraining run."""
    folder = RunFolder(run.folder)
    info, summary = folder.read_info(), folder.read_summary() or {}
    objective = run.config["model"]["class_path"].rsplit(".", 1)[-1]
    scores = {key: value for key, value in summary.items() if key.startswith("validation/")}
    scores |= {
        key: summary[key] for key in ("unigram_entropy", "ln_vocabulary", "raw_tokens", "flops") if key in summary
    }
    attention = "causal" if run.objective.uses_encoder else run.objective.decoder_attention
    windows = f"{run.vocabulary.size:,} ids; windows of {run.window} tokens."
    return model_card(
        name=run.folder.name,
        class_name=class_name,
        what=f"A `{class_name}`, trained with {objective} (seed {run.config['seed']}) for "
        f"{checkpoint_step(run.checkpoint):,} optimizer steps. {NOTES[attention]}".rstrip(),
        tags=[objective, "pretraining"],
        data=[*data_of(info), windows],
        config=run.config,
        parameters=info["parameters"],
        scores=scores,
        scores_are="On held-out text. Losses are in nats a label, of this objective's own targets; losses of different "
        "objectives are not to be ranked.",
    )


def _class_for(objective: Objective, body: TransformerConfig, blocks: tuple[int, int]) -> str:
    """The class that a run with this objective and body will be.

    Raises:
        UserError: where none is.
    """
    named = objective.exported(body)[MAIN]
    family = family_named(named) if named else family_of(body, blocks)
    check_representable(body, blocks, family)
    known = {entry.ours.split(".")[0] for entry in entries(body, blocks, family)}
    known |= {name.split(".")[0] for name in left_out(family)}
    if lost := [name for name in objective.heads(body) if name not in known]:
        raise UserError(f"{family.name} has no place for {', '.join(lost)}")
    return family.name


def export_readiness(objective: Objective, body: BodyConfig, blocks: tuple[int, int]) -> str:
    """Whether a run will export to transformers, and, if not, which preset would, in a line."""
    if not isinstance(body, TransformerConfig):
        return "will not export to transformers (no class of transformers is this body)"
    try:
        return f"will export to transformers, as {_class_for(objective, body, blocks)}"
    except UserError as error:
        reason = error
    fitting = []
    for preset in FAMILIES:
        with suppress(UserError):
            _class_for(objective, replace(body, preset=preset), blocks)
            fitting.append(preset)
    remedy = f"; --body.preset {' or '.join(fitting)} would" if fitting else ""
    return f"will not export to transformers ({reason}){remedy}"


def export_run(run: TrainedRun, folder: Path, *, class_name: str | None = None) -> str:
    """Writes a run's model as one of transformers' classes into a new folder; returns the name of the class.

    A further body, such as the generator of replaced-token detection, has a folder of its name within.

    Args:
        run: with the weights to write.
        folder: to make.
        class_name: of the main body, where it is more than one class of transformers.

    Raises:
        UserError: where the folder is there already, or no class of transformers is this model.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty: name a new folder")
    objective, vocabulary = run.objective, run.vocabulary
    names = {**objective.exported(run.body), **({} if class_name is None else {MAIN: class_name})}
    bodies = [exported_body(run, role, name) for role, name in names.items()]
    ids = special_ids(objective.template, vocabulary)
    ids |= {} if objective.uses_decoder else {"mask_token_id": vocabulary.mask}
    attention = objective.decoder_attention if not objective.uses_encoder else "causal"

    def fill(writing: Path) -> None:
        goes_on = not objective.uses_encoder and attention != "bidirectional"
        never = vocabulary.never_targets(vocabulary.eos, *objective.inference.special_targets(vocabulary)).tolist()
        for body in bodies:
            home = writing / body.folder
            home.mkdir(exist_ok=True)
            config = {**body.config, "architectures": [body.name], "dtype": "float32", **ids}
            write_json(home / "config.json", {**config, **OF_ATTENTION[attention]})
            if attention == "either":
                write_json(home / BIDIRECTIONAL, {**config, **OF_ATTENTION["bidirectional"]})
            if objective.uses_decoder and attention != "bidirectional":
                write_json(home / "generation_config.json", {**ids, "suppress_tokens": never})
            tensors = {name: tensor.detach().contiguous() for name, tensor in body.weights.items()}
            (home / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
            template, longest = objective.template, run.max_positions
            write_tokenizer(home, run.tokenizer, vocabulary, template, max_positions=longest, pads_left=goes_on)
            (home / "README.md").write_text(card_of(run, body.name), encoding="utf-8")

    write_folder_whole(folder, fill, is_locked=False)
    return ", ".join(f"{body.name}{f' in {body.folder}/' * bool(body.folder)}" for body in bodies)
