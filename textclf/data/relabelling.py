"""New labels of rows, from the CSV file that the page of a report saves, or from a column beside the labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from textclf.console import say
from textclf.data.columns import WINDOW, int_column
from textclf.data.labels import label_text, near_known
from textclf.data.read_files import read_file
from textclf.data.text_values import as_text
from textclf.errors import UserError
from textclf.types import Dataset

COLUMN = "relabel"
"""The column of new labels, by default."""
PAGE_COLUMNS = {"prediction", COLUMN}
"""Columns by which a file that a page has saved is known."""
PAGE_TEXTS = ("id", "text", "text_pair", "label", COLUMN)
"""The columns of such a file that are read."""
FORMULA = re.compile(r"^'*[=+\-@\t\r\n＝＋－＠]")
"""A cell that a spreadsheet may take for a formula, with or without quotes before it."""
DEFUSED = re.compile(r"^'+[=+\-@\t\r\n＝＋－＠]")
"""A cell that would be a formula, and has a quote before it, so that spreadsheets take it for a text."""
UNCHANGED = -1
SHOWN = 60
"""Characters of a text that a message shows."""

Key = tuple[str, ...]
"""The id of a row and its texts, without differences in white space, which spreadsheets may change."""


def without_quote(cell: str) -> str:
    """A cell of a file that a page has saved, without the quote that keeps spreadsheets from running a formula."""
    return cell[1:] if DEFUSED.match(cell) else cell


def with_quote(cell: str) -> str:
    """A cell for a CSV file that a spreadsheet takes for a text, also where it begins like a formula."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def with_plain_texts(rows: Dataset) -> Dataset:
    """Rows of a file that a page has saved, without the quotes that keep spreadsheets from running formulas."""
    columns = [name for name in PAGE_TEXTS if name in rows.column_names]
    return rows.map(partial(_without_quotes, columns), batched=True, desc="reading rows")


def _without_quotes(columns: Sequence[str], rows: dict[str, list[str | None]]) -> dict[str, list[str | None]]:
    return {name: [cell and without_quote(cell) for cell in rows[name]] for name in columns}


def is_saved_by_page(columns: Iterable[str]) -> bool:
    """Whether a file with these columns was saved by the page of a report."""
    return set(columns) >= PAGE_COLUMNS


def classes_of(cells: Sequence[object], label_names: Sequence[str], where: str) -> np.ndarray:
    """Class indices of new labels.

    Args:
        cells: A label name for each row; missing, or white space, for a row that keeps its label.
        label_names: Name of each class.
        where: What is read, for messages.

    Returns:
        int64, shape `(rows,)`; `UNCHANGED` for a row that keeps its label.

    Raises:
        UserError: A name is not a label.
    """
    known = {name: index for index, name in enumerate(label_names)}
    classes = np.full(len(cells), UNCHANGED, dtype=np.int64)
    for row, cell in enumerate(cells):
        name = label_text(cell)
        if name is None:
            continue
        if name not in known:
            names = ", ".join(map(repr, label_names))
            raise UserError(
                f"{where}: row {row} (counted from 0) has the new label {name!r}: known are {names}"
                f"{near_known(name, label_names)}; correct it, or leave the cell empty"
            )
        classes[row] = known[name]
    return classes


def with_labels(rows: Dataset, labels: np.ndarray) -> Dataset:
    """Rows in the standard columns with other labels.

    Args:
        rows: The rows; they are not changed.
        labels: Class indices, int64, shape `(rows,)`.
    """
    from datasets import Value

    if np.array_equal(labels, int_column(rows, "label")):
        return rows
    unlabelled = rows.remove_columns("label")
    return unlabelled.add_column("label", labels, feature=Value("int64")).select_columns(rows.column_names)


class Relabels:
    """The new labels of a file; its rows are found by their `id`, `text`, and `text_pair` where there is one."""

    def __init__(self, path: str, label_names: Sequence[str]) -> None:
        """Reads the file.

        Args:
            path: A `.csv`, `.tsv`, `.jsonl` or `.parquet` file with the columns `id`, `text` and `relabel`.
            label_names: Name of each class.

        Raises:
            UserError: It cannot be read, lacks a column, has an unknown label, or two new labels of one row.
        """
        self.path = path
        rows = read_file(Path(path))
        if is_saved_by_page(rows.column_names):
            rows = with_plain_texts(rows)
        for column in ("id", "text", COLUMN):
            if column not in rows.column_names:
                raise UserError(
                    f"relabel {path!r} has no column {column!r}: it has {', '.join(rows.column_names)}; give the CSV "
                    "file that the page of a report saves"
                )
        classes = classes_of(rows[COLUMN], label_names, f"relabel {path!r}")
        self._new: dict[Key, int] = {}
        for row in np.flatnonzero(classes != UNCHANGED).tolist():
            key = _key(rows[row])
            if self._new.setdefault(key, int(classes[row])) != classes[row]:
                raise UserError(f"relabel {path!r} has two new labels of the row {_shown(key)}: keep one")
        if not self._new:
            say(f"relabel {path!r} has no new labels: fill in its column {COLUMN!r}")
        self._ids = {key[0] for key in self._new}
        self._found: set[Key] = set()

    def classes(self, rows: Dataset) -> np.ndarray:
        """The new class of each row, int64, shape `(rows,)`; `UNCHANGED` for a row that keeps its label.

        Args:
            rows: In the standard columns, after the steps that change texts.
        """
        classes = np.full(len(rows), UNCHANGED, dtype=np.int64)
        start = 0
        for window in rows.select_columns(["id"]).iter(batch_size=WINDOW):
            for place, id_ in enumerate(window["id"], start):
                if _plain(id_) in self._ids:
                    key = _key(rows[place])
                    if key in self._new:
                        classes[place] = self._new[key]
                        self._found.add(key)
            start += len(window["id"])
        return classes

    def check_all_found(self) -> None:
        """Refuses new labels of rows that no split has; called after `classes` of all splits.

        Raises:
            UserError: There are some.
        """
        missing = [key for key in self._new if key not in self._found]
        if missing:
            raise UserError(
                f"relabel {self.path!r}: {len(missing)} of {len(self._new)} relabelled rows are in no split, such as "
                f"{_shown(missing[0])}: give a file of a report on this data set with the same cleaning steps"
            )


def _key(row: dict[str, object]) -> Key:
    return tuple(_plain(as_text(row.get(column)) or "") for column in ("id", "text", "text_pair"))


def _plain(cell: str) -> str:
    return " ".join(cell.split())


def _shown(key: Key) -> str:
    text = key[1] if len(key[1]) <= SHOWN else f"{key[1][:SHOWN]}..."
    return f"with the id {key[0]!r} and the text {text!r}"
