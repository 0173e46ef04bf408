"""Differences of methods on the same rows: intervals and tests that use the pairing of the rows.

Rows on which two methods do equally well say nothing about which is better, so that a paired test finds smaller
differences than a comparison of two separate intervals. Where a method has several runs that differ in the seed, the
difference is that of the seed means, and rows and seeds are resampled together. Where rows come in groups (of an
author, of a document), whole groups are resampled and swapped. Rates of false alarms and coverage are measured by
`scripts/simulate_statistics.py`.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from textclf.evaluation.intervals import (
    CHUNK,
    CONFIDENCE,
    COUNT_METRICS,
    RESAMPLES,
    SEED,
    TAILS,
    UNKNOWN,
    Interval,
    accuracy_interval,
    class_sums,
    count_intervals,
    count_metrics,
    mean_interval,
    power_quantiles,
    resampled_counts,
    smallest_visible,
)
from textclf.evaluation.metrics import scores_of_margins

METRICS = ("accuracy", "macro_f1", "mcc", "nll", "brier")
LOWER_IS_BETTER = ("nll", "brier")
LEVEL = 0.05
"""Significance level of all tests."""
MEAN_METRICS = ("accuracy", "nll", "brier")
"""Metrics that are means over rows."""
SWAPS = 10_000
"""Random swaps of a permutation test."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that methods are compared on.

    Attributes:
        labels: True classes, shape `(rows,)`.
        num_classes: Number of classes.
        groups: The group of each row, numbered from 0, shape `(rows,)`; None where rows are independent.
    """

    labels: np.ndarray
    num_classes: int
    groups: np.ndarray | None = None

    @cached_property
    def units(self) -> np.ndarray:
        """The unit of each row that is resampled and swapped: its group, or the row itself."""
        return np.arange(len(self.labels)) if self.groups is None else self.groups

    @cached_property
    def unit_count(self) -> int:
        """Number of units."""
        return int(self.units.max()) + 1


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a method to the same rows, of one run, or of several that differ in the seed.

    Attributes:
        predictions: Predicted classes, shape `(runs, rows)`; -1 for an invalid answer.
        nll: Negative log-likelihood of the true class in nats, shape `(runs, rows)`; NaN for an invalid answer, and
            everywhere without probabilities.
        brier: Brier score of each row, summed over the classes, 0 to 2, shape `(runs, rows)`; NaN like `nll`.
    """

    predictions: np.ndarray
    nll: np.ndarray
    brier: np.ndarray

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(self.predictions)

    @cached_property
    def answered(self) -> np.ndarray:
        """Rows that every run gave probabilities for, bool, shape `(rows,)`."""
        answered: np.ndarray = ~np.isnan(self.nll).any(axis=0)
        return answered

    def losses(self, metric: str, rows: Rows) -> np.ndarray:
        """What one of the `MEAN_METRICS` is the mean of, shape `(runs, rows)`."""
        if metric == "accuracy":
            right: np.ndarray = self.predictions == rows.labels
            return right.astype(np.float64)
        return {"nll": self.nll, "brier": self.brier}[metric]

    def counted(self, metric: str) -> np.ndarray:
        """The rows that a metric is the mean over, bool, shape `(rows,)`."""
        return np.ones(self.predictions.shape[1], dtype=bool) if metric == "accuracy" else self.answered


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


def wins_and_losses(first: Answers, second: Answers, rows: Rows) -> tuple[int, int] | None:
    """Numbers of rows that only the first gets right, and that only the second does; None with several seeds."""
    if first.runs > 1 or second.runs > 1:
        return None
    first_right = first.predictions[0] == rows.labels
    second_right = second.predictions[0] == rows.labels
    return int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())


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


# One method


def method_intervals(answers: Answers, rows: Rows) -> dict[str, Interval]:
    """The intervals of all `METRICS` of a method.

    With one run: Wilson's for accuracy, Student's for means, the bootstrap for the others. With several runs:
    Student's, with the standard error of `_seed_means`.
    """
    if answers.runs > 1:
        return _intervals_of_seeds(answers, rows)
    if rows.groups is not None:
        return _intervals_of_groups(answers, rows)
    matrix = np.zeros((rows.num_classes, rows.num_classes + 1), dtype=np.int64)
    columns = np.where(answers.predictions[0] < 0, rows.num_classes, answers.predictions[0])
    np.add.at(matrix, (rows.labels, columns), 1)
    return {
        "accuracy": accuracy_interval(int(matrix.trace()), len(rows.labels)),
        **count_intervals(matrix),
        "nll": mean_interval(answers.nll[0, answers.answered]),
        "brier": mean_interval(answers.brier[0, answers.answered]),
    }


