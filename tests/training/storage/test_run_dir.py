"""Run folders: what may change when a run goes on, and what each file keeps."""

from pathlib import Path

import pytest

from training.storage.config_file import FREE, changed_settings, differences, flat
from training.storage.run_dir import RunFolder


def test_settings_are_compared_leaf_by_leaf() -> None:
    assert dict(flat({"a": {"b": 1, "c": {"d": [2]}}, "e": {}})) == {"a.b": 1, "a.c.d": [2], "e": {}}
    before = {"optimizer": {"name": "adamw", "max_grad_norm": 1.0}, "seed": 0}
    after = {"optimizer": {"name": "muon", "max_grad_norm": 1.0}, "seed": 1}
    assert differences(before, after) == ["optimizer.name: adamw -> muon", "seed: 0 -> 1"]


def test_of_a_list_of_settings_only_what_changed_is_named() -> None:
    before = {"task": {"tasks": [{"name": "a"}, {"name": "b", "limit": 1}], "rates": [1, 2]}}
    now = {"task": {"tasks": [{"name": "a"}, {"name": "b", "limit": 2}], "rates": [1, 3]}}
    assert differences(before, now) == ["task.tasks.1.limit: 1 -> 2", "task.rates: [1, 2] -> [1, 3]"]


def test_a_setting_that_an_older_run_does_not_name_was_its_default_of_today() -> None:
    defaults = {"data": {"encoding": "auto"}, "task.tasks.0.init_args": {"columns": {}, "first_label": 0}}
    task = {"name": "a", "columns": {}, "first_label": 0}
    before = {"data": {"window": 4}, "task": {"tasks": [{"init_args": {"name": "a"}}]}}
    now = {"data": {"window": 4, "encoding": "auto"}, "task": {"tasks": [{"init_args": task}]}}
    assert changed_settings(before, now, defaults) == {}
    now["data"]["encoding"] = "cp949"
    task["columns"] = {"test": {"text": "body"}}
    assert differences(before, now, defaults) == [
        "data.encoding: auto -> cp949",
        "task.tasks.0.init_args.columns.test.text: None -> body",
    ]
    assert differences({"data": {"encoding": "utf-8"}}, {"data": {"encoding": "auto"}}, defaults)  # as it was named
    assert differences({"data.gone": 1, "seed": 0}, {"seed": 0}, defaults) == ["data.gone: 1 -> None"]


def test_how_a_run_is_computed_is_free_and_what_is_computed_is_not() -> None:
    for name in FREE:
        head, _, tail = name.partition(".")
        assert not differences({head: {tail: 1} if tail else 1}, {head: {tail: 2} if tail else 2})
    for name in ("batch_size", "window", "corpus", "seed"):
        assert differences({"data": {name: 1}}, {"data": {name: 2}}) == [f"data.{name}: 1 -> 2"]
    assert differences({"trainer": {"precision": "a"}}, {"trainer": {"precision": "b"}})
    assert differences({"budget": {"steps": 1}}, {"budget": {"steps": 2}})


def test_a_run_of_other_settings_is_refused_with_both_values(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_config({"seed": 0})
    folder.write_info(data={})
    folder.check_same({"seed": 0})
    with pytest.raises(ValueError, match=r"other settings \(seed: 0 -> 3\): give this one another --name"):
        folder.check_same({"seed": 3})


def test_a_run_that_failed_before_it_read_its_data_may_be_set_right(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for corpus in ("mistyped", "right"):
        folder.check_same({"data": {"corpus": corpus}})
        folder.write_config({"data": {"corpus": corpus}})
        folder.write_info()
    assert [path.name for path in tmp_path.glob("*.yaml")] == ["config.yaml"]
    assert "right" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


def test_a_later_session_keeps_its_own_settings_beside_the_first(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for devices in (1, 2, 2, 1):
        folder.write_config({"trainer": {"devices": devices}})
        folder.write_info(data={})
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["config-2.yaml", "config.yaml"]


def test_one_process_at_a_time_has_a_folder(tmp_path: Path) -> None:
    held = RunFolder(tmp_path / "run").lock()
    with pytest.raises(ValueError, match="is in use by another process; give this run another --name"):
        RunFolder(tmp_path / "run").lock()
    held.release()
    RunFolder(tmp_path / "run").lock().release()


def test_a_run_is_set_aside_under_a_number_of_its_own(tmp_path: Path) -> None:
    for expected in ("run.1", "run.2"):
        folder = RunFolder(tmp_path / "run")
        folder.path.mkdir()
        folder.write_config({"seed": 0})
        aside = folder.set_aside()
        assert aside is not None
        assert aside.name == expected
    assert RunFolder(tmp_path / "other").set_aside() is None


def test_what_a_run_knows_of_itself_is_added_to_and_its_id_stays(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    first = folder.write_info()
    second = folder.write_info(parameters=5)
    assert second == {**first, "parameters": 5} == folder.read_info()
    assert {"wandb_id", "python", "platform", "versions", "commit"} <= set(first)
    assert first["versions"]["torch"]


def test_half_written_checkpoints_of_a_killed_process_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (folder.checkpoints / ".step-00000002.writing").mkdir(parents=True)
    assert folder.checkpoint_to_resume(print) is None
    assert list(folder.checkpoints.iterdir()) == []
