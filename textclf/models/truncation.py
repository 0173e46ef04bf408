"""Counts of the tokens that are cut off texts longer than `max_length`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textclf.console import say
from textclf.data.columns import int_column
from textclf.models.dataloaders import encoded_rows


@dataclass
class CutCounter:
    """Counts rows and tokens, and those that were cut off.

    Attributes:
        rows: Number of rows.
        tokens: Tokens that are left of them.
        cut_rows: Rows that were too long.
        cut_tokens: Tokens that were cut off them.
    """

    rows: int = 0
    tokens: int = 0
    cut_rows: int = 0
    cut_tokens: int = 0

    def add(self, lengths: Sequence[int] | np.ndarray, cut: Sequence[int] | np.ndarray) -> None:
        """Counts encoded rows.

        Args:
            lengths: The column `length`: tokens that are left of each row.
            cut: The column `cut`: tokens that were cut off each row; empty where the method counts none.
        """
        self.rows += len(lengths)
        self.tokens += int(np.sum(lengths))
        self.cut_rows += int(np.count_nonzero(cut))
        self.cut_tokens += int(np.sum(cut))

    def merge(self, other: CutCounter) -> None:
        """Adds the counts of another counter."""
        self.rows += other.rows
        self.tokens += other.tokens
        self.cut_rows += other.cut_rows
        self.cut_tokens += other.cut_tokens

    def report(self, split: str, max_length: int | None) -> None:
        """Reports what was cut off; nothing where nothing was."""
        if not self.cut_rows:
            return
        limit = "the model can read" if max_length is None else f"max_length {max_length}"
        share = self.cut_tokens / (self.cut_tokens + self.tokens)
        say(
            f"{split}: {self.cut_rows:,} of {self.rows:,} rows are longer than {limit}: "
            f"{self.cut_tokens:,} tokens ({share:.1%}) are cut off"
        )


def cut_counters(loaders: Any) -> list[CutCounter]:
    """Counts what was cut off, for each dataloader whose rows have a column `cut`.

    The counts come from the encoded rows, so they are right for rows from the cache, too.

    Args:
        loaders: As `textclf.models.dataloaders.as_list` takes them.
    """
    counters = []
    for rows in encoded_rows(loaders):
        if "cut" in rows.column_names:
            counter = CutCounter()
            counter.add(int_column(rows, "length"), int_column(rows, "cut"))
            counters.append(counter)
    return counters
