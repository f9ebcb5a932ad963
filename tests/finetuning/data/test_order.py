"""Which rows come when: each once an epoch, in batches of like length, by the seed alone; tasks by their rates."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from finetuning.core.splits import chosen, cut, read_splits
from finetuning.data.batch import InOrder, Order, TaskExample, collate
from finetuning.data.inputs import columns_of
from finetuning.data.rows import DataWarnings, TextRow
from finetuning.data.texts import balanced_weights, shortened
from finetuning.tasks.classification import ClassificationTask
from finetuning.tasks.mixture import MixedOrder, MixtureTask, mixing_rates

FIXED = settings(deadline=None, derandomize=True)


def order(number: int, batch_size: int, seed: int = 0) -> Order:
    lengths = np.random.default_rng(1).integers(3, 100, size=number)
    return Order(lengths, batch_size=batch_size, seed=seed)


@FIXED
@given(st.integers(1, 300), st.integers(1, 16), st.integers(0, 3))
def test_every_example_comes_once_an_epoch(number: int, batch_size: int, epoch: int) -> None:
    made = order(number, batch_size)
    steps = range(epoch * made.steps_per_epoch, (epoch + 1) * made.steps_per_epoch)
    read = np.concatenate([made(step) for step in steps])
    assert sorted(read.tolist()) == list(range(number))
    assert all(len(made(step)) <= batch_size for step in steps)


def test_a_batch_holds_examples_of_like_length_in_no_order_of_lengths() -> None:
    made = order(2048, 16)
    means = [made.lengths[made(step)].mean() for step in range(made.steps_per_epoch)]
    spreads = [np.ptp(made.lengths[made(step)]) for step in range(made.steps_per_epoch)]
    assert np.mean(spreads) < 8  # of 97
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3


def test_the_order_follows_from_the_seed_and_the_step_alone() -> None:
    one, other = order(100, 8), order(100, 8)
    later = [other(step).tolist() for step in (20, 3, 7)]
    assert later == [one(step).tolist() for step in (20, 3, 7)]
    assert one(3).tolist() != order(100, 8, seed=1)(3).tolist()


def test_a_last_batch_is_filled_up_with_rows_that_have_no_labels() -> None:
    labels = {"label": np.array([1])}
    examples = [
        TaskExample(
            token_term="label",
            index=n,
            row=n,
            encoder_ids=np.array([1] * (n + 2)),
            positions={"label": np.array([0])},
            labels=labels,
        )
        for n in range(3)
    ]
    made = InOrder(examples, Order(np.array([2, 3, 4]), batch_size=4, seed=0))
    batch = collate(made.__getitems__([0, 1, 2, 3]), pad=0)
    assert sorted(batch.indices) == [-1, 0, 1, 2]
    assert len(batch.labels["label"].ids_N) == 3


# --- mixtures ---


def test_rates_are_those_of_the_examples_with_a_limit_and_a_temperature() -> None:
    """Raffel et al. 2020, 3.5.2."""
    np.testing.assert_allclose(mixing_rates([100, 300], limit=None, temperature=1.0), [0.25, 0.75])
    np.testing.assert_allclose(mixing_rates([100, 300], limit=100, temperature=1.0), [0.5, 0.5])
    root = np.sqrt([100, 400])
    np.testing.assert_allclose(mixing_rates([100, 400], limit=None, temperature=2.0), root / root.sum())
    np.testing.assert_allclose(mixing_rates([100, 400], limit=None, temperature=1e9), [0.5, 0.5], atol=1e-6)


def test_a_mixture_draws_each_task_by_its_rate_and_repeats_no_row_before_all_have_come() -> None:
    parts = np.array([0] * 60 + [1] * 20)
    lengths = np.arange(80) % 7 + 3
    made = MixedOrder(lengths, parts=parts, rates=np.array([0.25, 0.75]), batch_size=8, seed=0)
    epochs = [made.examples_of(epoch) for epoch in range(3)]
    for epoch in epochs:
        assert [int((parts[epoch] == part).sum()) for part in (0, 1)] == [20, 60]
    first = np.concatenate(epochs)[parts[np.concatenate(epochs)] == 0]
    assert sorted(first.tolist()) == list(range(60))  # 3 epochs of 20
    second = np.bincount(epochs[0][parts[epochs[0]] == 1], minlength=80)[60:]
    assert (second == 3).all()
    assert made(5).tolist() == MixedOrder(
        lengths, parts=parts, rates=np.array([0.25, 0.75]), batch_size=8, seed=0
    )(5).tolist()  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tasks": ()}, "at least one"),
        ({"limit": 0}, r"task\.limit = 0 must be at least 1"),
        ({"temperature": 0.0}, r"task\.temperature = 0.0 must be above 0"),
    ],
)
def test_impossible_mixtures_are_refused(settings: dict[str, Any], expected: str) -> None:
    tasks = (ClassificationTask(name="one", train="one.tsv"),)
    with pytest.raises(ValueError, match=expected):
        MixtureTask(**{"name": "all", "tasks": tasks, **settings})


# --- splits ---


def rows(number: int) -> list[TextRow]:
    return [TextRow(texts=(f"text {n // 2}",), label="a", origin=f"row {n}") for n in range(number)]


def test_what_is_held_out_does_not_depend_on_the_order_and_parts_no_equal_texts() -> None:
    task = ClassificationTask(name="tiny", train="x.tsv")
    learned, held_out = cut(task, rows(200), 0.1)
    backwards = cut(task, rows(200)[::-1], 0.1)
    assert {row.texts for row in held_out} == {row.texts for row in backwards[1]}
    assert not {row.texts for row in held_out} & {row.texts for row in learned}
    assert len(learned) + len(held_out) == 200
    assert len(held_out) == 20
    assert [row.origin for row in chosen(task, rows(50), 10)] == sorted(
        (row.origin for row in chosen(task, rows(50), 10)), key=lambda name: int(name.split()[1])
    )


def test_weights_are_never_chosen_on_what_is_reported() -> None:
    with pytest.raises(ValueError, match=r"leave task\.development null to cut it from task\.train"):
        ClassificationTask(name="tiny", train="a.tsv", development="b.tsv", test="b.tsv")
    with pytest.raises(ValueError, match=r"task\.metric = 'bleu' is none of accuracy, macro_f1, mcc, f1"):
        ClassificationTask(name="tiny", train="a.tsv", metric="bleu")


def test_a_train_split_too_small_to_hold_any_out_is_refused(tmp_path: Any) -> None:
    (tmp_path / "one.tsv").write_text("text\tlabel\ngood\ta\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"too few to hold 10% out of: name a task\.development"):
        read_splits(ClassificationTask(name="tiny", train=str(tmp_path / "one.tsv")), DataWarnings())


def test_a_mistake_in_a_mixture_names_its_task(tmp_path: Any) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "good\ta\nbad\tb\n" * 20, encoding="utf-8")
    sound = ClassificationTask(name="one", train=str(tmp_path / "a.tsv"))
    for wrong, expected in (
        (
            ClassificationTask(name="two", train="no/such.tsv"),
            r"^task\.tasks, two: task\.train: no file at 'no/such\.tsv'",
        ),
        (ClassificationTask(name="two", train=str(tmp_path / "a.tsv"), texts=("txt",)), r"^task\.tasks, two: .*'txt'"),
        (
            ClassificationTask(name="two", train=str(tmp_path / "a.tsv"), form="many"),
            r"^task\.tasks, two: .*have no form as text",
        ),
    ):
        with pytest.raises(ValueError, match=expected):
            MixtureTask(name="both", tasks=(sound, wrong)).splits(DataWarnings())


# --- texts ---


@FIXED
@given(st.lists(st.integers(0, 40), min_size=1, max_size=2), st.integers(0, 50))
def test_the_longer_of_two_texts_gives_way_first_as_in_tokenizers(lengths: list[int], room: int) -> None:
    texts = [list(range(length)) for length in lengths]
    kept = shortened(texts, room)
    assert sum(map(len, kept)) == min(sum(lengths), room)
    assert all(text[: len(part)] == part for text, part in zip(texts, kept, strict=True))
    reference = list(lengths)  # one token at a time, as in BERT's truncate_seq_pair
    while sum(reference) > room:
        reference[reference.index(max(reference))] -= 1
    assert sorted(map(len, kept)) == sorted(reference)
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(room, strategy="longest_first")
    first, second = [" ".join(letter * length) for letter, length in zip("ab", [*lengths, 0], strict=False)]
    encoded = tokenizer.encode(first, second if len(lengths) > 1 else None)
    assert [encoded.ids.count(number) for number in range(len(lengths))] == [len(part) for part in kept]


def test_balanced_weights_have_the_mean_1_over_the_rows() -> None:
    ids = np.array([0] * 6 + [2] * 2)
    weights = balanced_weights(ids, 3)
    assert weights == pytest.approx([8 / 12, 0.0, 2.0])
    assert np.array(weights)[ids].mean() == pytest.approx(1.0)


def test_an_input_is_a_text_or_columns() -> None:
    assert columns_of("one\ttwo", ("a", "b")) == ("one", "two")
    assert columns_of({"a": "one", "b": "two"}, ("a", "b")) == ("one", "two")
    assert columns_of("with\ttab", ("a",)) == ("with\ttab",)
    for given_, columns in (("one", ("a", "b")), ({"a": "one"}, ("a", "b")), (3, ("a",))):
        with pytest.raises(ValueError, match=r"parted by a tab|no column|neither a text"):
            columns_of(given_, columns)
