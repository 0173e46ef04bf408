"""Rows of a split as findings look at them: as in the source, before any cleaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from textclf.data.columns import WINDOW, int_column
from textclf.findings.finding import MAX_ROWS, ShownRow
from textclf.types import Dataset


@dataclass(frozen=True)
class ExploredSplit:
    """The rows of one split; they stay on disk.

    Attributes:
        split: Its name.
        rows: Columns `id`, `text`, `text_pair` where there is one, and `label` (-1 for a row without a valid label).
        label_names: Name of each class.
    """

    split: str
    rows: Dataset
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @cached_property
    def labels(self) -> np.ndarray:
        """Class indices, int64, shape `(rows,)`; -1 for a row without a valid label."""
        return int_column(self.rows, "label")

    @property
    def has_pairs(self) -> bool:
        """Whether each row has a second text."""
        return "text_pair" in self.rows.column_names

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of texts: `text`, and `text_pair` where there is one."""
        return ("text", "text_pair") if self.has_pairs else ("text",)

    def windows(self, column: str = "text") -> Iterator[list[str]]:
        """The texts of a column in order, some thousands at a time."""
        for batch in self.rows.select_columns([column]).with_format("arrow").iter(batch_size=WINDOW):
            yield batch[column].to_pylist()

    def joined_texts(self) -> list[str]:
        """The texts of all rows in memory; the two texts of a pair are joined by a line break."""
        columns = [[text for texts in self.windows(column) for text in texts] for column in self.text_columns]
        return ["\n".join(texts) for texts in zip(*columns, strict=True)]

    def select(self, indices: np.ndarray | Sequence[int]) -> ExploredSplit:
        """Some of the rows.

        Args:
            indices: Row numbers, shape `(selected,)`.
        """
        return ExploredSplit(self.split, self.rows.select(indices), self.label_names)

    def ids(self, indices: np.ndarray | Sequence[int]) -> tuple[str, ...]:
        """Ids of rows; of the first `MAX_ROWS` at most.

        Args:
            indices: Row numbers, the most conspicuous first.
        """
        return tuple(self.rows.select_columns(["id"]).select(list(indices[:MAX_ROWS]))["id"])

    def shown(self, index: int, note: str = "") -> ShownRow:
        """A row as it is shown.

        Args:
            index: Its number in the split.
            note: What is noticed in it.
        """
        row = self.rows[int(index)]
        label = None if row["label"] < 0 else self.label_names[row["label"]]
        return ShownRow(row["id"], self.split, row["text"], label, row.get("text_pair"), note)
