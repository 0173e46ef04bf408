"""Labelled rows for methods that are not trained: to be shown in prompts, and to fit a few numbers to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from textclf.data.columns import int_column
from textclf.data.labels import normalized_names
from textclf.data.splitting import Split, stratified_split
from textclf.errors import UserError
from textclf.types import Dataset

if TYPE_CHECKING:
    from textclf.data.base import TextDataModule
    from textclf.models.base import TextClassifier, Wanted

FIT_ROWS = 1000
"""Most rows that a few numbers are fitted to: more would cost much, and change little."""


def show_examples(data: TextDataModule, model: TextClassifier, stage: str, read: Callable[[Split], Dataset]) -> None:
    """Gives a model the labelled rows that it wants; they are never rows that are scored.

    Examples are train rows; a model that chooses them itself is given all of these. Numbers are fitted to validation
    rows, those held out of train included. Where the source has a test split alone, both come from a slice of it
    (`val_size` of each class, by `seed`), which is then not scored; for a model that can do without there is no slice.

    Args:
        data: Whose rows.
        model: What they are for.
        stage: The command: `validate`, `test` or `predict`.
        read: Gives the rows of a split.

    Raises:
        UserError: There are no such rows, or too few.
    """
    wanted = model.wanted()
    if wanted is None:
        return
    if stage == "validate" and wanted.fit:
        raise UserError("validate: the validation rows are what this rule is fitted to: run `test`")
    alone = data.source_splits() == ("test",)
    if alone:
        if not (wanted.shots or wanted.fit or data.shots_per_class):
            return
        data.take_slice()
    shown, drawn = None, np.empty(0, dtype=np.int64)
    if wanted.shots:
        train = read("train")
        drawn = _rows_to_show(wanted, int_column(train, "label"), data.label_names, of_slice=alone)
        shown = train.select(drawn)
    fit = None
    if wanted.fit or (stage == "test" and (alone or data.has_split("validation"))):
        fit = read("train" if alone else "validation")
        if alone:
            fit = fit.select(np.setdiff1d(np.arange(len(fit)), drawn))
        if not len(fit):
            fit = None
    if fit is not None:
        most = FIT_ROWS if wanted.fit else min(FIT_ROWS, len(read("test")))
        fit = fit.select(_some(int_column(fit, "label"), most, data.seed))
    model.textclf.train_rows = len(drawn) + (len(fit) if fit is not None and wanted.fit else 0)
    shown, fit = (_in_order_of(model.label_names, rows, data.label_names) for rows in (shown, fit))
    model.see(shown, fit, of_test=data.sliced and not wanted.shots)


def _rows_to_show(wanted: Wanted, labels: np.ndarray, names: Sequence[str], of_slice: bool) -> np.ndarray:
    """Row numbers of the examples, or of all rows to choose from."""
    if not wanted.all_rows:
        return draw_examples(labels, wanted.shots, wanted.seed, names)
    if len(labels) < wanted.shots:
        raise UserError(f"shots {wanted.shots}: there are {len(labels)} train rows to choose from: give fewer shots")
    if of_slice and wanted.fit:  # the rows that numbers are fitted to come from there too, and must not be examples
        return stratified_split(labels, 0.5, wanted.seed)[0]
    return np.arange(len(labels))


def _in_order_of(names: Sequence[str], rows: Dataset | None, of_data: Sequence[str]) -> Dataset | None:
    """The same rows with `label` as an index into the model's label names, which may be in another order.

    (Names that do not match at all are refused when the first batch is scored.)
    """
    own = normalized_names(of_data)
    if rows is None or tuple(names) == own or set(names) != set(own):
        return rows
    places = np.array([names.index(name) for name in own])
    return rows.remove_columns("label").add_column("label", places[int_column(rows, "label")])


def _some(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """About `most` rows, as many of each class as its share."""
    if len(labels) <= most:
        return np.arange(len(labels))
    return stratified_split(labels, most / len(labels), seed)[1]


def draw_examples(labels: np.ndarray, shots: int, seed: int, names: Sequence[str]) -> np.ndarray:
    """Draws rows, as many of each class as of the others (one more of some, where that does not divide), in any order.

    Args:
        labels: Class of each row, shape `(rows,)`.
        shots: Number of rows to draw.
        seed: Of the draw, and of the order.
        names: Name of each class.

    Returns:
        Row numbers, shape `(shots,)`.

    Raises:
        UserError: A class has too few.
    """
    generator = np.random.default_rng(seed)
    drawn = []
    for place, label in enumerate(generator.permutation(len(names))):
        number = shots // len(names) + (place < shots % len(names))
        members = np.flatnonzero(labels == label)
        if len(members) < number:
            raise UserError(
                f"shots {shots} asks for {number} rows of {names[label]!r}, and there are {len(members)} to learn "
                "from: give fewer shots, or more train rows"
            )
        drawn.append(generator.permutation(members)[:number])
    return generator.permutation(np.concatenate(drawn))
