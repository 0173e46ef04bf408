"""Which rows of a prediction table a report shows: surest mistakes, least certain hits, near misses."""

import numpy as np

from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.readable_rows import confidences, worst_mistakes

SHOWN = 50
"""Rows of each list, at most."""
NEAR = 3
"""A mistake is a near miss if its true class is among so many of the most probable classes."""


def shown_rows(table: PredictionTable, number: int = SHOWN) -> dict[str, np.ndarray]:
    """The rows that the page of a report lists.

    Args:
        table: The predictions.
        number: Rows of each list, at most.

    Returns:
        Row indices, int64, by the name of the list: `mistakes` (most confident first), `hits` (least confident first)
        and `near_misses` (most confident first). Without probabilities, only `mistakes` has rows.
    """
    return {
        "mistakes": worst_mistakes(table, number),
        "hits": unsure_hits(table, number),
        "near_misses": near_misses(table, number),
    }


def unsure_hits(table: PredictionTable, number: int) -> np.ndarray:
    """Finds the right predictions with the lowest probability.

    Args:
        table: The predictions.
        number: How many rows at most.

    Returns:
        Row indices, int64, shape (rows,), lowest probability first; none without probabilities.
    """
    probabilities = confidences(table)
    hits = np.flatnonzero((table.predictions == table.labels) & np.isfinite(probabilities))
    return hits[np.argsort(probabilities[hits], kind="stable")[:number]]


def near_misses(table: PredictionTable, number: int) -> np.ndarray:
    """Finds the wrong predictions whose true class is among the `NEAR` most probable ones.

    Args:
        table: The predictions.
        number: How many rows at most.

    Returns:
        Row indices, int64, shape (rows,), highest probability of the true class first. None without probabilities, and
        none with `NEAR` classes or fewer, where every mistake would be one.
    """
    if len(table.label_names) <= NEAR:
        return np.empty(0, dtype=np.int64)
    wrong = np.flatnonzero((table.predictions != table.labels) & np.isfinite(confidences(table)))
    scores = table.log_scores[wrong]
    of_truth = np.take_along_axis(scores, table.labels[wrong, None], axis=1)
    near = (scores > of_truth).sum(axis=1) < NEAR
    found: np.ndarray = wrong[near]
    return found[np.argsort(-of_truth[near, 0], kind="stable")[:number]]
