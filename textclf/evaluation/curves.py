"""The numbers behind the figures and pages of a report: calibration, selective prediction, ranking, and lengths."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from textclf.evaluation.intervals import UNKNOWN, Interval, accuracy_interval
from textclf.evaluation.metrics import CALIBRATION_BINS, LARGEST_BELOW_ONE
from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.readable_rows import confidences

LENGTH_GROUPS = 8
"""Groups of rows by length, at most."""
FEWEST_OF_A_GROUP = 20
"""Rows of a group by length, where there are enough for two groups."""


def confusion_counts(table: PredictionTable) -> np.ndarray:
    """The confusion matrix, int64, shape (num_classes, num_classes + 1).

    Args:
        table: The predictions.

    Returns:
        Counts: row = target, column = prediction, the last column being the invalid answers.
    """
    size = len(table.label_names)
    counts = np.zeros((size, size + 1), dtype=np.int64)
    np.add.at(counts, (table.labels, table.predictions), 1)  # -1 is the last column
    return counts


class Calibration(NamedTuple):
    """Confidence and accuracy in bins of equal width.

    Attributes:
        edges: Edges of the bins from 0 to 1, shape (bins + 1,).
        rows: Rows of each bin, shape (bins,).
        confidence: Mean probability of the most probable class, shape (bins,); NaN in an empty bin.
        accuracy: Share of the rows whose most probable class is the true one, with its 95 % interval; NaN in an empty
            bin.
        ece: Expected calibration error, as in the report.
    """

    edges: np.ndarray
    rows: np.ndarray
    confidence: np.ndarray
    accuracy: list[Interval]
    ece: float


def calibration(table: PredictionTable, bins: int = CALIBRATION_BINS) -> Calibration:
    """Puts the answered rows into bins by the probability of their most probable class.

    Decision thresholds have no effect, as in the report's ECE. Source: Guo et al., 2017,
    https://arxiv.org/abs/1706.04599.

    Args:
        table: Predictions with probabilities.
        bins: Number of bins.
    """
    answered = table.predictions >= 0
    probabilities = np.exp(table.log_scores[answered])
    best = np.minimum(probabilities.max(axis=1, initial=0).astype(np.float32), LARGEST_BELOW_ONE)  # as in the metric
    right = probabilities.argmax(axis=1) == table.labels[answered]
    edges = np.linspace(0, 1, bins + 1, dtype=np.float32)
    places = np.digitize(best, edges) - 1
    rows = np.bincount(places, minlength=bins)
    hits = np.bincount(places, weights=right, minlength=bins)
    sums = np.bincount(places, weights=best, minlength=bins)
    accuracy = []
    for hit, size in zip(hits.astype(int).tolist(), rows.tolist(), strict=True):
        accuracy.append(accuracy_interval(hit, size) if size else UNKNOWN)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        confidence = sums / rows
    ece = float(np.abs(sums - hits).sum() / rows.sum()) if rows.sum() else math.nan
    return Calibration(edges, rows, confidence, accuracy, ece)


class RiskCoverage(NamedTuple):
    """The share of mistakes among the rows with the highest confidence.

    Attributes:
        coverage: Share of the rows that are kept, ascending, shape (points,). Rows of equal confidence are one point.
        risk: Share of mistakes among them, shape (points,).
        rows: Number of the kept rows, shape (points,).
        best: The risk of a method with as many mistakes, all of them less certain than its right answers, shape
            (points,).
        area: Mean of the risk over all coverages (AURC); rows of equal confidence count as in random order.
        best_area: The same of the best possible order.
    """

    coverage: np.ndarray
    risk: np.ndarray
    rows: np.ndarray
    best: np.ndarray
    area: float
    best_area: float


def risk_coverage(table: PredictionTable) -> RiskCoverage:
    """Orders the rows by the probability of their predictions, and counts the mistakes.

    An invalid answer is a mistake with the lowest confidence. Source: Geifman and El-Yaniv, 2017,
    https://arxiv.org/abs/1705.08500.

    Args:
        table: Predictions with probabilities, of one row at least.
    """
    confidence = np.nan_to_num(confidences(table), nan=-1.0)
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    mistakes = np.cumsum((table.predictions != table.labels)[order])
    size = len(order)
    ends = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True))
    kept = ends + 1
    every = np.arange(1, size + 1)
    expected = np.interp(every, np.append(0, kept), np.append(0, mistakes[ends]))
    fewest = np.maximum(every - (size - mistakes[-1]), 0)
    return RiskCoverage(
        coverage=kept / size,
        risk=mistakes[ends] / kept,
        rows=kept,
        best=fewest[ends] / kept,
        area=float((expected / every).mean()),
        best_area=float((fewest / every).mean()),
    )


class Ranking(NamedTuple):
    """How well the probability of a class tells its rows from all others.

    Attributes:
        label: Index of the class.
        rows: Number of its rows.
        recall: Of the precision-recall curve, descending.
        precision: As long as `recall`.
        average_precision: Area under this curve, as a sum of steps.
        false_positive_rate: Of the ROC curve, ascending.
        true_positive_rate: As long as `false_positive_rate`.
        auroc: Area under this curve.
    """

    label: int
    rows: int
    recall: np.ndarray
    precision: np.ndarray
    average_precision: float
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    auroc: float


def rankings(table: PredictionTable) -> list[Ranking]:
    """The curves of each class against the rest.

    A row with an invalid answer has the lowest score for all classes.

    Args:
        table: Predictions with probabilities.

    Returns:
        In the order of the classes; without those that no row, or that every row has.
    """
    from sklearn.metrics import auc, precision_recall_curve, roc_curve

    scores = np.where(table.predictions[:, None] >= 0, np.exp(table.log_scores), -1.0)
    found = []
    for label in range(len(table.label_names)):
        truth = table.labels == label
        rows = int(truth.sum())
        if rows in (0, len(truth)):
            continue
        precision, recall, _ = precision_recall_curve(truth, scores[:, label], drop_intermediate=True)
        false, true, _ = roc_curve(truth, scores[:, label])
        average = float(-np.sum(np.diff(recall) * precision[:-1]))
        found.append(Ranking(label, rows, recall, precision, average, false, true, float(auc(false, true))))
    return found


class LengthGroup(NamedTuple):
    """Rows of similar length.

    Attributes:
        shortest: Length of the shortest text, in characters.
        longest: Length of the longest one.
        rows: Number of rows.
        accuracy: Share of right rows, with its 95 % interval.
    """

    shortest: int
    longest: int
    rows: int
    accuracy: Interval


def text_lengths(table: PredictionTable) -> np.ndarray:
    """Length of each text in characters, int64, shape (rows,); of pairs, the sum of both."""
    lengths = np.array([len(text) for text in table.texts], dtype=np.int64)
    if table.text_pairs is not None:
        lengths += np.array([len(text) for text in table.text_pairs], dtype=np.int64)
    return lengths


def accuracy_by_length(table: PredictionTable) -> list[LengthGroup]:
    """The accuracy of groups of rows of similar length; rows of equal length are in one group.

    Args:
        table: Predictions, read with their texts, of one row at least.

    Returns:
        The shortest texts first: as equal in size as possible, `LENGTH_GROUPS` at most.
    """
    lengths = text_lengths(table)
    right = table.predictions == table.labels
    number = min(LENGTH_GROUPS, max(1, len(lengths) // FEWEST_OF_A_GROUP))
    limits = np.unique(np.quantile(lengths, np.linspace(0, 1, number + 1)[1:], method="inverted_cdf"))
    places = np.searchsorted(limits, lengths)
    groups = []
    for place in range(len(limits)):
        members = places == place
        rows = int(members.sum())
        accuracy = accuracy_interval(int(right[members].sum()), rows)
        groups.append(LengthGroup(int(lengths[members].min()), int(limits[place]), rows, accuracy))
    return groups
