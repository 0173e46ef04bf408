"""Numbers of rows of the classes: rare classes, imbalance, and shares that differ between splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textclf.findings.finding import Finding, Kind
from textclf.findings.rows import ExploredSplit
from textclf.findings.words import first_few, quoted

FEW = 20
"""A class with fewer rows of a split is rare: neither training on it nor its figures can be relied on."""
IMBALANCE = 5.0
"""From this ratio of the largest to the smallest class on, a split is imbalanced."""
SHIFT = 0.05
"""Class shares that differ in total by more than this (total variation distance) are reported."""
SURE = 0.001
"""A difference between splits is reported if it would occur by chance with a lower probability than this."""


def class_counts(split: ExploredSplit) -> np.ndarray:
    """Number of rows of each class, without rows that have no valid label; int64, shape `(num_classes,)`."""
    valid = split.labels[split.labels >= 0]
    return np.bincount(valid, minlength=len(split.label_names))


def find_in_shares(splits: Sequence[ExploredSplit]) -> list[Finding]:
    """Findings of the kinds `few_rows`, `imbalance` and `class_shift`.

    Args:
        splits: All splits; shares of the later ones are compared with those of the first.
    """
    findings = []
    for split in splits:
        findings += [*_few_rows(split), *_imbalance(split)]
    for other in splits[1:]:
        findings += _class_shift(splits[0], other)
    return findings


def _few_rows(split: ExploredSplit) -> list[Finding]:
    counts = class_counts(split)
    rare = np.flatnonzero(counts < FEW)
    if not len(rare):
        return []
    rare = rare[np.argsort(counts[rare], kind="stable")]
    rows = np.flatnonzero(np.isin(split.labels, rare))
    named = first_few([f"{quoted(split.label_names[label])} ({counts[label]})" for label in rare])
    number = "1 class has" if len(rare) == 1 else f"{len(rare)} classes have"
    detail = f"{number} fewer than {FEW} rows: {named}."
    return [_of_rows("few_rows", split, rows, detail)]


def _imbalance(split: ExploredSplit) -> list[Finding]:
    counts = class_counts(split)
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return []
    largest = int(counts.argmax())
    smallest = int(present[counts[present].argmin()])
    ratio = counts[largest] / counts[smallest]
    if ratio < IMBALANCE:
        return []
    share = counts[largest] / counts.sum()
    detail = (
        f"{quoted(split.label_names[largest])} has {counts[largest]:,} rows, {ratio:,.0f} times as many as "
        f"{quoted(split.label_names[smallest])} with {counts[smallest]:,}. A classifier that always answers the "
        f"largest class is right for {share:.1%} of the rows: look at macro-F1, and try "
        "--data.balanced true or class_weights."
    )
    return [_of_rows("imbalance", split, np.flatnonzero(split.labels == smallest), detail)]


def _of_rows(kind: Kind, split: ExploredSplit, rows: np.ndarray, detail: str) -> Finding:
    examples = tuple((split.shown(row),) for row in rows[:10])
    return Finding(kind, split.split, len(rows), split.ids(rows), detail, examples=examples)


def _class_shift(first: ExploredSplit, other: ExploredSplit) -> list[Finding]:
    from scipy.stats import chi2_contingency

    table = np.stack([class_counts(first), class_counts(other)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return []
    shares = np.stack([class_counts(first), class_counts(other)]) / table.sum(axis=1)[:, None]
    differences = shares[1] - shares[0]
    distance = float(np.abs(differences).sum() / 2)
    if distance <= SHIFT or chi2_contingency(table).pvalue >= SURE:
        return []
    largest = np.argsort(-np.abs(differences), kind="stable")[:3]
    named = [
        f"{quoted(first.label_names[label])} {shares[0, label]:.1%} and {shares[1, label]:.1%}"
        for label in largest
        if differences[label]
    ]
    detail = (
        f"The shares of the classes differ between {first.split} and {other.split} by {distance:.1%} in total, most "
        f"of all: {', '.join(named)}."
    )
    return [Finding("class_shift", f"{first.split}, {other.split}", 0, (), detail)]
