"""Confidence intervals of the metrics of one method, of one run or of several that differ in the seed."""

from __future__ import annotations

import math

import numpy as np

from textclf.evaluation.answers import MEAN_METRICS, METRICS, Answers, Rows
from textclf.evaluation.intervals import (
    CONFIDENCE,
    COUNT_METRICS,
    TAILS,
    UNKNOWN,
    Interval,
    accuracy_interval,
    count_intervals,
    mean_interval,
)
from textclf.evaluation.resampling import count_draws, loss_draws, observed_metrics, seed_means, student_interval


def method_intervals(answers: Answers, rows: Rows) -> dict[str, Interval]:
    """The intervals of all `METRICS` of a method.

    With one run: Wilson's for accuracy, Student's for means, the bootstrap for the others. With several runs:
    Student's, with the standard error of `seed_means`. With groups of rows: Student's, with the cluster-robust standard
    error, for means, and the bootstrap over groups for the others.
    """
    if answers.runs > 1:
        intervals = _intervals_of_seeds(answers, rows)
    elif rows.groups is not None:
        intervals = _intervals_of_groups(answers, rows)
    else:
        return _intervals_of_rows(answers, rows)
    accuracy = intervals["accuracy"].value
    if accuracy in (0, 1):  # the standard error would be 0
        intervals["accuracy"] = accuracy_interval(int(accuracy) * rows.unit_count, rows.unit_count)
    return intervals


def _intervals_of_rows(answers: Answers, rows: Rows) -> dict[str, Interval]:
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
        intervals[metric] = group_mean_interval(answers.losses(metric, rows)[0, counted], rows.units[counted])
    draws = count_draws([answers], rows)[0][:, 0, 1:]
    values = observed_metrics(answers, rows)
    for index, metric in enumerate(COUNT_METRICS):
        low, high = np.quantile(draws[:, index], TAILS)
        intervals[metric] = Interval(float(values[metric].mean()), float(low), float(high))
    return {metric: intervals[metric] for metric in METRICS}


def group_mean_interval(values: np.ndarray, groups: np.ndarray) -> Interval:
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
    counts = count_draws([answers], rows)[0]
    losses = loss_draws([answers], rows, answers.answered)[0]
    draws = seed_means([np.concatenate([counts, losses], axis=2)])[0]
    intervals = {}
    for index, (metric, values) in enumerate(observed_metrics(answers, rows).items()):
        low, high, _ = student_interval(float(values.mean()), draws[:, index], [values], rows.unit_count)
        intervals[metric] = Interval(float(values.mean()), low, high)
    return intervals
