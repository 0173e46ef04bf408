"""Confidence intervals of metrics over the rows of a test set, and the smallest difference that it can show.

The intervals answer how far a metric would move with other rows of the same kind; they say nothing of another seed.
Coverage was measured by `scripts/simulate_statistics.py`; `narrow_reasons` states where it is too low.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from textclf.evaluation.metrics import scores_of_margins

CONFIDENCE = 0.95
TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
POWER = 0.8
RESAMPLES = 1_000
"""Bootstrap resamples of an interval."""
SEED = 0
"""Seed of resampling: the same table always has the same intervals."""
ASSUMED_DISAGREEMENT = 0.1
"""Share of the rows on which exactly one of two methods is assumed to be right, where the second is not known."""
FEWEST_ROWS = 300
"""With fewer rows, intervals are too narrow."""
FEWEST_OF_A_KIND = 20
"""With fewer rows of the rarest class, or fewer wrong rows, intervals are too narrow."""
FEWEST_SEEDS = 5
"""With fewer runs that differ in the seed, intervals of their mean are too narrow."""
FEWEST_GROUPS = 200
"""With fewer groups of rows, cluster-robust intervals are too narrow."""
COUNT_METRICS = ("macro_f1", "mcc")
"""Metrics of the confusion matrix whose intervals are bootstrapped."""
CHUNK = 4_000_000
"""Numbers that are drawn at once."""
FEW_ROWS_OF_A_CELL = 10
"""With fewer rows of a cell on average, single rows are drawn; the cost is the same here."""


class Interval(NamedTuple):
    """A metric and its 95 % confidence interval; NaN where it is not known."""

    value: float
    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan, math.nan)


def accuracy_interval(correct: int, rows: int) -> Interval:
    """Wilson's interval of a share.

    Source: Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953.

    Args:
        correct: Number of right rows.
        rows: Number of rows, at least 1.
    """
    from scipy.stats import binomtest

    low, high = binomtest(correct, rows).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(correct / rows, float(low), float(high))


def mean_interval(values: np.ndarray) -> Interval:
    """Student's t interval of a mean.

    Args:
        values: One number for each row, shape `(rows,)`.

    Returns:
        NaN without rows; without bounds with one row, or where a value is infinite.
    """
    from scipy.stats import t

    if not len(values):
        return UNKNOWN
    mean = float(np.mean(values))
    if len(values) < 2 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    width = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return Interval(mean, mean - width, mean + width)


def count_intervals(matrix: np.ndarray, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """Percentile bootstrap over rows, for metrics that depend on the confusion matrix alone.

    To draw rows with replacement is to draw the counts of the cells from a multinomial distribution, so the cost does
    not grow with the number of rows. Source: Efron and Tibshirani, 1993, An Introduction to the Bootstrap.

    Args:
        matrix: Counts, shape `(num_classes, num_classes + 1)`: row = target, column = prediction, the last column
            being the invalid answers.
        resamples: How many are drawn.

    Returns:
        The intervals of `COUNT_METRICS`.
    """
    targets, predictions = np.nonzero(matrix)
    cells = matrix[targets, predictions]
    generator = np.random.default_rng(SEED)
    size = max(1, CHUNK // len(cells))
    drawn = []
    for start in range(0, resamples, size):
        counts = resampled_counts(cells, min(size, resamples - start), generator)
        drawn.append(count_metrics(counts, targets, predictions, len(matrix)))
    observed = count_metrics(cells[None], targets, predictions, len(matrix))
    low, high = np.quantile(np.concatenate(drawn), TAILS, axis=0)
    intervals = {}
    for index, name in enumerate(COUNT_METRICS):
        intervals[name] = Interval(float(observed[0, index]), float(low[index]), float(high[index]))
    return intervals


def resampled_counts(cells: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Counts of cells when as many rows as they have are drawn with replacement.

    Args:
        cells: Rows of each cell, at least 1, shape `(cells,)`.
        resamples: How many times to draw.
        generator: Source of random numbers.

    Returns:
        Shape `(resamples, cells)`.
    """
    rows = int(cells.sum())
    if rows >= FEW_ROWS_OF_A_CELL * len(cells):
        return generator.multinomial(rows, cells / rows, size=resamples)
    # Of many classes with many kinds of mistakes: single rows are drawn faster than counts.
    cell_of_row = np.repeat(np.arange(len(cells)), cells)
    counts = np.empty((resamples, len(cells)), dtype=np.int64)
    for resample in counts:
        resample[:] = np.bincount(cell_of_row[generator.integers(rows, size=rows)], minlength=len(cells))
    return counts


