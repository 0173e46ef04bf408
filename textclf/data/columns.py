"""Which rows say the same: 16 bytes for each, whatever the length of its text."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np

from textclf.data.splitting import Split
from textclf.hashing import short_hash
from textclf.types import Dataset

KEY = "S16"
"""A 128-bit hash as bytes. (NumPy drops zeros at their end, in all keys alike: equal stays equal.)"""


def text_keys(rows: Dataset) -> np.ndarray:
    """Hashes the text (and the pair) of each row; two texts of a billion would share a hash once in 10^20 times.

    Args:
        rows: With a column `text`, and `text_pair` where there is one.

    Returns:
        Shape `(rows,)`, 16 bytes each.
    """

    def key(text: str, pair: str = "") -> bytes:
        return short_hash(f"{len(text)} {text}{pair}".encode())

    parts = [np.array([key(*texts) for texts in zip(*batch, strict=True)], dtype=KEY) for batch in _texts(rows)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=KEY)


def _texts(rows: Dataset) -> Any:
    names = [name for name in ("text", "text_pair") if name in rows.column_names]
    for batch in rows.select_columns(names).iter(batch_size=10_000):
        yield [batch[name] for name in names]


class KeyedRows:
    """Rows of a split as cleaning sees them: the rows on disk, and a few bytes of each in memory.

    Attributes:
        rows: On disk.
        split: Which they are of.
        keys: Of the texts, shape `(rows,)`: equal for equal texts (and pairs).
        labels: Class indices, -1 for an unknown one, int64, shape `(rows,)`.
    """

    def __init__(self, rows: Dataset, split: Split, keys_of: Callable[[Split], np.ndarray]) -> None:
        """Takes the rows.

        Args:
            rows: Columns `id`, `text`, `label` (-1 for one that is unknown), and `text_pair` where there is one.
            split: Which they are of.
            keys_of: Gives the keys of another split, empty where there is none.
        """
        self.rows, self.split, self._keys_of = rows, split, keys_of
        self.keys = text_keys(rows)
        self.labels = int_column(rows, "label")

    @cached_property
    def groups(self) -> np.ndarray:
        """A number for each distinct text (and pair), from 0, shape `(rows,)`."""
        return np.unique(self.keys, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def empty(self) -> np.ndarray:
        """Whether the text, or one of a pair, has nothing but white space; bool, shape `(rows,)`."""
        parts = [
            np.array([not all(text.strip() for text in texts) for texts in zip(*batch, strict=True)], dtype=bool)
            for batch in _texts(self.rows)
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=bool)

    def also_in(self, split: Split) -> np.ndarray:
        """Whether each text also stands in another split, bool, shape `(rows,)`."""
        return np.isin(self.keys, self._keys_of(split))

    def select(self, kept: np.ndarray) -> KeyedRows:
        """The rows where `kept` is true."""
        places = np.flatnonzero(kept)
        part = copy(self)
        part.rows, part.keys, part.labels = self.rows.select(places), self.keys[places], self.labels[places]
        for derived in ("groups", "empty"):
            part.__dict__.pop(derived, None)
        return part


def int_column(rows: Dataset, name: str) -> np.ndarray:
    """A column of whole numbers, int64, shape `(rows,)`, without a Python number for each."""
    # All at once, `datasets` would make an Arrow table for each row of a selection.
    windows = rows.select_columns([name]).with_format("arrow").iter(batch_size=10_000)
    parts: list[np.ndarray] = [window.column(name).to_numpy().astype(np.int64) for window in windows]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def class_counts(rows: Dataset, num_classes: int) -> list[int]:
    """How many rows each class has."""
    counts: list[int] = np.bincount(int_column(rows, "label"), minlength=num_classes).tolist()
    return counts
