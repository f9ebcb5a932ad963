"""Old names become today's wherever a file may hold them, and today's are left alone."""

import importlib
from typing import Any

import pytest
import yaml

from finetuning.core.task import Task
from objectives.core.base import Objective
from objectives.masked_lm import MaskedLM
from tests.objectives.texts import made
from training.storage import old_names
from training.storage.old_names import (
    is_old_declaration,
    renamed_config,
    renamed_info,
    renamed_metrics,
    renamed_parameter,
    renamed_settings,
    renamed_study,
    resolved_settings,
)

MASKED_LM = "objectives.masked_lm.MaskedLM"
OLD = {
    "model": {
        "class_path": "objectives.schedule.Schedule",
        "init_args": {"order": "mixed", "transformer": {"width": 4}},
    },
    "transformer": {"width": 4, "layers": [2, 2]},
    "optimizer": {"final": 0.1, "clip": None, "warmup": 1},
    "task": {
        "init_args": {"tasks": [{"class_path": "finetuning.mixture.MixtureTask", "init_args": {"name": "final"}}]}
    },
    "start": {"transformer": {"width": 4}, "num_blocks": [2, 0]},
}
NEW = {
    "model": {
        "class_path": "objectives.mixtures.schedule.Schedule",
        "init_args": {"order": "mixed", "body": {"width": 4}},
    },
    "body": {"width": 4, "layers": [2, 2]},
    "optimizer": {"min_lr_ratio": 0.1, "max_grad_norm": None, "warmup": 1},
    "task": {
        "init_args": {"tasks": [{"class_path": "finetuning.tasks.mixture.MixtureTask", "init_args": {"name": "final"}}]}
    },
    "start": {"body": {"width": 4}, "num_blocks": [2, 0]},
}


def test_settings_have_todays_names_at_every_depth_and_in_their_order() -> None:
    assert renamed_settings(OLD) == NEW
    assert list(renamed_settings(OLD["optimizer"] | OLD)) == ["final", "clip", "warmup", *NEW]  # a group alone is none


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("transformer.layers", "body.layers"),
        ("optimizer.final", "optimizer.min_lr_ratio"),
        ("optimizer.clip", "optimizer.max_grad_norm"),
        ("model.init_args.transformer.width", "model.init_args.body.width"),
        ("model.init_args.optimizer.clip", "model.init_args.optimizer.max_grad_norm"),
        ("transformers", "transformers"),
        ("logging.final", "logging.final"),
        ("task.init_args.transformer", "task.init_args.transformer"),
    ],
)
def test_a_dotted_key_has_todays_name(old: str, new: str) -> None:
    assert renamed_settings({old: 1}) == {new: 1}


@pytest.mark.parametrize("rename", [renamed_settings, renamed_study, renamed_info, renamed_metrics])
def test_what_is_called_as_today_is_left_alone(rename: Any) -> None:
    assert rename(NEW) == NEW
    study = {"arms": {"a": {"settings": {"body.layers": "4"}}}, "branches": [1], "deviations": []}
    assert rename(study) == study


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        ({"next_sentence": True}, {"second_segment": "next_sentence"}),
        ({"next_sentence": False}, {"second_segment": "none"}),
        ({"next_sentence": False, "second_segment": "next_sentence"}, {"second_segment": "none"}),  # it goes over it
        ({"next_sentence": None, "second_segment": "sentence_order"}, {"second_segment": "sentence_order"}),
        ({"unit": "word"}, {"unit": "word"}),
    ],
)
def test_what_next_sentence_was_is_the_second_segment_of_a_masked_lm(
    given: dict[str, Any], resolved: dict[str, Any]
) -> None:
    def config(class_path: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {"model": {"class_path": class_path, "init_args": settings}, "seed": 0}

    assert resolved_settings(config(MASKED_LM, given)) == config(MASKED_LM, resolved)
    assert resolved_settings(config("theirs.Objective", given)) == config("theirs.Objective", given)
    if "sentence_order" not in given.values():
        assert made(MaskedLM, **given).second_segment == made(MaskedLM, **resolved).second_segment


def test_every_class_is_where_its_name_leads() -> None:
    for path in old_names.CLASSES.values():
        module, _, name = path.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), name), Objective | Task)


def test_a_config_is_rewritten_only_where_it_has_an_old_name() -> None:
    text = "# a comment\noptimizer: {learning_rate: 1e-3}\n"
    assert renamed_config(text) == text
    assert renamed_config("a: [") == "a: ["
    assert yaml.safe_load(renamed_config("# a comment\ntransformer: {width: 4}\n")) == {"body": {"width": 4}}


def test_a_study_has_todays_names_in_its_arms_and_in_what_its_evaluations_set() -> None:
    def study(settings: dict[str, Any], branches: str) -> dict[str, Any]:
        arm = {"config": ["a.yaml"], "settings": settings}
        return {"arms": {"settings of": arm}, "shared": arm, "evaluations": {"fine_tuned": {"tasks": {"sst2": arm}}},
                branches: [256]}  # fmt: skip

    old = study({"transformer.layers": "4", "optimizer.clip": "null"}, "forks")
    new = study({"body.layers": "4", "optimizer.max_grad_norm": "null"}, "branches")
    assert renamed_study(old) == new
    assert is_old_declaration(old)
    assert not is_old_declaration(new)


def test_run_json_has_todays_names() -> None:
    old = {"begun_with": {"origin": "x"}, "data": {"faults": {"read": 3}, "sha256": {}}, "faults": 1}
    assert renamed_info(old) == {"initialized_from": {"origin": "x"}, "data": {"warnings": {"read": 3}, "sha256": {}},
                                 "faults": 1}  # fmt: skip


def test_metrics_have_todays_names() -> None:
    assert renamed_metrics({"step": 1, "train/stranger_share": 0.5}) == {"step": 1, "train/random_segment_share": 0.5}


@pytest.mark.parametrize("name", ["encoder.blocks.0.self_norm.weight", "decoder.final_norm.weight"])
def test_a_parameter_of_the_body_has_todays_name(name: str) -> None:
    assert renamed_parameter(f"transformer.{name}") == f"body.{name}" == renamed_parameter(f"body.{name}")
    assert renamed_parameter(f"head.transformer.{name}") == f"head.transformer.{name}"


def test_tables_of_the_body_moved_into_a_module_of_embeddings() -> None:
    renamed = {
        "transformer.encoder.position_table.weight": "body.encoder.embeddings.position_table.weight",
        "transformer.encoder.segment_table.weight": "body.encoder.embeddings.segment_table.weight",
        "transformer.decoder.embedding_norm.bias": "body.decoder.embeddings.norm.bias",
        "transformer.token_table.weight": "body.token_table.weight",
        "transformer.encoder.relative_table.weight": "body.encoder.relative_table.weight",
        "next_sentence_head.pooler.weight": "next_sentence_head.pooler.weight",
    }
    for before, now in renamed.items():
        assert renamed_parameter(before) == renamed_parameter(now) == now
