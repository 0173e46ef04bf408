"""The source of a data set: its splits and columns, and the rows of a split in the standard columns."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from textclf.data.cleaning import CleaningStep, DropUnknownLabels, TextStep, text_steps
from textclf.data.columns import int_column
from textclf.data.kept_columns import with_kept_columns
from textclf.data.read_files import read_split, split_files
from textclf.data.read_hub import read_hub
from textclf.data.source_rows import as_dataset, with_valid_text
from textclf.data.splitting import SPLITS, Split
from textclf.data.standard import standard_columns
from textclf.data.text_values import as_text, content_of, has_single_values
from textclf.errors import UserError
from textclf.types import Dataset


class _Missing:
    """A class attribute that a subclass has to set."""

    def __init__(self, name: str, remedy: str) -> None:
        self.name = name
        self.remedy = remedy

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:  # `hasattr` of the class is False
            raise AttributeError(self.name)
        raise UserError(f"{owner.__name__} has no {self.name}: {self.remedy}")


def _missing(name: str, remedy: str) -> Any:
    return _Missing(name, remedy)


class Source:
    """The part of a data module that reads the source; it divides no rows, and knows neither trainer nor model.

    Attributes:
        label_names: Name of each class, in the order of their indices.
        hub_id: Repository on the hub.
        hub_config: Name of one of its data sets, where it has several.
        hub_revision: Commit of the repository; a branch where no commit is known.
        hub_fingerprints: Hash of the uncleaned rows of each split, where the revision is only a branch.
        hub_splits: The splits that the repository has.
        split_names: The source's names of splits, where they differ from ours.
        text_column: The source's column of texts.
        text_pair_column: The source's column of second texts.
        label_column: The source's column of labels: indices, or names.
        id_column: The source's column of ids; the row number where it has none.
    """

    label_names: Sequence[str] = _missing("label_names", "set it to the name of each class, in a tuple")
    hub_id: ClassVar[str] = _missing("hub_id", "name a data set on the hub, or define load_split")
    hub_config: ClassVar[str | None] = None
    hub_revision: ClassVar[str] = "main"
    hub_fingerprints: ClassVar[dict[Split, str]] = {}
    hub_splits: ClassVar[tuple[Split, ...]] = ("train", "test")
    split_names: ClassVar[dict[Split, str]] = {}
    text_column: str = "text"
    text_pair_column: str | None = None
    label_column: str = "label"
    id_column: str | None = None

    data_dir: str | None
    folds: int | None
    cleaning: Sequence[CleaningStep]
    keep_columns: Sequence[str]

    def source_splits(self) -> tuple[Split, ...]:
        """The splits that the source itself has.

        Raises:
            UserError: `data_dir` does not exist. (`predict` does not need it: its checkpoint has the labels.)
        """
        if self.data_dir is None:
            return self.hub_splits
        if not Path(self.data_dir).is_dir():
            raise UserError(
                f"data_dir {self.data_dir!r} is not a folder: give one that holds train.parquet, test.csv, ..."
            )
        found: list[Split] = []
        for split in SPLITS:
            name = self._source_name(split)
            if name is not None and split_files(self.data_dir, name):
                found.append(split)
        return tuple(found)

    def _source_name(self, split: Split) -> str | None:
        """The source's name of a split; None where the source calls another split by our name of this one.

        A folder that has a file under our own name of a split, where the source has another name, has our names.
        """
        names = self.split_names
        if self.data_dir is not None and any(split_files(self.data_dir, own) for own in names):
            names = {}
        if split in names:
            return names[split]
        return None if split in names.values() else split

    def load_split(self, split: Split) -> Dataset:
        """Reads one split of the source, in the source's columns; override it for a source of another kind.

        Raises:
            UserError: It cannot be read; the message says what to pass.
        """
        name = self._source_name(split) or split
        if self.data_dir is not None:
            return read_split(self.data_dir, name)
        return read_hub(self.hub_id, self.hub_config, self.hub_revision, name)

    def _load(self, split: Split) -> Dataset:
        """Reads one split, and makes its strings valid Unicode.

        Raises:
            UserError: It cannot be read, or a user's `load_split` gives half of a character.
        """
        gave = f"{type(self).__name__}.load_split({split!r}) gave"
        try:
            source = as_dataset(self.load_split(split), gave)
        except UnicodeEncodeError as error:
            raise UserError(
                f"{type(self).__name__}.load_split({split!r}) gives invalid characters, such as half of an emoji "
                f"({error}): pass texts through textclf.data.text_values.mended first"
            ) from error
        return with_valid_text(source, f"the {split} split")

    def source_rows(self, split: Split) -> Dataset:
        """Rows of one of the source's own splits in the standard columns, before any cleaning.

        Args:
            split: One of `source_splits`.

        Returns:
            Columns `id`, `text`, `text_pair` where there is one, and `label` (-1 for an unknown or missing one).
        """
        return self._in_standard_columns(split, steps=(), keep_unknown=True)[0]

    def _in_standard_columns(
        self, split: Split, steps: Sequence[TextStep] | None = None, keep_unknown: bool = False
    ) -> tuple[Dataset, np.ndarray]:
        """A split of the source in the standard columns, and for each row the steps that changed it, as bits.

        Args:
            split: One of the source's own splits.
            steps: Steps that change texts; by default those of the cleaning recipe.
            keep_unknown: Whether an unknown label becomes -1 even if the recipe does not drop such rows.
        """
        if steps is None:
            steps = text_steps(self.cleaning)
        source = self._load(split)
        # Rows without a known label are in no fold that is tested: they stay in train.
        part = "train" if self.folds is not None and split == self._split_of_folds() else split
        rows = standard_columns(
            source,
            text=self.text_column,
            text_pair=self.text_pair_column,
            label=self.label_column,
            id_=self.id_column,
            label_names=self.label_names,
            remedy=self._column_remedy,
            steps=steps,
            keep_unknown=keep_unknown or self._drops_unknown_labels(part),
        )
        changed = int_column(rows, "changed")
        rows = rows.remove_columns("changed")
        if self.keep_columns:
            rows = with_kept_columns(rows, source, self.keep_columns, self.label_names)
        return rows, changed

    def _drops_unknown_labels(self, split: Split) -> bool:
        """Whether rows with an unknown label are dropped, so that they must be read."""
        return any(isinstance(step, DropUnknownLabels) and split in step.splits for step in self.cleaning)

    def _split_of_folds(self) -> Split:
        """The split whose rows are divided into folds: train, or the only one."""
        source = self.source_splits()
        return "train" if "train" in source else source[0]

    def _groups_of_rows(self, split: Split, column: str) -> list[Any]:
        """The group of each row of a split, such as its author; None for a row without one, as for an empty cell.

        Raises:
            UserError: There is no such column, or its values are lists, objects or bytes.
        """
        source = self._load(split)
        if column not in source.column_names:
            raise UserError(
                f"fold_groups {column!r} is not a column of the {split} split: give one of "
                f"{', '.join(source.column_names)}"
            )
        if not has_single_values(source.features[column]):
            raise UserError(
                f"fold_groups {column!r} holds {content_of(source.features[column])}: give a column with one value in "
                "each row"
            )
        return [as_text(value) or None for value in source[column]]

    def column_option(self, role: str) -> str | None:
        """The option that names a column, such as `--data.text_column`; None where no class in the MRO has it.

        Args:
            role: `text`, `text_pair` or `label`.
        """
        argument = f"{role}_column"
        has_argument = any(argument in inspect.signature(kind).parameters for kind in type(self).__mro__[:-1])
        return f"--data.{argument}" if has_argument else None

    def _column_remedy(self, role: str) -> str:
        """How to name another column of texts or labels, as an imperative."""
        option = self.column_option(role)
        if option is not None:
            return f"name another column with {option}"
        argument = f"{role}_column"
        kind = type(self).__name__
        if self.data_dir is not None:
            return f"give the files the columns of {kind}, or read them with --data FilesDataModule --data.{argument}"
        return f"set {argument} in {kind}"
