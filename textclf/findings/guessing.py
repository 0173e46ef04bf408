"""How well a simple classifier guesses something from a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textclf.data.columns import KEY
from textclf.data.folds import fold_of_rows
from textclf.findings.label_errors import FOLDS, out_of_fold_probabilities
from textclf.hashing import short_hash

BEGINNING = 1_000
"""Characters of a text that are looked at."""
TOL = 1e-4
"""Smaller than for label errors: what is guessed here may hardly depend on the texts."""


def guess(texts: Sequence[str], classes: np.ndarray, groups: Sequence[object] | None = None) -> np.ndarray | None:
    """Probabilities of classes, each row's from a classifier that is fitted to other rows, with other texts.

    Args:
        texts: Their first `BEGINNING` characters are used.
        classes: The class of each text, from 0, shape `(rows,)`.
        groups: The group of each text; a classifier is fitted to other groups, too.

    Returns:
        Shape `(rows, num_classes)`; None where there are too few different texts.
    """
    beginnings = [text[:BEGINNING] for text in texts]
    keys = np.array([short_hash(text.encode("utf-8", "replace")) for text in beginnings], dtype=KEY)
    _, first = np.unique(keys, return_index=True)
    counts = np.bincount(classes[first], minlength=int(classes.max()) + 1)
    if len(counts) < 2 or counts.min() < FOLDS:
        return None
    try:
        folds = fold_of_rows(classes, keys, FOLDS, [str(label) for label in range(len(counts))], groups)
        return out_of_fold_probabilities([beginnings], classes, folds, len(counts), tol=TOL)
    except ValueError:  # too few groups; or, raised by scikit-learn, no n-gram occurs twice
        return None
