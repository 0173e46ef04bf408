"""Dividing and sampling rows, stratified by class and determined by a seed."""

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
    """Divides rows so that each class gives the same share; the result is the same on every machine.

    At least one row of each class stays in the first part: a model cannot learn a class without train rows. Rows of the
    same text go to the same part, by the label of the first of them.

    Args:
        labels: Class of each row, shape `(rows,)`; rows with a negative one stay in the first part.
        share: Share of each class that goes to the second part.
        seed: Seed of the draw.
        keys: Hashes of the texts, shape `(rows,)`; by default all texts are different.

    Returns:
        Row numbers of the two parts, each in ascending order.
    """
    # Of each text, its first row is drawn or not; `group` is the text of each row.
    first = np.arange(len(labels))
    group = np.arange(len(labels))
    if keys is not None:
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    generator = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels[first]):
        if label < 0:
            continue
        # In the order of the rows: where no text occurs twice, the draw is the same with and without keys.
        members = generator.permutation(np.sort(first[labels[first] == label]))
        number = min(round(len(members) * share), len(members) - 1)
        drawn[members[:number]] = True
    held = drawn[first][group] & (labels >= 0)
    return np.flatnonzero(~held), np.flatnonzero(held)


def draw_sample(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Draws a stratified sample: of each class about its share; a smaller sample is part of a larger one.

    Each class that has rows gets one first (the largest classes, where `number` is smaller than the number of classes);
    the others are apportioned by the Webster/Sainte-Lague method.

    Args:
        labels: Class of each row, shape `(rows,)`.
        number: Number of rows to draw; all rows where there are fewer.
        seed: Seed of the draw.

    Returns:
        Row numbers in ascending order.
    """
    priority = np.empty(len(labels))  # the lowest are drawn
    for index, label in enumerate(np.unique(labels)):
        members = np.random.default_rng((seed, index)).permutation(np.flatnonzero(labels == label))
        priority[members] = (np.arange(len(members)) + 0.5) / len(members)
        priority[members[0]] = -len(members)
    return np.sort(np.argsort(priority, kind="stable")[:number])


def draw_shots(
    labels: np.ndarray, shots: int, seed: int, names: Sequence[str], allowed: np.ndarray | None = None
) -> np.ndarray:
    """Draws the same number of rows from each class; a smaller draw is part of a larger one.

    Args:
        labels: Class of each row, shape `(rows,)`.
        shots: Number of rows of each class.
        seed: Seed of the draw.
        names: Name of each class.
        allowed: Rows that may be drawn, bool, shape `(rows,)`; all by default.

    Returns:
        Row numbers in ascending order.

    Raises:
        UserError: A class has fewer rows.
    """
    if allowed is None:
        allowed = np.ones(len(labels), dtype=bool)
    drawn = []
    for label, name in enumerate(names):
        members = np.flatnonzero((labels == label) & allowed)
        if len(members) < shots:
            raise UserError(
                f"shots_per_class {shots} is more than the {len(members)} rows of {name!r}: "
                f"give at most as many as the smallest class has"
            )
        drawn.append(np.random.default_rng((seed, label)).permutation(members)[:shots])
    return np.sort(np.concatenate(drawn))