def _intervals_of_groups(answers: Answers, rows: Rows) -> dict[str, Interval]:
    intervals = {}
    for metric in MEAN_METRICS:
        counted = answers.counted(metric)
        intervals[metric] = _mean_of_groups(answers.losses(metric, rows)[0, counted], rows.units[counted])
    draws = _count_draws([answers], rows)[0][:, 0, 1:]
    values = _observed(answers, rows)
    for index, metric in enumerate(COUNT_METRICS):
        low, high = np.quantile(draws[:, index], TAILS)
        intervals[metric] = Interval(float(values[metric].mean()), float(low), float(high))
    return {metric: intervals[metric] for metric in METRICS}


def _mean_of_groups(values: np.ndarray, groups: np.ndarray) -> Interval:
    """Interval of a mean whose values are alike within groups: Student's, with the cluster-robust standard error."""
    from statsmodels.api import OLS  # noqa: PLC0415 - takes seconds to import

    if not len(values):
        return UNKNOWN
    mean = float(np.mean(values))
    if len(np.unique(groups)) < 2 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan)
    fit = OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    low, high = fit.conf_int(1 - CONFIDENCE)[0]
    return Interval(mean, float(low), float(high))


def _intervals_of_seeds(answers: Answers, rows: Rows) -> dict[str, Interval]:
    counts = _count_draws([answers], rows)[0]
    losses = _loss_draws([answers], rows, answers.answered)[0]
    draws = _seed_means([np.concatenate([counts, losses], axis=2)])[0]
    values = _observed(answers, rows)
    intervals = {}
    for index, metric in enumerate(METRICS):
        low, high, _ = _student(float(values[metric].mean()), draws[:, index], [values[metric]])
        intervals[metric] = Interval(float(values[metric].mean()), low, high)
    return intervals