def count_metrics(counts: np.ndarray, targets: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """The `COUNT_METRICS` of weighted rows, or of the counts of cells of a confusion matrix.

    Args:
        counts: How often each row or cell counts, shape `(resamples, cells)`.
        targets: Its true class, shape `(cells,)`.
        predictions: Its predicted class, shape `(cells,)`; -1 or `num_classes` for an invalid answer.
        num_classes: Number of classes.

    Returns:
        Float64, shape `(resamples, metrics)`.
    """
    right = targets == predictions
    predictions = np.where(predictions < 0, num_classes, predictions)
    correct = class_sums(counts[:, right], targets[right], num_classes)
    support = class_sums(counts, targets, num_classes)
    predicted = class_sums(counts, predictions, num_classes + 1)
    scores = scores_of_margins(*map(torch.from_numpy, (correct, support, predicted)))
    return np.stack([scores[name].numpy() for name in COUNT_METRICS], axis=-1)


def class_sums(counts: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Sums over the cells of each class, shape `(resamples, num_classes)`."""
    from scipy.sparse import csr_array

    cells = np.arange(len(classes))
    members = csr_array((np.ones(len(classes)), (classes, cells)), shape=(num_classes, len(classes)))
    sums: np.ndarray = (members @ counts.T).T
    return sums


def smallest_visible(rows: int, disagreements: float) -> float:
    """The true difference in accuracy of two methods that a paired test would find in four of five test sets.

    At the level of 5 %, two-sided, in the normal approximation of McNemar's test. Source: Connor, 1987,
    https://doi.org/10.2307/2531961, for a small difference.

    Args:
        rows: Number of rows, at least 1.
        disagreements: Number of rows on which one method is right and the other is wrong, known or assumed.

    Returns:
        A share of the rows, 1 at most.
    """
    return min(power_quantiles() * math.sqrt(disagreements) / rows, 1.0)


def power_quantiles() -> float:
    """The smallest visible difference in standard errors: 2.8 at the level of 5 %, two-sided, and a power of 80 %."""
    from scipy.stats import norm

    return float(norm.ppf((1 + CONFIDENCE) / 2) + norm.ppf(POWER))


def narrow_reasons(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int, *, seeds: int = 1, groups: int | None = None
) -> list[str]:
    """Says why the intervals of a table may be too narrow; empty where simulations give no reason.

    Args:
        labels: True classes, shape `(rows,)`.
        predictions: Predicted classes, shape `(rows,)`.
        num_classes: Number of classes; one without rows is the rarest.
        seeds: Number of runs that differ in the seed.
        groups: Number of groups of rows; None where rows are independent.
    """
    reasons = []
    if len(labels) < FEWEST_ROWS:
        reasons.append(f"{len(labels):,} rows are fewer than {FEWEST_ROWS}")
    rarest = int(np.bincount(labels, minlength=num_classes).min())
    if rarest < FEWEST_OF_A_KIND:
        reasons.append(f"{rarest} rows of the rarest class are fewer than {FEWEST_OF_A_KIND}")
    wrong = int((labels != predictions).sum())
    if wrong < FEWEST_OF_A_KIND:
        reasons.append(f"{wrong} wrong rows are fewer than {FEWEST_OF_A_KIND}")
    if 1 < seeds < FEWEST_SEEDS:
        reasons.append(f"{seeds} seeds are fewer than {FEWEST_SEEDS}")
    if groups is not None and groups < FEWEST_GROUPS:
        reasons.append(f"{groups} groups are fewer than {FEWEST_GROUPS}")
    return reasons
