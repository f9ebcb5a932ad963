"""Folders that `datasets` saved are read as they are, and a hub data set is known by its commit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from common.errors import MachineError, UserError
from data.datamodule import DataModule
from data.store.recipe import Recipe, tokenizer_file
from data.store.store import find_or_build, read_manifest
from data.text.corpora import Corpus
from data.text.sources import RowSource
from data.tokens.tokenizer import load_tokenizer, train_tokenizer
from tests.helpers import made_up_documents

TEXTS = made_up_documents(30)
FEATURES = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"]))


def saved(folder: Path, texts: list[str], **settings: Any) -> Path:
    rows = {"text": texts, "label": [number % 2 for number in range(len(texts))]}
    datasets.Dataset.from_dict(rows, features=FEATURES).save_to_disk(folder, **settings)
    return folder


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    parts = {"train": TEXTS[:20], "validation": TEXTS[20:]}
    made: Any = {
        split: datasets.Dataset.from_dict({"text": texts, "n": [0] * len(texts)}) for split, texts in parts.items()
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path / "several")
    return tmp_path / "several"


def test_a_folder_that_was_saved_is_a_corpus_in_its_order(tmp_path: Path) -> None:
    folder = saved(tmp_path / "one", TEXTS, num_shards=3)
    corpus = Corpus(source=(str(folder),))
    assert list(corpus.texts()) == TEXTS
    assert [source["name"] for source in corpus.fingerprint()["source"]] == sorted(
        file.name for file in folder.glob("*.arrow")
    )
    store = find_or_build(Recipe(corpus=corpus, vocab_size=420), tmp_path / "cache", report=lambda line: None)
    other = saved(tmp_path / "two", TEXTS[::-1], num_shards=3)
    assert Recipe(corpus=Corpus(source=(str(other),)), vocab_size=420).fingerprint() != store.name


def test_a_folder_of_several_splits_is_read_split_by_split(splits: Path) -> None:
    corpus = Corpus(source=(str(splits),))
    assert list(corpus.texts()) == TEXTS[:20]
    assert list(corpus.held_out(("validation",)).texts()) == TEXTS[20:]
    assert corpus.fingerprint() != corpus.held_out(("validation",)).fingerprint()
    with pytest.raises(UserError, match=r"has no split 'test' \(it has: train, validation\)"):
        list(Corpus(source=(str(splits),), split="test").texts())


def test_a_folder_that_was_saved_is_the_rows_of_a_task(splits: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "one", TEXTS[:2])
    rows = [{"text": TEXTS[0], "label": "bad"}, {"text": TEXTS[1], "label": "good"}]
    assert [row for _, row in RowSource(name=(str(folder),)).rows()] == rows
    held_out = RowSource(name=(str(splits),), split="validation")
    assert [row["text"] for _, row in held_out.rows()] == TEXTS[20:]
    with pytest.raises(UserError, match=r"task\.test: '.*one' is one data set .*has no split 'test'"):
        list(RowSource(name=(str(folder),), split="test", key="task.test").rows())


def test_a_damaged_list_of_files_is_refused_by_name(tmp_path: Path) -> None:
    folder = saved(tmp_path / "one", TEXTS)
    (folder / "state.json").write_text("{}")
    with pytest.raises(UserError, match=r"state\.json: no list of the files of a saved data set"):
        Corpus(source=(str(folder),)).files()


class Hub:
    """A hub data set of which there are several commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.head, self.read = "a" * 40, list[Any]()
        self.asked = list[Any]()
        monkeypatch.setattr(datasets, "load_dataset_builder", self.builder)
        monkeypatch.setattr(datasets, "load_dataset", self.dataset)

    def builder(self, name: str, configuration: str | None, revision: str | None = None) -> Any:
        return type("Builder", (), {"hash": {"v1": "c" * 40, None: self.head}[revision]})

    def dataset(self, *names: str | None, split: str, revision: str | None = None) -> datasets.Dataset:
        self.read.append(revision)
        self.asked.append((*names, split))
        return datasets.Dataset.from_dict({"text": TEXTS, "body": [f"{names[0]} {split}"] * len(TEXTS)})


