"""Where methods agree, and what they would reach together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textclf.evaluation.answers import Rows
from textclf.evaluation.intervals import count_metrics

LISTED = 20
"""Ids that are listed, at most."""


def agreement_of(predictions: Mapping[str, np.ndarray], labels: np.ndarray, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Agreement of each pair of methods.

    Args:
        predictions: Predicted classes of each method by name, each of shape `(rows,)`; the best method first.
        labels: True classes, shape `(rows,)`.
        ids: Of the rows.

    Returns:
        For each pair Cohen's kappa (Cohen, 1960, https://doi.org/10.1177/001316446002000104; 1 where both always give
        the same answer), and the rows that only one of the two gets right.
    """
    from sklearn.metrics import cohen_kappa_score

    pairs = []
    for (first, one), (second, other) in itertools.combinations(predictions.items(), 2):
        kappa = 1.0 if (one == other).all() else float(cohen_kappa_score(one, other))
        only_first = np.flatnonzero((one == labels) & (other != labels))
        only_second = np.flatnonzero((other == labels) & (one != labels))
        pairs.append(
            {
                "first": first,
                "second": second,
                "kappa": kappa,
                "only_first": len(only_first),
                "only_second": len(only_second),
                "ids_only_first": [ids[row] for row in only_first[:LISTED]],
                "ids_only_second": [ids[row] for row in only_second[:LISTED]],
            }
        )
    return pairs


def all_missed(predictions: Mapping[str, np.ndarray], labels: np.ndarray, ids: Sequence[str]) -> dict[str, Any]:
    """The rows that no method gets right: their number, and the first ids."""
    missed = np.logical_and.reduce([answers != labels for answers in predictions.values()])
    rows = np.flatnonzero(missed)
    return {"count": len(rows), "ids": [ids[row] for row in rows[:LISTED]]}


def ensembles_of(
    predictions: Mapping[str, np.ndarray], log_scores: Sequence[np.ndarray], rows: Rows
) -> list[dict[str, Any]]:
    """What a majority vote, and the mean of log-probabilities, of each pair and of all methods would reach.

    Args:
        predictions: Predicted classes of each method by name, each of shape `(rows,)`; the best method first.
        log_scores: Log-probabilities of each method, NaN where there are none, each of shape `(rows, num_classes)`.
        rows: What they answered.
    """
    names = list(predictions)
    members = [list(pair) for pair in itertools.combinations(range(len(names)), 2)]
    if len(names) > 2:
        members.append(list(range(len(names))))
    ensembles = []
    for indices in members:
        answers = np.stack([predictions[names[index]] for index in indices])
        scores = np.stack([log_scores[index] for index in indices])
        mean = mean_log_probability(scores)
        entry: dict[str, Any] = {"of": [names[index] for index in indices]}
        entry["vote"] = _quality(majority_vote(answers, mean, rows.num_classes), rows)
        entry["mean_log_probability"] = None
        if mean is not None:
            answers = np.where(np.isnan(mean).any(axis=1), -1, mean.argmax(axis=1))
            entry["mean_log_probability"] = _quality(answers, rows)
        ensembles.append(entry)
    return ensembles


def mean_log_probability(log_scores: np.ndarray) -> np.ndarray | None:
    """The mean of the methods' log-probabilities, shape `(rows, num_classes)`; None where one of them has none.

    A method whose answer to a row is invalid does not count in that row; a row without valid answers is NaN.

    Args:
        log_scores: Shape `(methods, rows, num_classes)`; NaN for an invalid answer.
    """
    answered = ~np.isnan(log_scores).any(axis=2, keepdims=True)
    if not answered.any(axis=1).all():
        return None
    with np.errstate(invalid="ignore"):  # 0 / 0
        mean: np.ndarray = np.where(answered, log_scores, 0).sum(axis=0) / answered.sum(axis=0)
    return mean


def majority_vote(predictions: np.ndarray, mean: np.ndarray | None, num_classes: int) -> np.ndarray:
    """The class that most methods predict, shape `(rows,)`; -1 where none gives a valid answer.

    Of classes with equally many votes, the one with the higher mean log-probability is taken; where methods give no
    probabilities, the one of the method that comes first.

    Args:
        predictions: Shape `(methods, rows)`; -1 for an invalid answer, which is no vote.
        mean: Mean log-probabilities, shape `(rows, num_classes)`, if there are any.
        num_classes: Number of classes.
    """
    methods, size = predictions.shape
    votes = np.zeros((size, num_classes))
    preference = np.zeros((size, num_classes))  # below 1: it decides ties only
    for position, answers in enumerate(predictions):
        valid = np.flatnonzero(answers >= 0)
        votes[valid, answers[valid]] += 1
        rank = (methods - position) / (methods + 1)
        preference[valid, answers[valid]] = np.maximum(preference[valid, answers[valid]], rank)
    if mean is not None:
        ranks = mean.argsort(axis=1, kind="stable").argsort(axis=1)
        preference = ranks / num_classes
    winners: np.ndarray = (votes + preference * (votes > 0)).argmax(axis=1)
    winners[votes.max(axis=1) == 0] = -1
    return winners


def _quality(predictions: np.ndarray, rows: Rows) -> dict[str, float]:
    once = np.ones((1, len(rows.labels)))
    macro_f1 = float(count_metrics(once, rows.labels, predictions, rows.num_classes)[0, 0])
    return {"accuracy": float((predictions == rows.labels).mean()), "macro_f1": macro_f1}
