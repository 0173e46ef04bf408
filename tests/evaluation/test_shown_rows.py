"""Which rows a report shows."""

import numpy as np
import pytest

from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.shown_rows import shown_rows

PROBABILITIES = [
    [0.7, 0.1, 0.1, 0.1],  # right
    [0.9, 0.06, 0.03, 0.01],  # wrong, true class third
    [0.4, 0.3, 0.2, 0.1],  # right, less sure
    [0.6, 0.2, 0.15, 0.05],  # wrong, true class fourth
    [0.5, 0.4, 0.06, 0.04],  # wrong, true class second
]
LABELS = [0, 2, 0, 3, 1]


def table(probabilities=PROBABILITIES, labels=LABELS, has_probabilities=True, classes=4):
    scores = np.log(np.asarray(probabilities, dtype=float)[:, :classes])
    predictions = scores.argmax(axis=1)
    if not has_probabilities:
        scores = np.full_like(scores, np.nan)
    names = tuple("abcd"[:classes])
    ids = [str(row) for row in range(len(labels))]
    return PredictionTable(ids, ids, np.asarray(labels), predictions, scores, names, has_probabilities)


def test_lists_of_rows():
    found = {name: rows.tolist() for name, rows in shown_rows(table()).items()}
    assert found == {"mistakes": [1, 3, 4], "hits": [2, 0], "near_misses": [4, 1]}


def test_lists_are_limited():
    assert {name: len(rows) for name, rows in shown_rows(table(), 1).items()} == dict.fromkeys(
        ("mistakes", "hits", "near_misses"), 1
    )


def test_without_probabilities_there_are_mistakes_alone():
    found = {name: rows.tolist() for name, rows in shown_rows(table(has_probabilities=False)).items()}
    assert found == {"mistakes": [1, 3, 4], "hits": [], "near_misses": []}


@pytest.mark.parametrize("classes", [2, 3])
def test_no_near_miss_with_few_classes(classes):
    few = table(labels=[1, 0, 0, 1, 1], classes=classes)
    assert shown_rows(few)["near_misses"].tolist() == []


def test_an_invalid_answer_is_a_mistake_and_no_near_miss():
    some = table()
    some.predictions[1] = -1
    some.log_scores[1] = np.nan
    found = {name: rows.tolist() for name, rows in shown_rows(some).items()}
    assert found == {"mistakes": [3, 4, 1], "hits": [2, 0], "near_misses": [4]}
