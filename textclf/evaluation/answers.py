"""Answers of methods to the same rows, and the metrics that are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

METRICS = ("accuracy", "macro_f1", "mcc", "nll", "brier")
LOWER_IS_BETTER = ("nll", "brier")
MEAN_METRICS = ("accuracy", "nll", "brier")
"""Metrics that are means over rows."""


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
        answered: np.ndarray = ~np.isnan(self.brier).any(axis=0)  # unlike `nll`, it depends on all classes
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


def wins_and_losses(first: Answers, second: Answers, rows: Rows) -> tuple[int, int] | None:
    """Numbers of rows that only the first gets right, and that only the second does; None with several seeds."""
    if first.runs > 1 or second.runs > 1:
        return None
    first_right = first.predictions[0] == rows.labels
    second_right = second.predictions[0] == rows.labels
    return int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())


def badness(value: float, metric: str) -> float:
    """A number that is smaller for a better method; unknown values come last."""
    if math.isnan(value):
        return math.inf
    return value if metric in LOWER_IS_BETTER else -value
