"""Dividing rows by seed and stratum."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from textclf.errors import UserError

Split = Literal["train", "validation", "test"]
LimitBy = Literal["stratified", "first"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def stratified_split(
    labels: np.ndarray, share: float, seed: int, keys: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divides rows so that each class gives the same share; the same on every machine.

    A class of one row stays in the first part: nothing can be learnt from a class that was held out whole. Rows of the
    same text go to the same part, by the label of the first of them.

    Args:
        labels: Class of each row, shape `(rows,)`; rows with a negative one stay in the first part.
        share: Of each class that goes to the second part.
        seed: Of the draw.
        keys: Of the texts, shape `(rows,)`; by default all are different.

    Returns:
        Row numbers of the two parts, each in ascending order.
    """
    first, group = np.arange(len(labels)), np.arange(len(labels))
    if keys is not None:
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    # In the order of the rows, so that the draw is the same with and without keys where no text occurs twice.
    members_of = {label: np.sort(first[labels[first] == label]) for label in np.unique(labels[first]) if label >= 0}
    generator = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for members in members_of.values():
        members = generator.permutation(members)
        held[members[: min(round(len(members) * share), len(members) - 1)]] = True
    whole = held[first][group] & (labels >= 0)
    return np.flatnonzero(~whole), np.flatnonzero(whole)


def draw_sample(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Draws a stratified sample: of each class about its share; a smaller sample is part of a larger one.

    Classes are apportioned by the Webster/Sainte-Lague method, after each class that has rows was given one (the
    largest classes first, where `number` is smaller than the number of classes).

    Args:
        labels: Class of each row, shape `(rows,)`.
        number: Rows to draw; all rows are taken where there are fewer.
        seed: Of the draw.

    Returns:
        Row numbers in ascending order.
    """
    priority = np.empty(len(labels))
    for place, label in enumerate(np.unique(labels)):
        members = np.random.default_rng((seed, place)).permutation(np.flatnonzero(labels == label))
        priority[members] = (np.arange(len(members)) + 0.5) / len(members)
        priority[members[0]] = -len(members)
    return np.sort(np.argsort(priority, kind="stable")[:number])


def draw_shots(
    labels: np.ndarray, shots: int, seed: int, names: Sequence[str], allowed: np.ndarray | None = None
) -> np.ndarray:
    """Draws the same number of rows from each class; those of a smaller draw are among those of a larger one.

    Args:
        labels: Class of each row, shape `(rows,)`.
        shots: Rows of each class.
        seed: Of the draw.
        names: Name of each class.
        allowed: Rows that may be drawn, bool, shape `(rows,)`; all by default.

    Returns:
        Row numbers in ascending order.

    Raises:
        UserError: A class has fewer rows.
    """
    drawn = []
    for label, name in enumerate(names):
        members = np.flatnonzero((labels == label) & (True if allowed is None else allowed))
        if len(members) < shots:
            raise UserError(
                f"shots_per_class {shots} is more than the {len(members)} rows of {name!r}: "
                f"give at most as many as the smallest class has"
            )
        drawn.append(np.random.default_rng((seed, label)).permutation(members)[:shots])
    return np.sort(np.concatenate(drawn))
