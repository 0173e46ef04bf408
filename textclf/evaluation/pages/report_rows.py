"""The rows of a prediction table as the page of a report holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textclf.evaluation.curves import text_lengths
from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.readable_rows import confidences
from textclf.evaluation.shown_rows import shown_rows

MOST_ROWS = 100_000
"""Rows of a page, at most."""
MOST_CHARACTERS = 20_000_000
"""Characters of the texts of a page, at most: with more, it would not open within two seconds."""
SHOWN_CLASSES = 3
"""Classes whose probabilities a row has: the most probable ones."""
LARGEST_EXACT = 2**53
"""Largest whole number up to which a browser holds each one exactly."""
SEED = 0


def embedded_rows(
    table: PredictionTable, most_rows: int = MOST_ROWS, most_characters: int = MOST_CHARACTERS
) -> np.ndarray:
    """Chooses the rows that a page holds: all, or, where they are too many, rather the mistakes.

    Args:
        table: The predictions.
        most_rows: How many rows at most.
        most_characters: Number of characters of their texts, at most.

    Returns:
        Row indices in the split's order, int64, shape (rows,).
    """
    lengths = text_lengths(table)
    size = len(lengths)
    if size <= most_rows and lengths.sum() <= most_characters:
        return np.arange(size)
    drawn = np.random.default_rng(SEED).permutation(size)
    is_wrong = (table.predictions != table.labels)[drawn]
    order = np.concatenate([*shown_rows(table).values(), drawn[is_wrong], drawn[~is_wrong]])
    _, first = np.unique(order, return_index=True)
    order = order[np.sort(first)]  # each row once, where it comes first
    return fitting_rows(order, lengths, most_rows, most_characters)


def fitting_rows(order: np.ndarray, lengths: np.ndarray, most_rows: int, most_characters: int) -> np.ndarray:
    """The first rows of an order that fit into a page.

    Args:
        order: Row indices, the most important first.
        lengths: Number of characters of each row of the table; a row that would fill a page alone is left out.
        most_rows: How many rows at most.
        most_characters: Number of their characters, at most.

    Returns:
        Row indices, ascending.
    """
    order = order[lengths[order] <= most_characters]
    fitting = order[np.cumsum(lengths[order]) <= most_characters]
    return np.sort(fitting[:most_rows])


def rows_data(table: PredictionTable, rows: np.ndarray) -> dict[str, Any]:
    """The rows column by column, as plain values.

    Args:
        table: The predictions.
        rows: Indices of the rows, ascending.

    Returns:
        `names`, `ids`, `texts`, `pairs` (None without), `labels` and `predictions` (class indices), `confidences` and
        `top` (`SHOWN_CLASSES` pairs of a class and its probability in a row; both None without probabilities),
        `lengths`, `kept`, and `lists`: places of the rows of `shown_rows`.
    """
    chosen = rows.tolist()
    place_of = {row: place for place, row in enumerate(chosen)}
    lists = {}
    for name, found in shown_rows(table).items():
        lists[name] = [place_of[row] for row in found.tolist() if row in place_of]
    return {
        "names": list(table.label_names),
        "ids": _picked(table.ids, chosen),
        "texts": _picked(table.texts, chosen),
        "pairs": None if table.text_pairs is None else _picked(table.text_pairs, chosen),
        "labels": table.labels[rows].tolist(),
        "predictions": table.predictions[rows].tolist(),
        "confidences": _confidences(table, rows),
        "top": _top(table, rows),
        "lengths": text_lengths(table)[rows].tolist(),
        "kept": {name: [plain(values[row]) for row in chosen] for name, values in table.kept.items()},
        "lists": lists,
    }


def plain(value: Any) -> str | float | int | None:
    """A value of a kept column for a page: a number, None where it is missing, all else as text.

    Whole numbers that a browser cannot hold exactly, such as long ids, are text, too.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    is_exact = isinstance(value, float) or (isinstance(value, int) and abs(value) <= LARGEST_EXACT)
    return value if is_exact else str(value)


def _picked(values: Sequence[str], rows: Sequence[int]) -> list[str]:
    return [values[row] for row in rows]


def _confidences(table: PredictionTable, rows: np.ndarray) -> list[float | None] | None:
    if not table.has_probabilities:
        return None
    return [None if math.isnan(value) else value for value in confidences(table)[rows].round(4).tolist()]


def _top(table: PredictionTable, rows: np.ndarray) -> list[list[float]] | None:
    """For each row class, probability, class, probability, ...; empty for an invalid answer."""
    if not table.has_probabilities:
        return None
    scores = table.log_scores[rows]
    number = min(SHOWN_CLASSES, scores.shape[1])
    # NaN, which the rows of invalid answers have, comes last; nothing is shown of them.
    best = np.argpartition(-scores, number - 1, axis=1)[:, :number]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    shares = np.exp(np.take_along_axis(scores, best, axis=1)).round(4)
    flat = np.stack([best, shares], axis=2).reshape(len(rows), 2 * number)
    answered = (table.predictions[rows] >= 0).tolist()
    return [line if given else [] for line, given in zip(flat.tolist(), answered, strict=True)]


def confusion_cells(table: PredictionTable) -> list[list[int]]:
    """The cells of the confusion matrix that have rows.

    Args:
        table: The predictions.

    Returns:
        True class, predicted class (-1 for an invalid answer), and number of rows, the largest numbers first.
    """
    pairs = np.stack([table.labels, table.predictions], axis=1)
    cells, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return np.column_stack([cells, counts])[order].tolist()  # type: ignore[no-any-return]  # numpy gives Any


def attributed(attributions: Mapping[str, Any], rows: np.ndarray, ids: Sequence[str]) -> dict[str, Any]:
    """The attributions of the rows of a page by their place.

    Args:
        attributions: The content of `attributions.json`, by the number of the row in the prediction table.
        rows: Numbers of the rows of the page.
        ids: Their ids; a file of an earlier test may have other rows, which are left out.
    """
    found = {}
    for place, (number, id_) in enumerate(zip(rows.tolist(), ids, strict=True)):
        attribution = attributions.get(str(number))
        if isinstance(attribution, Mapping) and attribution.get("id") == id_:
            found[str(place)] = attribution
    return found