def test_a_hub_data_set_that_changed_has_another_store_and_each_is_read_at_its_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub(monkeypatch)
    before = Corpus(source=("owner/name",))
    assert before.fingerprint()["revision"] == "a" * 40
    hub.head = "b" * 40
    after = Corpus(source=("owner/name",))
    assert Recipe(corpus=before).fingerprint() != Recipe(corpus=after).fingerprint()
    assert [list(corpus.texts()) for corpus in (before, after)] == [TEXTS] * 2
    assert hub.read == ["a" * 40, "b" * 40]
    pinned = Corpus(source=("owner/name",), revision="a" * 40)
    assert pinned.fingerprint() == before.fingerprint()
    assert Corpus(source=("owner/name",), revision="v1").fingerprint()["revision"] == "c" * 40
    assert pinned.held_out(("test",)).fingerprint()["revision"] == "a" * 40


def test_several_hub_data_sets_saved_folders_and_files_are_one_corpus_in_its_order(
    splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(monkeypatch)
    (tmp_path / "a.txt").write_text("one\n\ntwo", encoding="utf-8")
    sources = ("owner/one", str(tmp_path / "a.txt"), str(splits), "owner/two")
    corpus = Corpus(
        source=sources,
        configuration=("ko", None, None, None),
        split=("train", "train", "validation", "test"),
        text_column=("body", "text", "text", "text"),
    )
    shown = [*["owner/one train"] * 30, "one\n\ntwo", *TEXTS[20:], *TEXTS]
    assert list(corpus.texts()) == shown
    assert hub.asked == [("owner/one", "ko", "train"), ("owner/two", None, "test")]
    found = corpus.fingerprint()["source"]
    assert [part.get("revision") for part in found] == ["a" * 40, None, None, "a" * 40]
    assert [part["name"] for part in found] == ["owner/one", "a.txt", "data-00000-of-00001.arrow", "owner/two"]
    assert found[0]["configuration"] == "ko"


def test_each_of_several_hub_data_sets_is_in_the_fingerprint_with_its_commit_split_and_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, names = Hub(monkeypatch), ("owner/one", "owner/two")
    corpora = [
        Corpus(source=names),
        Corpus(source=names[::-1]),
        Corpus(source=(*names, "embedded")),
        Corpus(source=names, split=("train", "test")),
        Corpus(source=names, split=("test", "train")),
        Corpus(source=names, configuration=("ko", None)),
        Corpus(source=names, revision=(None, "v1")),
        Corpus(source=names, revision=("v1", None)),
        Corpus(source=names, text_column=("text", "body")),
    ]
    found = [str(corpus.fingerprint()) for corpus in corpora]
    hub.head = "b" * 40
    found += [str(Corpus(source=names).fingerprint())]
    assert len(set(found)) == len(corpora) + 1


def test_the_split_of_validation_is_that_of_every_source_that_has_splits(
    splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(monkeypatch)
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"body": "two"}', encoding="utf-8")
    corpus = Corpus(
        source=("owner/one", str(tmp_path / "a.txt"), str(splits)),
        configuration=("ko", None, None),
        text_column=("body", "text", "text"),
    )
    held_out = corpus.held_out(("validation",))
    assert list(held_out.texts()) == [*["owner/one validation"] * 30, *TEXTS[20:]]
    assert hub.asked == [("owner/one", "ko", "validation")]
    by_one_column = Corpus(source=("owner/one", "owner/two"), text_column="body", split=("a", "b"))
    assert list(by_one_column.held_out((str(tmp_path / "b.jsonl"),)).texts()) == ["two"]
    with pytest.raises(UserError, match=r"data\.text_column = \['body', 'text', 'text'\] has 3 for the 1 of data\.val"):
        corpus.held_out((str(tmp_path / "b.jsonl"),))


def test_settings_of_several_sources_are_one_or_one_for_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Hub(monkeypatch)
    names = ["owner/one", "owner/two"]
    data = DataModule(corpus=names, configuration=["ko", None], split=["test", "test"], cache=tmp_path)
    assert data.recipe.corpus == Corpus(source=tuple(names), configuration=("ko", None), split="test")
    with pytest.raises(
        UserError, match=r"data\.split = \['a', 'b', 'c'\] has 3 for the 2 of data\.corpus: give one for"
    ):
        DataModule(corpus=names, split=["a", "b", "c"])
    store = find_or_build(replace(data.recipe, vocab_size=420), tmp_path, report=lambda line: None)
    assert read_manifest(store)["train"]["documents"] + read_manifest(store)["validation"]["documents"] == 60


def test_local_and_embedded_text_has_no_revision(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n\nb")
    assert "revision" not in Corpus().fingerprint()
    assert "revision" not in Corpus(source=(str(tmp_path / "a.txt"),)).fingerprint()


def test_a_tokenizer_is_taken_by_the_name_of_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    copy = tmp_path / "models--owner--name"
    snapshot = copy / "snapshots" / ("d" * 40)
    snapshot.mkdir(parents=True)
    (copy / "refs").mkdir()
    (copy / "refs" / "main").write_text("d" * 40)
    train_tokenizer(iter(TEXTS), kind="byte_bpe", vocab_size=420).save(str(snapshot / "tokenizer.json"))
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    assert Path(tokenizer_file("owner/name")) == snapshot / "tokenizer.json"
    assert load_tokenizer(Path(tokenizer_file("owner/name"))).get_vocab_size() == 420
    with pytest.raises(MachineError, match=r"data\.tokenizer: 'owner/other' is no file here, .* or name a tokenizer"):
        tokenizer_file("owner/other")
    (snapshot / "tokenizer.json").unlink()
    with pytest.raises((MachineError, UserError), match=r"owner/name"):
        tokenizer_file("owner/name")
    assert tokenizer_file("bpe") == "bpe"
    assert tokenizer_file("nowhere/tokenizer.json") == "nowhere/tokenizer.json"


@pytest.mark.parametrize("kind", ["EntryNotFoundError", "RepositoryNotFoundError"])
def test_a_model_without_a_tokenizer_json_and_a_name_of_none_are_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx
    import huggingface_hub
    from huggingface_hub import errors

    def refuse(name: str, file: str) -> str:
        raise getattr(errors, kind)("no such thing", **({"response": answer} if kind.startswith("Rep") else {}))

    answer = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(UserError, match=r"data\.tokenizer: 'owner/name'"):
        tokenizer_file("owner/name")


def test_files_that_are_named_twice_and_those_of_validation_that_are_trained_on_are_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("\n\n".join(TEXTS), encoding="utf-8")
    corpus = Corpus(source=(str(folder), str(folder / "a.txt")))
    recipe = Recipe(corpus=corpus, validation=corpus.held_out((str(folder / "b.txt"),)), vocab_size=420)
    lines: list[str] = []
    find_or_build(recipe, tmp_path / "cache", report=lines.append)
    warned = [line.replace(str(folder.resolve()), "texts") for line in lines if line.startswith("warning: data.")]
    assert warned == [
        "warning: data.corpus names texts/a.txt 2 times, and it is read as often",
        "warning: data.validation reads texts/b.txt, which is trained on too: its loss is no held-out one",
    ]


def test_each_of_several_sources_may_have_an_encoding_of_its_own(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    for name, encoding in zip(names, ("cp949", "utf-8"), strict=True):
        Path(name).write_bytes(f"철수는 학교에서 책을 읽었다 {encoding}".encode(encoding))
    corpus = Corpus(source=tuple(names), encoding=("cp949", "auto"))
    assert list(corpus.texts()) == [f"철수는 학교에서 책을 읽었다 {encoding}" for encoding in ("cp949", "utf-8")]
    assert [source.get("encoding") for source in corpus.fingerprint()["source"]] == ["cp949", None]
    assert DataModule(corpus=names, encoding=["euc-kr", "auto"]).recipe.corpus.encoding == ("euc_kr", "auto")
    with pytest.raises(UserError, match=r"b\.txt, line 1: is not cp949, as its setting has it: it is utf-8"):
        list(Corpus(source=tuple(names), encoding="cp949").texts())
