"""Rows from the user's files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from textclf.data.base import TextDataModule
from textclf.data.labels import distinct_labels, normalized_names, say_alike
from textclf.data.read_files import ANY_SUFFIX
from textclf.data.relabelling import COLUMN, UNCHANGED, classes_of, is_saved_by_page, with_plain_texts
from textclf.data.splitting import Split
from textclf.errors import UserError
from textclf.types import Dataset


class FilesDataModule(TextDataModule):
    """Rows from your own folder: `train`, `validation` and `test` as `.parquet`, `.csv`, `.tsv` or `.jsonl`.

    `dev`, `val` and `valid` are other names of `validation`.
    """

    def __init__(
        self,
        data_dir: str,
        text_column: str = "text",
        label_column: str = "label",
        text_pair_column: str | None = None,
        label_names: Sequence[str] | None = None,
        relabel_column: str | None = COLUMN,
        **kwargs: Any,
    ) -> None:
        """Takes the names of the columns.

        Args:
            data_dir: The folder.
            text_column: Column of texts.
            label_column: Column of labels: names, or indices of `label_names`.
            text_pair_column: Column of second texts, if there is one.
            label_names: Name of each class in the order of their indices; by default those found, sorted.
            relabel_column: Column of new labels, where there is one: a cell that is not empty replaces the label.
            **kwargs: What every data set takes.
        """
        super().__init__(data_dir=data_dir, **kwargs)
        self.text_column = text_column
        self.label_column = label_column
        self.text_pair_column = text_pair_column
        self.id_column = "id"
        self.relabel_column = relabel_column
        self._given_names = label_names

    def load_split(self, split: Split) -> Dataset:
        """Reads the files of a split; those that the page of a report has saved without their quotes for spreadsheets.

        Raises:
            UserError: They cannot be read.
        """
        rows = super().load_split(split)
        return with_plain_texts(rows) if is_saved_by_page(rows.column_names) else rows

    def _new_classes(self, split: Split, keep_unknown: bool = False) -> np.ndarray | None:
        new = super()._new_classes(split, keep_unknown)
        source = self._load(split)
        if self.relabel_column not in source.column_names:
            return new
        where = f"column {self.relabel_column!r} of the {split} split"
        of_column = classes_of(source[self.relabel_column], self.label_names, where)
        return of_column if new is None else np.where(new == UNCHANGED, of_column, new)

    @cached_property
    def label_names(self) -> Sequence[str]:  # type: ignore[override]  # found on first need
        """Name of each class."""
        if self._given_names is not None:
            names = normalized_names(self._given_names)
            if len(names) < 2:
                raise UserError(f"label_names {list(self._given_names)}: give two or more names")
            say_alike(names)
            return names
        split = next(iter(self.source_splits()), None)
        if split is None:
            raise UserError(f"{self.data_dir!r} holds no rows: add train{ANY_SUFFIX}, or pass --data.label_names")
        names = tuple(
            distinct_labels(
                self._load(split),
                self.label_column,
                remedy=self._column_remedy("label"),
                ignore_missing=self._drops_unknown_labels(split),
            )
        )
        if len(names) < 2:
            raise UserError(
                f"column {self.label_column!r} has one value only ({''.join(names)!r}): classifying needs two or more "
                f"labels; {self._column_remedy('label')}"
            )
        say_alike(names)
        return names
