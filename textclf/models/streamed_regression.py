"""Logistic regression on sparse features of any number of rows, which are read from a temporary file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from textclf.models.array_file import ArrayFile, Place, temporary_arrays
from textclf.ngrams import Matrix
from textclf.types import LogisticRegression

EPOCHS = 4
"""Passes over the rows."""
SLICE_VALUES = 10_000
"""Values of consecutive rows that are read at once, or more where one row has more."""
BLOCK_SLICES = 500
"""Slices of rows, drawn from all over the file, that are in memory together."""
SEED = 0


class _Slice(NamedTuple):
    """Consecutive rows in the file.

    Attributes:
        place: An array of the labels, the numbers of values of the rows, the columns of the values, and the values
            themselves, float32 as their bits.
        rows: Number of rows.
    """

    place: Place
    rows: int


def fit_streamed(
    matrices: Iterable[Matrix],
    width: int,
    labels: np.ndarray,
    C: float,
    class_weight: Mapping[int, float],
    processes: int,
) -> LogisticRegression:
    """Fits a logistic regression by averaged stochastic gradient descent, with memory that does not grow with the rows.

    For several classes, each class is told apart from all others; the softmax of these logits has a lower
    log-likelihood loss than the normalised probabilities. Each pass has another order of the rows, with a fixed seed:
    the result is the same for any number of processes.

    Args:
        matrices: The features of all rows, some thousand rows after the other.
        width: Number of their columns.
        labels: The class of each row.
        C: Inverse strength of the L2 regularisation, as of scikit-learn's `LogisticRegression`.
        class_weight: Weight in the loss of each class.
        processes: Number of threads, for more than two classes.

    Returns:
        With the attributes `classes_`, `coef_` and `intercept_`.

    Raises:
        UserError: No space is left for the temporary file.
    """
    from sklearn.linear_model import SGDClassifier

    regression = SGDClassifier(
        loss="log_loss",
        alpha=1 / (C * len(labels)),
        average=True,
        class_weight=dict(class_weight),
        random_state=SEED,
        n_jobs=processes,
    )
    draw = np.random.default_rng(SEED)
    classes = np.flatnonzero(np.bincount(labels))
    with temporary_arrays("the features of the train rows") as file:
        slices = _write(matrices, labels, file)
        for _ in range(EPOCHS):
            order = draw.permutation(len(slices))
            for begin in range(0, len(order), BLOCK_SLICES):
                block = [slices[i] for i in order[begin : begin + BLOCK_SLICES]]
                features, targets = _read(block, width, file)
                regression.partial_fit(features, targets, classes=classes)
    return regression


def _write(matrices: Iterable[Matrix], labels: np.ndarray, file: ArrayFile) -> list[_Slice]:
    """Writes features, in single precision, and labels to the file."""
    slices = []
    first = 0
    for matrix in matrices:
        lengths = np.diff(matrix.indptr)
        starts = np.arange(0, matrix.nnz, SLICE_VALUES)
        cuts = np.unique([0, *np.searchsorted(matrix.indptr, starts), matrix.shape[0]])
        for begin, end in pairwise(cuts.tolist()):
            values = slice(matrix.indptr[begin], matrix.indptr[end])
            parts = (
                labels[first + begin : first + end].astype(np.int32),
                lengths[begin:end].astype(np.int32),
                matrix.indices[values].astype(np.int32),
                matrix.data[values].astype(np.float32).view(np.int32),
            )
            slices.append(_Slice(file.append(np.concatenate(parts)), end - begin))
        first += matrix.shape[0]
    return slices


def _read(block: Sequence[_Slice], width: int, file: ArrayFile) -> tuple[Matrix, np.ndarray]:
    """Features, shape `(rows, width)`, and labels of some slices, one after the other."""
    from scipy.sparse import csr_matrix

    parts = []
    for place, rows in block:
        values = (place.length - 2 * rows) // 2
        parts.append(np.split(file.read(place), [rows, 2 * rows, 2 * rows + values]))
    labels, lengths, indices, bits = map(np.concatenate, zip(*parts, strict=True))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    data = bits.view(np.float32).astype(np.float64)
    return csr_matrix((data, indices, indptr), shape=(len(labels), width)), labels
