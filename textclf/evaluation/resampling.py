"""Metrics of runs on resampled rows, resampled groups of rows, and resampled seeds.

All runs of a call get the same resamples, so that differences of two of them are paired.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from textclf.evaluation.answers import Answers, Rows
from textclf.evaluation.intervals import (
    CHUNK,
    CONFIDENCE,
    COUNT_METRICS,
    RESAMPLES,
    SEED,
    count_metrics,
    resampled_counts,
)

ROUNDING = 1e-12
"""Relative error of sums in another order."""


def observed_metrics(answers: Answers, rows: Rows, counted: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The metrics of each run, shape `(runs,)`; NLL and Brier over the rows that are counted."""
    counted = answers.answered if counted is None else counted
    once = np.ones((1, len(rows.labels)))
    counts = run_metrics(once, rows.labels, answers.predictions, rows.num_classes)[0]
    observed = dict(zip(("accuracy", *COUNT_METRICS), counts.T, strict=True))
    for metric in ("nll", "brier"):
        losses = answers.losses(metric, rows)[:, counted]
        observed[metric] = losses.mean(axis=1) if counted.any() else np.full(answers.runs, np.nan)
    return observed


def _unit_weights(rows: Rows) -> Iterator[np.ndarray]:
    """How often each row counts in resamples of the units, shape `(some resamples, rows)`; the same in each call."""
    generator = np.random.default_rng(SEED)
    size = max(1, CHUNK // len(rows.labels))
    for start in range(0, RESAMPLES, size):
        weights = np.empty((min(size, RESAMPLES - start), len(rows.labels)))
        for resample in weights:
            drawn = generator.integers(rows.unit_count, size=rows.unit_count)
            resample[:] = np.bincount(drawn, minlength=rows.unit_count)[rows.units]
        yield weights


def _cell_weights(sizes: np.ndarray) -> Iterator[np.ndarray]:
    """How often each cell of `sizes` rows counts in resamples of the rows, shape `(some resamples, cells)`."""
    generator = np.random.default_rng(SEED)
    chunk = max(1, CHUNK // len(sizes))
    for start in range(0, RESAMPLES, chunk):
        yield resampled_counts(sizes, min(chunk, RESAMPLES - start), generator)


def count_draws(methods: Sequence[Answers], rows: Rows) -> list[np.ndarray]:
    """Resampled accuracy and `COUNT_METRICS` of each run, all of the same resamples.

    Independent rows with the same label and the same answers of all runs are drawn together, as one cell.

    Returns:
        For each method an array of shape `(resamples, runs, metrics)`.
    """
    cells = np.concatenate([rows.labels[None], *(answers.predictions for answers in methods)])
    resamples = _unit_weights(rows)
    if rows.groups is None:
        cells, sizes = np.unique(cells, axis=1, return_counts=True)
        resamples = _cell_weights(sizes)
    parts = [run_metrics(weights, cells[0], cells[1:], rows.num_classes) for weights in resamples]
    ends = np.cumsum([answers.runs for answers in methods])[:-1]
    return np.split(np.concatenate(parts), ends, axis=1)


def run_metrics(weights: np.ndarray, labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Accuracy and `COUNT_METRICS` of runs with weighted rows or cells, shape `(resamples, runs, metrics)`."""
    of_runs = []
    totals = weights.sum(axis=1)
    for answers in predictions:
        accuracy = weights[:, answers == labels].sum(axis=1) / totals
        counts = count_metrics(weights, labels, answers, num_classes)
        of_runs.append(np.concatenate([accuracy[:, None], counts], axis=1))
    return np.stack(of_runs, axis=1)


def loss_draws(methods: Sequence[Answers], rows: Rows, counted: np.ndarray) -> list[np.ndarray]:
    """Resampled NLL and Brier score of each run, all of the same resamples.

    Args:
        methods: The answers of each.
        rows: What they answered.
        counted: The rows that the means are over, bool, shape `(rows,)`; a method that has not answered all of them
            gets NaN.

    Returns:
        For each method an array of shape `(resamples, runs, metrics)`.
    """
    losses = np.concatenate([answers.losses(metric, rows) for answers in methods for metric in ("nll", "brier")])
    parts = []
    for weights in _unit_weights(rows):
        kept = weights[:, counted]
        with np.errstate(invalid="ignore"):  # 0 / 0 where no row counts, 0 * inf
            parts.append(kept @ losses[:, counted].T / kept.sum(axis=1, keepdims=True))
    ends = np.cumsum([2 * answers.runs for answers in methods])[:-1]
    of_methods = []
    for answers, draws in zip(methods, np.split(np.concatenate(parts), ends, axis=1), strict=True):
        of_methods.append(draws.reshape(-1, 2, answers.runs).swapaxes(1, 2))
    return of_methods


def seed_means(methods: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Resampled means over the seeds of methods whose rows are resampled: seeds are drawn as well.

    Of k runs, k - 1 are drawn with replacement, with which the variance of the resampled mean is, without bias, that of
    the mean of k seeds. Sources: McCarthy and Snowden, 1985, The bootstrap and finite population sampling; Rao and Wu,
    1988, https://doi.org/10.1080/01621459.1988.10478591.

    Args:
        methods: Resampled metrics of each, shape `(resamples, runs, metrics)`.

    Returns:
        For each an array of shape `(resamples, metrics)`.
    """
    generator = np.random.default_rng(SEED)
    means = []
    for draws in methods:
        resamples, runs = draws.shape[:2]
        if runs > 1:
            drawn = generator.integers(runs, size=(resamples, runs - 1))
            draws = np.take_along_axis(draws, drawn[:, :, None], axis=1)
        means.append(draws.mean(axis=1))
    return means


def student_interval(
    value: float, draws: np.ndarray, seeds: Sequence[np.ndarray], units: int
) -> tuple[float, float, float]:
    """Student's interval and p-value with a resampled standard error.

    The degrees of freedom are Satterthwaite's (1946, https://doi.org/10.2307/3002019): few seeds give few; the rows'
    part of the variance counts as known. Where resamples do not differ, all rows are alike, and p is that of a
    permutation test: only the two permutations that swap no unit, or all, give a difference as large.

    Args:
        value: The mean, or the difference of two means.
        draws: Resamples of it, shape `(resamples,)`.
        seeds: The metric of each run, for each method, shape `(runs,)`.
        units: Number of rows, or of groups of rows, that are resampled.

    Returns:
        The bounds of the interval, and the p-value of the hypothesis that the value is 0.
    """
    from scipy.stats import t

    if not np.isfinite(draws).all() or not math.isfinite(value):
        return math.nan, math.nan, math.nan
    variance = float(np.var(draws, ddof=1))
    error = math.sqrt(variance)
    if error <= ROUNDING * abs(value):
        return value, value, min(2.0 ** (1 - units), 1.0) if value else 1.0
    of_seeds = 0.0
    for values in seeds:
        if len(values) > 1:
            of_seeds += (float(np.var(values, ddof=1)) / len(values)) ** 2 / (len(values) - 1)
    freedom = variance**2 / of_seeds if of_seeds else math.inf
    width = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return value - width, value + width, 2 * float(t.sf(abs(value) / error, freedom))
