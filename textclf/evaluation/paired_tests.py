"""Paired tests of two runs on the same rows, and the correction for several tests.

Where rows come in groups (of an author, of a document), the answers to whole groups are swapped. Rates of false alarms
are measured by `scripts/simulate_statistics.py`.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from textclf.evaluation.answers import Rows
from textclf.evaluation.intervals import CHUNK, COUNT_METRICS, SEED, class_sums
from textclf.evaluation.metrics import scores_of_margins

LEVEL = 0.05
"""Significance level of all tests."""
SWAPS = 10_000
"""Random swaps of a permutation test."""


def mcnemar(wins: int, losses: int) -> float:
    """The exact McNemar test: two-sided p-value of as many wins as losses.

    Source: McNemar, 1947, https://doi.org/10.1007/BF02295996.
    """
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values; NaN stays NaN, and does not count as a comparison."""
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415 - takes a second to import

    adjusted = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(adjusted)
    if known.any():
        gc.freeze()  # `multipletests` collects garbage: half a second if it had to look at all that is imported
        adjusted[known] = multipletests(adjusted[known], method="holm")[1]
        gc.unfreeze()
    return [float(value) for value in adjusted]


def swap_test(first: np.ndarray, second: np.ndarray, rows: Rows, swaps: int = SWAPS) -> list[float]:
    """Paired permutation test of the `COUNT_METRICS`: answers of two runs are swapped at random, unit by unit.

    Swaps change the confusion matrices by sums over rows, so that independent rows with the same two answers, which
    change them alike, are drawn together: the cost does not grow with the number of rows.

    Args:
        first: Predicted classes of one run, shape `(rows,)`.
        second: Of the other.
        rows: What they answered.
        swaps: Number of random swaps.

    Returns:
        Two-sided p-values `(k + 1) / (swaps + 1)`, where k swaps give a difference as large as the observed one.
    """
    effects, sizes = _swap_effects(first, second, rows)
    width = rows.num_classes
    one = _margins(first, rows)
    other = _margins(second, rows)
    support = torch.from_numpy(np.bincount(rows.labels, minlength=width))

    def metric_differences(moved: np.ndarray) -> np.ndarray:
        parts = []
        for margins in (one + moved, other - moved):
            counts = torch.from_numpy(margins)
            scores = scores_of_margins(counts[:, :width], support.expand(len(counts), width), counts[:, width:])
            parts.append(np.stack([scores[name].numpy() for name in COUNT_METRICS], axis=1))
        difference: np.ndarray = parts[0] - parts[1]
        return difference

    observed = np.abs(metric_differences(np.zeros((1, len(one)))))
    generator = np.random.default_rng(SEED)
    chunk = max(1, CHUNK // (len(sizes) + len(one)))
    as_large = np.zeros(len(COUNT_METRICS), dtype=np.int64)
    for start in range(0, swaps, chunk):
        drawn = generator.binomial(sizes, 0.5, size=(min(chunk, swaps - start), len(sizes)))
        moved = (effects.T @ drawn.T).T
        as_large += (np.abs(metric_differences(moved)) >= observed - 1e-12).sum(axis=0)
    return [float(count + 1) / (swaps + 1) for count in as_large]


def _margins(predictions: np.ndarray, rows: Rows) -> np.ndarray:
    """Right rows of each class, then rows predicted as each class and invalid, shape `(2 * num_classes + 1,)`."""
    right = predictions == rows.labels
    columns = np.where(predictions < 0, rows.num_classes, predictions)
    correct = np.bincount(rows.labels[right], minlength=rows.num_classes)
    return np.concatenate([correct, np.bincount(columns, minlength=rows.num_classes + 1)])


def _swap_effects(first: np.ndarray, second: np.ndarray, rows: Rows) -> tuple[Any, np.ndarray]:
    """What swaps add to the margins of the first run.

    Returns:
        A sparse matrix with a row for each kind of swap, shape `(kinds, 2 * num_classes + 1)`, and the number of units
        of each kind, shape `(kinds,)`.
    """
    from scipy.sparse import csr_array

    classes = rows.num_classes
    differ = np.flatnonzero(first != second)
    labels = rows.labels[differ]
    one = np.where(first[differ] < 0, classes, first[differ])
    other = np.where(second[differ] < 0, classes, second[differ])
    if rows.groups is None:
        # The label matters only where one of the answers is right.
        label = np.where((one == labels) | (other == labels), labels, classes)
        kinds, sizes = np.unique(np.stack([label, one, other], axis=1), axis=0, return_counts=True)
        labels, one, other = kinds.T
        units = np.arange(len(kinds))
    else:
        _, units = np.unique(rows.groups[differ], return_inverse=True)
        sizes = np.ones(int(units.max(initial=-1)) + 1, dtype=np.int64)
    gained = (other == labels).astype(np.int64) - (one == labels)
    gaining = gained != 0
    columns = np.concatenate([labels[gaining], classes + one, classes + other])
    lines = np.concatenate([units[gaining], units, units])
    values = np.concatenate([gained[gaining], np.full(len(one), -1), np.ones(len(one), dtype=np.int64)])
    return csr_array((values, (lines, columns)), shape=(len(sizes), 2 * classes + 1)), sizes


def sign_flip_test(differences: np.ndarray, rows: Rows, swaps: int = SWAPS) -> list[float]:
    """Paired permutation test of means: to swap two answers is to change the sign of their difference.

    All tests use the same swaps, so that these are drawn once.

    Args:
        differences: Of two runs in each row, shape `(tests, rows)`.
        rows: What they answered.
        swaps: Number of random swaps.

    Returns:
        A two-sided p-value of each test, as in `swap_test`; NaN where a difference is infinite.
    """
    if not len(differences):
        return []
    of_units = differences.T
    if rows.groups is not None:
        of_units = class_sums(differences, rows.units, rows.unit_count).T
    finite = np.isfinite(of_units).all(axis=0)
    of_units = np.where(finite, of_units, 0.0)
    generator = np.random.default_rng(SEED)
    swapped = np.zeros((swaps, of_units.shape[1]))
    chunk = max(8, CHUNK // swaps // 8 * 8)
    for start in range(0, len(of_units), chunk):
        part = of_units[start : start + chunk]
        random_bytes = generator.integers(256, size=(swaps, (len(part) + 7) // 8), dtype=np.uint8)
        is_swapped = np.unpackbits(random_bytes, axis=1, count=len(part)).astype(np.float64)
        swapped += is_swapped @ part
    totals = of_units.sum(axis=0)
    tolerance = 1e-12 * np.abs(of_units).sum(axis=0)  # sums in another order differ in the last bits
    as_large = (np.abs(totals - 2 * swapped) >= np.abs(totals) - tolerance).sum(axis=0)
    p_values = (as_large + 1) / (swaps + 1)
    return [float(p) for p in np.where(finite, p_values, np.nan)]