def _observed(answers: Answers, rows: Rows, counted: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The metrics of each run, shape `(runs,)`; NLL and Brier over the rows that are counted."""
    counted = answers.answered if counted is None else counted
    once = np.ones((1, len(rows.labels)))
    counts = _run_metrics(once, rows.labels, answers.predictions, rows.num_classes)[0]
    observed = dict(zip(("accuracy", *COUNT_METRICS), counts.T, strict=True))
    for metric in ("nll", "brier"):
        losses = answers.losses(metric, rows)[:, counted]
        observed[metric] = losses.mean(axis=1) if counted.any() else np.full(answers.runs, np.nan)
    return observed


# Resampling


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


def _count_draws(methods: Sequence[Answers], rows: Rows) -> list[np.ndarray]:
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
    parts = [_run_metrics(weights, cells[0], cells[1:], rows.num_classes) for weights in resamples]
    ends = np.cumsum([answers.runs for answers in methods])[:-1]
    return np.split(np.concatenate(parts), ends, axis=1)


def _run_metrics(weights: np.ndarray, labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Accuracy and `COUNT_METRICS` of runs with weighted rows or cells, shape `(resamples, runs, metrics)`."""
    of_runs = []
    totals = weights.sum(axis=1)
    for answers in predictions:
        accuracy = weights[:, answers == labels].sum(axis=1) / totals
        counts = count_metrics(weights, labels, answers, num_classes)
        of_runs.append(np.concatenate([accuracy[:, None], counts], axis=1))
    return np.stack(of_runs, axis=1)


def _loss_draws(methods: Sequence[Answers], rows: Rows, counted: np.ndarray) -> list[np.ndarray]:
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


def _seed_means(methods: Sequence[np.ndarray]) -> list[np.ndarray]:
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


def _student(value: float, draws: np.ndarray, seeds: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Student's interval and p-value with a resampled standard error.

    The degrees of freedom are Satterthwaite's (1946, https://doi.org/10.2307/3002019): few seeds give few; the rows'
    part of the variance counts as known.

    Args:
        value: The mean, or the difference of two means.
        draws: Resamples of it, shape `(resamples,)`.
        seeds: The metric of each run, for each method, shape `(runs,)`.

    Returns:
        The bounds of the interval, and the p-value of the hypothesis that the value is 0.
    """
    from scipy.stats import t

    if not np.isfinite(draws).all() or not math.isfinite(value):
        return math.nan, math.nan, math.nan
    variance = float(np.var(draws, ddof=1))
    if not variance:
        return value, value, 0.0 if value else 1.0
    of_seeds = 0.0
    for values in seeds:
        if len(values) > 1:
            of_seeds += (float(np.var(values, ddof=1)) / len(values)) ** 2 / (len(values) - 1)
    freedom = variance**2 / of_seeds if of_seeds else math.inf
    error = math.sqrt(variance)
    width = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return value - width, value + width, 2 * float(t.sf(abs(value) / error, freedom))


# Two methods


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
    found: list[dict[str, Difference]] = []
    single: list[int] = []  # pairs of methods of one run each: their losses are tested together below
    counts = _count_draws(methods, rows)
    losses = _LossDraws(methods, rows)
    for number, (one, other) in enumerate(pairs):
        first, second = methods[one], methods[other]
        if first.runs > 1 or second.runs > 1:
            of_losses = losses.over(first.answered & second.answered)
            draws = [np.concatenate([counts[index], of_losses[index]], axis=2) for index in (one, other)]
            found.append(_difference_of_seeds(first, second, draws, rows))
        else:
            found.append(_difference_of_runs(first, second, (counts[one] - counts[other])[:, 0, 1:], rows))
            single.append(number)
    tested = ("nll", "brier") if rows.groups is None else MEAN_METRICS
    signed = [
        _row_differences(methods[pairs[number][0]], methods[pairs[number][1]], metric, rows)
        for number in single
        for metric in tested
    ]
    p_values = iter(sign_flip_test(np.array(signed), rows))
    for number in single:
        for metric in tested:
            p = next(p_values)
            if not math.isnan(found[number][metric].value):
                found[number][metric] = found[number][metric]._replace(p=p)
    return found


class _LossDraws:
    """The `_loss_draws` of methods, drawn once for all pairs that answered the same rows."""

    def __init__(self, methods: Sequence[Answers], rows: Rows) -> None:
        self.methods = methods
        self.rows = rows
        self.known: dict[bytes, list[np.ndarray]] = {}

    def over(self, counted: np.ndarray) -> list[np.ndarray]:
        """The draws of all methods over some rows, bool, shape `(rows,)`."""
        key = counted.tobytes()
        if key not in self.known:
            self.known[key] = _loss_draws(self.methods, self.rows, counted)
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
        interval = mean_interval(values) if rows.groups is None else _mean_of_groups(values, rows.units[counted])
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
    return power_quantiles() * error


def _count_differences(first: Answers, second: Answers, draws: np.ndarray, rows: Rows) -> dict[str, Difference]:
    low, high = np.quantile(draws, TAILS, axis=0)
    p_values = swap_test(first.predictions[0], second.predictions[0], rows)
    once = np.ones((1, len(rows.labels)))
    both = np.concatenate([first.predictions, second.predictions])
    of_first, of_second = _run_metrics(once, rows.labels, both, rows.num_classes)[0]
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
    means = _seed_means(draws)
    of_first = _observed(first, rows, counted)
    of_second = _observed(second, rows, counted)
    with np.errstate(invalid="ignore"):  # inf - inf
        differences = means[0] - means[1]
    found = {}
    for index, metric in enumerate(METRICS):
        value = float(of_first[metric].mean() - of_second[metric].mean())
        drawn = differences[:, index]
        low, high, p = _student(value, drawn, [of_first[metric], of_second[metric]])
        size = int(counted.sum()) if metric in ("nll", "brier") else len(rows.labels)
        found[metric] = Difference(value, low, high, p, size)
        if metric == "accuracy":
            visible = power_quantiles() * float(np.std(drawn, ddof=1))
            found[metric] = found[metric]._replace(smallest_visible=visible)
    return found


# Permutation tests


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
