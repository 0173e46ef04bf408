"""Choosing the labelled rows that a method without training requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textclf.data.columns import int_column
from textclf.data.contract import ExampleRequest
from textclf.data.labels import normalized_names
from textclf.data.splitting import stratified_split
from textclf.errors import UserError
from textclf.types import Dataset

FIT_ROWS = 1000
"""Maximum number of rows that a few numbers are fitted to: more would cost much, and change little."""


def rows_to_show(request: ExampleRequest, labels: np.ndarray, names: Sequence[str], of_slice: bool) -> np.ndarray:
    """Chooses the examples, or all rows that the method chooses from itself.

    Args:
        request: The request.
        labels: Class of each train row, shape `(rows,)`.
        names: Name of each class.
        of_slice: Whether the rows that numbers are fitted to come from the same rows.

    Returns:
        Row numbers.

    Raises:
        UserError: There are too few rows.
    """
    if not request.all_rows:
        return draw_examples(labels, request.shots, request.seed, names)
    if len(labels) < request.shots:
        raise UserError(f"shots {request.shots}: there are {len(labels)} train rows to choose from: give fewer shots")
    if of_slice and request.fit:  # a row that numbers are fitted to must not be an example
        return stratified_split(labels, 0.5, request.seed)[0]
    return np.arange(len(labels))


def sample_to_fit(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Draws about `most` rows, of each class by its share; all where there are no more.

    Args:
        labels: Class of each row, shape `(rows,)`.
        most: Approximate number of rows.
        seed: Seed of the random choice.

    Returns:
        Row numbers.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    return stratified_split(labels, most / len(labels), seed)[1]


def with_labels_of(rows: Dataset | None, data_names: Sequence[str], model_names: Sequence[str]) -> Dataset | None:
    """Gives the same rows with `label` as an index into the model's label names, which may be in another order.

    (Names that do not match at all are refused when the first batch is scored.)

    Args:
        rows: Whose labels are indices into the data's label names.
        data_names: The data's label names.
        model_names: The model's label names.
    """
    names = normalized_names(data_names)
    if rows is None or tuple(model_names) == names or set(model_names) != set(names):
        return rows
    model_index = np.array([model_names.index(name) for name in names])
    labels = model_index[int_column(rows, "label")]
    return rows.remove_columns("label").add_column("label", labels)


def draw_examples(labels: np.ndarray, shots: int, seed: int, names: Sequence[str]) -> np.ndarray:
    """Draws rows in random order, evenly over the classes; their numbers differ by at most one.

    Args:
        labels: Class of each row, shape `(rows,)`.
        shots: Number of rows to draw.
        seed: Seed of the draw and of the order.
        names: Name of each class.

    Returns:
        Row numbers, shape `(shots,)`.

    Raises:
        UserError: A class has too few.
    """
    generator = np.random.default_rng(seed)
    drawn = []
    for index, label in enumerate(generator.permutation(len(names))):
        number = shots // len(names)
        if index < shots % len(names):
            number += 1
        members = np.flatnonzero(labels == label)
        if len(members) < number:
            raise UserError(
                f"shots {shots} asks for {number} rows of {names[label]!r}, and there are {len(members)} for "
                "training: give fewer shots, or more train rows"
            )
        drawn.append(generator.permutation(members)[:number])
    return generator.permutation(np.concatenate(drawn))
