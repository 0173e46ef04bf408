"""Columns of rows in memory: hashes of the texts, labels, and other whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from functools import cached_property

import numpy as np

from textclf.data.splitting import Split
from textclf.hashing import short_hash
from textclf.types import Dataset

KEY = "S16"
"""Data type of a 128-bit hash as bytes. (NumPy drops trailing zeros, in all keys alike: equal keys stay equal.)"""
WINDOW = 10_000
"""Rows that are read from disk at once."""
ROW_COLUMNS = ("id", "text", "text_pair", "label")
"""Columns of rows that methods are given."""
TABLE_COLUMNS = (*ROW_COLUMNS, "prediction", "label_name", "prediction_name", "scores")
"""Columns of a prediction table, beside those of the source that are kept in it."""


def text_keys(rows: Dataset) -> np.ndarray:
    """Hashes the text (and the pair) of each row to 16 bytes.

    Equal keys mean equal texts: that two of a billion texts share a hash has a probability of 10^-20.

    Args:
        rows: With a column `text`, and `text_pair` where there is one.

    Returns:
        Shape `(rows,)`, 16 bytes each.
    """
    keys = [np.empty(0, dtype=KEY)]
    for texts, pairs in text_windows(rows):
        # The length tells where the first text ends: ("ab", "c") and ("a", "bc") are different.
        hashes = [short_hash(f"{len(text)} {text}{pair}".encode()) for text, pair in zip(texts, pairs, strict=True)]
        keys.append(np.array(hashes, dtype=KEY))
    return np.concatenate(keys)


def text_windows(rows: Dataset) -> Iterator[tuple[list[str], list[str]]]:
    """The texts and their pairs, some thousands at a time; pairs are empty strings where there are none."""
    names = [name for name in ("text", "text_pair") if name in rows.column_names]
    for batch in rows.select_columns(names).iter(batch_size=WINDOW):
        texts = batch["text"]
        yield texts, batch.get("text_pair", [""] * len(texts))


class KeyedRows:
    """Rows of a split as cleaning steps get them: the rows on disk, and a few bytes of each in memory.

    Attributes:
        rows: The rows on disk.
        split: The split that they belong to.
        labels: Class indices, -1 for an unknown one, int64, shape `(rows,)`.
        of_split: Gives the rows of another split after the steps that change texts; None where there is none.
    """

    def __init__(self, rows: Dataset, split: Split, of_split: Callable[[Split], KeyedRows | None]) -> None:
        """Takes the rows.

        Args:
            rows: Columns `id`, `text`, `label` (-1 for an unknown one), and `text_pair` where there is one.
            split: The split that they belong to.
            of_split: Gives the rows of another split after the steps that change texts; None where there is none.
        """
        self.rows = rows
        self.split = split
        self.of_split = of_split
        self.labels = int_column(rows, "label")

    @cached_property
    def keys(self) -> np.ndarray:
        """A hash of each text (and pair), equal for equal texts, shape `(rows,)`."""
        return text_keys(self.rows)

    @cached_property
    def groups(self) -> np.ndarray:
        """A number for each distinct text (and pair), from 0, shape `(rows,)`."""
        return np.unique(self.keys, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def empty(self) -> np.ndarray:
        """Whether the text, or one of a pair, has nothing but white space; bool, shape `(rows,)`."""
        empty: list[bool] = []
        has_pairs = "text_pair" in self.rows.column_names
        for texts, pairs in text_windows(self.rows):
            for text, pair in zip(texts, pairs, strict=True):
                empty.append(not text.strip() or (has_pairs and not pair.strip()))
        return np.array(empty, dtype=bool)

    def also_in(self, split: Split) -> np.ndarray:
        """Whether each text is in another split, too; bool, shape `(rows,)`."""
        other = self.of_split(split)
        return np.zeros(len(self.labels), dtype=bool) if other is None else np.isin(self.keys, other.keys)

    def select(self, kept: np.ndarray) -> KeyedRows:
        """The rows where `kept` is true."""
        indices = np.flatnonzero(kept)
        part = copy(self)
        part.rows = self.rows.select(indices)
        part.keys = self.keys[indices]
        part.labels = self.labels[indices]
        for cached in ("groups", "empty"):  # of all rows; they are computed again on use
            part.__dict__.pop(cached, None)
        return part


def without_kept(rows: Dataset) -> Dataset:
    """Rows without the columns of the source that are kept for the prediction table: methods never see these."""
    names = [name for name in rows.column_names if name in ROW_COLUMNS]
    return rows if names == rows.column_names else rows.select_columns(names)


def int_column(rows: Dataset, name: str) -> np.ndarray:
    """A column of whole numbers, int64, shape `(rows,)`, without a Python number for each."""
    parts = [np.empty(0, dtype=np.int64)]
    # Not all at once: `datasets` would make an Arrow table for each row of a selection.
    for window in rows.select_columns([name]).with_format("arrow").iter(batch_size=WINDOW):
        parts.append(window.column(name).to_numpy().astype(np.int64))
    return np.concatenate(parts)


def class_counts(rows: Dataset, num_classes: int) -> list[int]:
    """Number of rows of each class."""
    counts: list[int] = np.bincount(int_column(rows, "label"), minlength=num_classes).tolist()
    return counts
