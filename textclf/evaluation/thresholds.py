"""The search for decision thresholds."""

from __future__ import annotations

import numpy as np

ROUNDS = 10
"""Passes over the classes; the search nearly always ends before, where a pass changes nothing."""


def tune_thresholds(log_scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Finds thresholds of high macro-F1, never lower than without, by one class after another.

    Each step is exact: of all places that a threshold can have among the rows, the best is taken, and of equally good
    ones that which changes least. They are used as `predicted_classes` says. Source, for two classes: Lipton et al.,
    2014, https://arxiv.org/abs/1402.1892.

    Args:
        log_scores: Log-probabilities of validation rows, shape `(rows, num_classes)`; rows of NaN are left out.
        labels: Their classes, int64, shape `(rows,)`.

    Returns:
        Shape `(num_classes,)`, summing to 1.
    """
    answered = ~np.isnan(log_scores).any(axis=1)
    # A log-probability of -inf stays the lowest, and differences stay numbers.
    log_scores, labels = np.maximum(log_scores[answered], -1e4), labels[answered]
    num_classes = log_scores.shape[1]
    log_thresholds = np.zeros(num_classes)
    for _ in range(ROUNDS if len(labels) else 0):
        before = log_thresholds.copy()
        for k in range(num_classes):
            log_thresholds[k] = _best_cut(log_scores - log_thresholds, labels, k) + log_thresholds[k]
        if np.array_equal(before, log_thresholds):
            break
    thresholds: np.ndarray = np.exp(log_thresholds - np.logaddexp.reduce(log_thresholds))
    return thresholds


def _best_cut(shifted: np.ndarray, labels: np.ndarray, k: int) -> float:
    """How much to add to the log-threshold of class `k`; 0 where nothing is better."""
    rows, num_classes = shifted.shape
    others = shifted.copy()
    others[:, k] = -np.inf
    rival = others.argmax(axis=1)
    lead = shifted[:, k] - others.max(axis=1)
    order = np.argsort(-lead, kind="stable")
    lead, labels, rival = lead[order], labels[order], rival[order]
    # Row m of these: the first m rows (of highest lead) are answered with k, the others with their rival.
    hits = np.zeros((rows + 1, num_classes), dtype=np.int64)
    answers = np.zeros_like(hits)
    one_hot = np.eye(num_classes, dtype=np.int64)
    hits[1:] = one_hot[k] * (labels == k)[:, None] - one_hot[rival] * (labels == rival)[:, None]
    answers[1:] = one_hot[k] - one_hot[rival]
    hits[0], answers[0] = (one_hot[rival] * (labels == rival)[:, None]).sum(axis=0), one_hot[rival].sum(axis=0)
    support = np.bincount(labels, minlength=num_classes)
    found, possible = 2 * hits.cumsum(axis=0), answers.cumsum(axis=0) + support
    macro_f1 = np.divide(found, possible, out=np.zeros(found.shape), where=possible > 0).mean(axis=1)
    # A cut must lie between two different leads.
    cuts = np.concatenate([[lead[0] + 1], (lead[:-1] + lead[1:]) / 2, [lead[-1] - 1]])
    real = np.concatenate([[True], lead[:-1] > lead[1:], [True]])
    now = int((lead > 0).sum())
    best = np.flatnonzero(real & (macro_f1 > macro_f1[now] + 1e-12))
    if not len(best):
        return 0.0
    top = best[macro_f1[best] >= macro_f1[best].max() - 1e-12]
    return float(cuts[top[np.abs(cuts[top]).argmin()]])
