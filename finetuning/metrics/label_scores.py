"""The metrics that each form of a label is reported by, the form's own first."""

from collections.abc import Sequence

import numpy as np

from finetuning.metrics.metrics import Score, accuracy, f1, macro_f1, mcc, micro_f1, pearson, span_f1, spearman


def scores_of_labels(predicted: np.ndarray, gold: np.ndarray, *, num_labels: int) -> dict[str, Score]:
    """Of int64[rows] ids."""
    of_two = {"f1": f1(predicted, gold)} if num_labels == 2 else {}
    shared = {"macro_f1": macro_f1(predicted, gold), "mcc": mcc(predicted, gold)}
    return {"accuracy": accuracy(predicted, gold), **shared, **of_two}


def scores_of_sets(predicted: np.ndarray, gold: np.ndarray) -> dict[str, Score]:
    """Of bool[rows, labels]."""
    averages = {"macro_f1": macro_f1(predicted, gold), "micro_f1": micro_f1(predicted, gold)}
    return {"accuracy": accuracy(predicted, gold), **averages}


def scores_of_numbers(predicted: np.ndarray, gold: np.ndarray) -> dict[str, Score]:
    """Of float64[rows]."""
    return {"pearson": pearson(predicted, gold), "spearman": spearman(predicted, gold)}


def scores_of_tags(
    predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]], *, entities: bool
) -> dict[str, Score]:
    """F1 of entities with its parts where tags encode them, and the accuracy of the tags."""
    predicted, wanted = (np.concatenate(list(map(np.array, tags))) for tags in (predictions, gold))
    of_words = {"accuracy": Score(value=accuracy(predicted, wanted).value)}  # its items are words, not rows
    if not entities:
        return of_words
    spans = span_f1(predictions, gold)
    parts = {name: Score(value=value) for name, value in spans.parts.items() if "/" not in name}
    return {"span_f1": spans, **parts, **of_words}
