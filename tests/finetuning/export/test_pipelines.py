"""Transformers' pipelines on an exported folder have the labels and tags of predict.py: 50 inputs, every family."""

import itertools

import numpy as np
import pytest

from finetuning.data.batch import collate
from finetuning.data.rows import DataWarnings
from finetuning.metrics.spans import split_words
from tests.finetuning.export.pipelines import LONG, TEXTS, TOLERANCE, Export, cases, pipeline, pooled, predicted

# --- classification ---


@pytest.mark.parametrize("name", cases("bart", "bert", "bert wordpiece", "gpt2", "gpt2 plain", "lab", "t5", "t5_v1_1"))
def test_a_label_and_its_probability_are_the_same(exported: Export, name: str) -> None:
    tuned, folder = exported("classification", name, *pooled(name))
    pipe = pipeline("text-classification", folder, top_k=None, truncation=True, batch_size=16)
    ours, theirs = predicted(tuned, TEXTS), pipe(TEXTS)
    for mine, other in zip(ours, theirs, strict=True):
        assert {answer["label"]: answer["score"] for answer in other} == pytest.approx(
            mine["probabilities"], abs=TOLERANCE
        )
        assert other[0]["label"] == mine["label"]
    assert {mine["label"] for mine in ours} == {"animal", "none"}


@pytest.mark.parametrize("name", cases("gpt2", "bert", "lab", "bart", "t5", "t5_v1_1"))
def test_several_labels_are_the_same(exported: Export, name: str) -> None:
    tuned, folder = exported("several labels", name, *pooled(name))
    pipe = pipeline("text-classification", folder, top_k=None, truncation=True, batch_size=16)
    ours, theirs = predicted(tuned, TEXTS), pipe(TEXTS)
    for mine, other in zip(ours, theirs, strict=True):
        found = {answer["label"]: answer["score"] for answer in other}
        assert found == pytest.approx(mine["probabilities"], abs=TOLERANCE)
        assert {label for label, score in found.items() if score > 0.5} == set(mine["labels"])
    assert len({tuple(mine["labels"]) for mine in ours}) > 1


@pytest.mark.parametrize("name", cases("bert", "bart", "t5", "t5_v1_1"))
def test_a_number_is_the_same_on_its_own_scale(exported: Export, name: str) -> None:
    tuned, folder = exported("regression", name, *pooled(name))
    pipe = pipeline("text-classification", folder, truncation=True, batch_size=16)
    ours = [mine["number"] for mine in predicted(tuned, TEXTS)]
    assert [answer["score"] for answer in pipe(TEXTS)] == pytest.approx(ours, abs=TOLERANCE * 14)  # of about 14
    assert np.ptp(ours) > 0.1


@pytest.mark.parametrize("name", cases("bert", "gpt2", "lab", "bart", "t5", "t5_v1_1"))
def test_two_texts_are_distinguished_and_cut_alike(exported: Export, name: str) -> None:
    tuned, folder = exported("pairs", name, *pooled(name))
    others = [text or "?" for text in reversed(TEXTS)]  # an empty second text is none to transformers
    pipe = pipeline("text-classification", folder, top_k=None, truncation=True, batch_size=16)
    inputs = [{"text": one, "other": other} for one, other in zip(TEXTS, others, strict=True)]
    ours = predicted(tuned, inputs)
    theirs = pipe([{"text": row["text"], "text_pair": row["other"]} for row in inputs])
    for mine, other in zip(ours, theirs, strict=True):
        assert {answer["label"]: answer["score"] for answer in other} == pytest.approx(
            mine["probabilities"], abs=TOLERANCE
        )
    assert {mine["label"] for mine in ours} == {"animal", "none"}


# --- tags ---


@pytest.mark.parametrize("name", cases("bert wordpiece", "bert", "gpt2", "lab", "t5", "t5_v1_1"))
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_groups_of_entities_are_the_same_where_the_likeliest_tags_follow(exported: Export, name: str) -> None:
    """And the tags of every word with their probabilities everywhere.

    The pipeline takes a token for another word where one begins at the same character: behind a blank that is a token
    by itself, and within a text's first letter.
    """
    tuned, folder = exported("entities", name)
    module = tuned.module
    plain = pipeline("token-classification", folder, aggregation_strategy="none", ignore_labels=[])
    grouped = pipeline("token-classification", folder, aggregation_strategy="first")
    parted = [" ".join(text[slice(*place)] for place in split_words(text)) for text in TEXTS if text not in LONG]
    num_same, found = 0, set()
    for text, mine in zip(parted, predicted(tuned, parted), strict=True):
        (example,) = module.examples([module.row_of(text)], DataWarnings())
        batch = collate([example], pad=module.start.vocabulary.pad)
        (output,) = module.outputs(module.scores(batch), batch)
        assert example.where is not None
        theirs = {token["index"]: token for token in plain(text)}
        tags = [theirs[place]["entity"] for place in example.where.tolist()]
        for place, tag in zip(example.where.tolist(), tags, strict=True):
            assert module.labels[output[place].argmax()] == tag
            assert theirs[place]["score"] == pytest.approx(np.exp(output[place].max()), abs=TOLERANCE)
        begins = [token["start"] for token in theirs.values()]
        follow = [tag[0] != "I" or before in (tag, f"B{tag[1:]}") for before, tag in itertools.pairwise(["O", *tags])]
        if len(set(begins)) == len(begins) and all(follow):
            groups = [(group["entity_group"], group["start"], group["end"]) for group in grouped(text)]
            assert groups == [(one["kind"], one["start"], one["end"]) for one in mine["entities"]]
            num_same, found = num_same + 1, found | {tuple(groups)}
    assert num_same >= 10
    assert len(found) > 2
