"""Folds of cross-validation: stratified, with equal texts and groups of rows kept together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from textclf.errors import UserError

FOLD_SEED = 42
"""Folds do not depend on the seed of a run, so that runs with other seeds are tested on the same rows."""


def fold_of_rows(
    labels: np.ndarray,
    keys: np.ndarray,
    folds: int,
    label_names: Sequence[str],
    groups: Sequence[object] | None = None,
) -> np.ndarray:
    """The fold that tests each row, int64, shape `(rows,)`, -1 for an unknown label; the same on every machine.

    Args:
        labels: Class of each row, shape `(rows,)`; a negative one is unknown.
        keys: Hashes of the texts, shape `(rows,)`: equal texts are tested in one fold.
        folds: Number of folds.
        label_names: Name of each class.
        groups: The group of each row, such as its author; rows of a group are tested in one fold. None is no group.

    Raises:
        UserError: A class has fewer texts, or there are fewer groups, than folds.
    """
    _, first, text = np.unique(keys, return_index=True, return_inverse=True)
    for label, name in enumerate(label_names):
        count = int((labels[first] == label).sum())
        if 0 < count < folds:
            raise _too_many(folds, count, f"different texts of {name!r}")
    if groups is None:
        fold = _folds_of_texts(labels, first, folds)[first][text]
    else:
        fold = _folds_of_groups(labels, text, folds, groups)
    fold[labels < 0] = -1
    return fold


def _too_many(folds: int, count: int, what: str) -> UserError:
    if count == 1:
        return UserError(f"folds {folds} needs at least two {what}, and there is one: leave folds out, or add rows")
    return UserError(f"folds {folds} is more than the {count} {what}: give at most {count} folds")


def _folds_of_groups(labels: np.ndarray, text: np.ndarray, folds: int, groups: Sequence[object]) -> np.ndarray:
    """The fold of each row, shape `(rows,)`, where groups are kept together; `text` numbers the texts."""
    from sklearn.model_selection import StratifiedGroupKFold

    connected = _connected_rows(text, groups)
    count = int(connected.max()) + 1
    if count < folds:
        raise _too_many(folds, count, "groups of rows")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=FOLD_SEED)
    fold = np.empty(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, tested) in enumerate(splitter.split(labels, labels, connected)):
            fold[tested] = number
    return fold


def _folds_of_texts(labels: np.ndarray, first: np.ndarray, folds: int) -> np.ndarray:
    """The fold of the first row of each text, shape `(rows,)`; other rows have none."""
    from sklearn.model_selection import StratifiedKFold

    in_order = np.sort(first)  # in row order, the draw is the same with and without copies
    fold = np.full(len(labels), -1, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # rows of an unknown label
        splits = StratifiedKFold(folds, shuffle=True, random_state=FOLD_SEED).split(in_order, labels[in_order])
        for number, (_, tested) in enumerate(splits):
            fold[in_order[tested]] = number
    return fold


def _connected_rows(text: np.ndarray, groups: Sequence[object]) -> np.ndarray:
    """Numbers the sets of rows that share texts or groups, directly or through other rows, shape `(rows,)`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[object, int] = {}
    texts = int(text.max()) + 1
    rows = []
    nodes = []
    for row, group in enumerate(groups):
        if group is not None:
            rows.append(text[row])
            nodes.append(texts + numbers.setdefault(group, len(numbers)))
    size = texts + len(numbers)
    links = coo_array((np.ones(len(rows)), (rows, nodes)), shape=(size, size))
    components: np.ndarray = connected_components(links, directed=False)[1]
    _, connected = np.unique(components[text], return_inverse=True)
    return connected
