"""How much more frequent something is inside of a class than outside, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textclf.findings.shares import FEW, SURE
from textclf.findings.words import quoted

GAP = 0.6
"""A property leaks where its shares inside and outside of a class differ by so much."""


@dataclass(frozen=True)
class Association:
    """How much more frequent something is inside of a class than outside.

    Attributes:
        label: The class.
        inside: Share of the rows of the class that have it.
        outside: Share of the other rows.
    """

    label: int
    inside: float
    outside: float

    @property
    def gap(self) -> float:
        """The difference of both shares; -1 to 1."""
        return self.inside - self.outside

    def in_words(self, names: Sequence[str]) -> str:
        """Both shares in words."""
        return f"{self.inside:.1%} of {quoted(names[self.label])}, {self.outside:.1%} of the other rows"


@dataclass(frozen=True)
class ClassShares:
    """Shares of the rows inside and outside of one class that have each of several features; shapes `(features,)`.

    Attributes:
        label: The class.
        inside: Share of its rows.
        outside: Share of the other rows.
        pure: Share of the rows with a feature that are of the class.
        gaps: Inside less outside; 0 where the difference may be chance.
    """

    label: int
    inside: np.ndarray
    outside: np.ndarray
    pure: np.ndarray
    gaps: np.ndarray

    def of(self, feature: int) -> Association:
        """The shares of one feature."""
        return Association(self.label, float(self.inside[feature]), float(self.outside[feature]))


def class_shares(present: Any, labels: np.ndarray, num_classes: int) -> Iterator[ClassShares]:
    """Shares of each class that has enough rows, and enough others.

    Args:
        present: Sparse matrix of 0 and 1, shape `(rows, features)`.
        labels: Class of each row, from 0.
        num_classes: Number of classes.
    """
    from scipy.stats import norm

    total = _column_sums(present)
    pooled = total / len(labels)
    # Bonferroni: one of so many features of so many classes is conspicuous by chance.
    least = norm.isf(SURE / 2 / max(1, num_classes * len(total)))
    for label in range(num_classes):
        of_class = labels == label
        number = int(of_class.sum())
        others = len(labels) - number
        if min(number, others) < FEW:
            continue
        counts = _column_sums(present[of_class])
        inside, outside = counts / number, (total - counts) / others
        error = np.sqrt(pooled * (1 - pooled) * (1 / number + 1 / others))
        certain = np.abs(inside - outside) > least * error
        pure = counts / np.maximum(total, 1)
        yield ClassShares(label, inside, outside, pure, np.where(certain, inside - outside, 0))


def _column_sums(matrix: Any) -> np.ndarray:
    return np.asarray(matrix.sum(axis=0), dtype=np.float64).ravel()
