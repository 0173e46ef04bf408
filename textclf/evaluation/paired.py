"""Differences of methods on the same rows: intervals and p-values that use the pairing of the rows.

Rows on which two methods do equally well say nothing about which is better, so that a paired test finds smaller
differences than a comparison of two separate intervals. Where a method has several runs that differ in the seed, the
difference is that of the seed means, and rows and seeds are resampled together. Where rows come in groups (of an
author, of a document), whole groups are resampled and swapped. Coverage is measured by
`scripts/simulate_statistics.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textclf.evaluation.answers import MEAN_METRICS, METRICS, Answers, Rows, wins_and_losses
from textclf.evaluation.intervals import (
    CONFIDENCE,
    COUNT_METRICS,
    TAILS,
    mean_interval,
    power_quantiles,
    smallest_visible,
)
from textclf.evaluation.method_intervals import group_mean_interval
from textclf.evaluation.paired_tests import mcnemar, sign_flip_test, swap_test
from textclf.evaluation.resampling import (
    count_draws,
    loss_draws,
    observed_metrics,
    run_metrics,
    seed_means,
    student_interval,
)


class Difference(NamedTuple):
    """A difference of two methods in a metric, the first minus the second; NaN where a number is not known.

    Attributes:
        value: The difference.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        p: Two-sided p-value of the hypothesis that there is none.
        rows: Number of rows that it is taken on.
        smallest_visible: The true difference that would be found in four of five test sets; of accuracy only.
    """

    value: float
    low: float
    high: float
    p: float
    rows: int
    smallest_visible: float = math.nan


def differences(
    methods: Sequence[Answers], pairs: Sequence[tuple[int, int]], rows: Rows
) -> list[dict[str, Difference]]:
    """The differences of pairs of methods in all `METRICS`.

    Args:
        methods: The answers of each.
        pairs: Indices of two methods each; the second is subtracted from the first.
        rows: The rows that all of them answered.

    Returns:
        A dictionary for each pair.
    """
    counts = count_draws(methods, rows)
    losses = _LossDraws(methods, rows)
    found: list[dict[str, Difference]] = []
    for one, other in pairs:
        first, second = methods[one], methods[other]
        if first.runs > 1 or second.runs > 1:
            of_losses = losses.over(first.answered & second.answered)
            draws = [np.concatenate([counts[index], of_losses[index]], axis=2) for index in (one, other)]
            found.append(_difference_of_seeds(first, second, draws, rows))
        else:
            found.append(_difference_of_runs(first, second, (counts[one] - counts[other])[:, 0, 1:], rows))
    _add_sign_flip_tests(found, methods, pairs, rows)
    return found


def _add_sign_flip_tests(
    found: Sequence[dict[str, Difference]],
    methods: Sequence[Answers],
    pairs: Sequence[tuple[int, int]],
    rows: Rows,
) -> None:
    """Adds the p-values of means to the differences of single runs; the swaps are drawn once for all of them."""
    metrics = ("nll", "brier") if rows.groups is None else MEAN_METRICS
    tested = []
    signed = []
    for of_pair, (one, other) in zip(found, pairs, strict=True):
        first, second = methods[one], methods[other]
        if first.runs > 1 or second.runs > 1:
            continue
        for metric in metrics:
            if not math.isnan(of_pair[metric].value):
                tested.append((of_pair, metric))
                signed.append(_row_differences(first, second, metric, rows))
    p_values = sign_flip_test(np.array(signed), rows)
    for (of_pair, metric), p in zip(tested, p_values, strict=True):
        of_pair[metric] = of_pair[metric]._replace(p=p)


class _LossDraws:
    """The `loss_draws` of methods, drawn once for all pairs that answered the same rows."""

    def __init__(self, methods: Sequence[Answers], rows: Rows) -> None:
        self.methods = methods
        self.rows = rows
        self.known: dict[bytes, list[np.ndarray]] = {}

    def over(self, counted: np.ndarray) -> list[np.ndarray]:
        """The draws of all methods over some rows, bool, shape `(rows,)`."""
        key = counted.tobytes()
        if key not in self.known:
            self.known[key] = loss_draws(self.methods, self.rows, counted)
        return self.known[key]


def _row_differences(first: Answers, second: Answers, metric: str, rows: Rows) -> np.ndarray:
    """Differences of two runs in each row, 0 where one of them gave no probabilities, shape `(rows,)`."""
    with np.errstate(invalid="ignore"):  # inf - inf
        difference: np.ndarray = first.losses(metric, rows)[0] - second.losses(metric, rows)[0]
    counted = first.counted(metric) & second.counted(metric)
    return np.where(counted, difference, 0.0)


def _difference_of_runs(first: Answers, second: Answers, draws: np.ndarray, rows: Rows) -> dict[str, Difference]:
    """The differences of two runs; the p-values of NLL and Brier, and of accuracy with groups, are not known yet.

    Args:
        first: One run.
        second: The other.
        draws: Resampled differences of the `COUNT_METRICS`, shape `(resamples, metrics)`.
        rows: What they answered.
    """
    means = {}
    for metric in MEAN_METRICS:
        counted = first.counted(metric) & second.counted(metric)
        values = _row_differences(first, second, metric, rows)[counted]
        interval = mean_interval(values) if rows.groups is None else group_mean_interval(values, rows.units[counted])
        means[metric] = Difference(*interval, p=math.nan, rows=len(values))
    wins, losses = wins_and_losses(first, second, rows) or (0, 0)
    p = mcnemar(wins, losses)
    visible = smallest_visible(len(rows.labels), wins + losses)
    if rows.groups is not None:
        visible = _visible_by_interval(means["accuracy"], rows.unit_count - 1)
    means["accuracy"] = means["accuracy"]._replace(p=p, smallest_visible=visible)
    return {"accuracy": means["accuracy"], **_count_differences(first, second, draws, rows), **means}


def _visible_by_interval(difference: Difference, freedom: float) -> float:
    """The smallest visible difference, from the standard error of an interval."""
    from scipy.stats import t

    error = (difference.high - difference.low) / 2 / float(t.ppf((1 + CONFIDENCE) / 2, freedom))
    return min(power_quantiles() * error, 1.0)


def _count_differences(first: Answers, second: Answers, draws: np.ndarray, rows: Rows) -> dict[str, Difference]:
    low, high = np.quantile(draws, TAILS, axis=0)
    p_values = swap_test(first.predictions[0], second.predictions[0], rows)
    once = np.ones((1, len(rows.labels)))
    both = np.concatenate([first.predictions, second.predictions])
    of_first, of_second = run_metrics(once, rows.labels, both, rows.num_classes)[0]
    values = (of_first - of_second)[1:]
    found = {}
    for index, metric in enumerate(COUNT_METRICS):
        bounds = float(values[index]), float(low[index]), float(high[index])
        found[metric] = Difference(*bounds, p=p_values[index], rows=len(rows.labels))
    return found


def _difference_of_seeds(
    first: Answers, second: Answers, draws: Sequence[np.ndarray], rows: Rows
) -> dict[str, Difference]:
    """The differences of two methods of which one has several seeds.

    Args:
        first: One method.
        second: The other.
        draws: Resampled `METRICS` of each, shape `(resamples, runs, metrics)`.
        rows: What they answered.
    """
    counted = first.answered & second.answered
    means = seed_means(draws)
    of_first = observed_metrics(first, rows, counted)
    of_second = observed_metrics(second, rows, counted)
    with np.errstate(invalid="ignore"):  # inf - inf
        differences = means[0] - means[1]
    found = {}
    for index, metric in enumerate(METRICS):
        value = float(of_first[metric].mean() - of_second[metric].mean())
        drawn = differences[:, index]
        taken = counted if metric in ("nll", "brier") else np.ones(len(rows.labels), dtype=bool)
        units = len(np.unique(rows.units[taken]))
        low, high, p = student_interval(value, drawn, [of_first[metric], of_second[metric]], units)
        found[metric] = Difference(value, low, high, p, int(taken.sum()))
        if metric == "accuracy":
            visible = min(power_quantiles() * float(np.std(drawn, ddof=1)), 1.0)
            found[metric] = found[metric]._replace(smallest_visible=visible)
    return found
