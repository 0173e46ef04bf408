"""From the source to the rows of the splits: cleaning, dividing, sampling, and counts after each step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from textclf.console import say
from textclf.data.cleaning import DEFAULT, TIDY, CleaningStep, RowStep, text_steps
from textclf.data.columns import KeyedRows, int_column, without_kept
from textclf.data.folds import fold_of_rows
from textclf.data.ledger import READ, Ledger
from textclf.data.options import refuse_without_effect
from textclf.data.read_files import ANY_SUFFIX
from textclf.data.relabelling import COLUMN, UNCHANGED, Relabels, with_labels
from textclf.data.source import Source
from textclf.data.splitting import LimitBy, Split, draw_sample, draw_shots, stratified_split
from textclf.errors import UserError
from textclf.hashing import rows_hash
from textclf.types import Dataset

TEST_SEED = 42
"""Seed of a test split that is made here, and of a sample of one: they do not depend on `seed`, so that runs with other
seeds can be compared."""
NAMED = 10
"""Maximum number of classes that are named in a line."""
RELABELLED = 1 << 62
CONFIRMED = 1 << 61
"""Bits of rows whose label was replaced, and of those whose new label is the one they have, beside those of the steps
that changed their text."""


class SplitRows(Source):
    """The part of a data module that makes the rows of its splits; it knows neither trainer nor model.

    Attributes:
        recipe: Cleaning steps, unless the configuration gives others.
        test_share: Share of each class that becomes the test split where the source has none.
        ledger: Counts of the rows after each step.
        test_rows_reserved: Whether some rows of a source that has only a test split are reserved for training; these
            are not scored.
    """

    recipe: ClassVar[Sequence[CleaningStep]] = DEFAULT
    test_share: ClassVar[float] = 0.0
    test_rows_reserved: bool = False

    val_size: float
    seed: int
    limit: dict[Split, int]
    limit_by: LimitBy
    shots_per_class: int | None
    fold: int | None
    fold_groups: str | None
    relabel: str | None
    ledger: Ledger
    _rows: dict[Split, Dataset]
    """Rows of each split after all steps."""
    _sources: dict[Split, KeyedRows]
    """Rows of each split after the steps that change texts; kept, since other splits are compared with them."""

    def used_splits(self) -> tuple[Split, ...]:
        """The splits before validation rows are held out: the source's; with folds, train and test are of one split."""
        source = self.source_splits()
        if self.folds is None:
            return source
        return ("train", "validation", "test") if "validation" in source and len(source) > 1 else ("train", "test")

    def has_split(self, split: Split) -> bool:
        """Whether there are rows for `split`, from the source or divided from another split."""
        source = self.used_splits()
        divided = {
            "train": (self.shots_per_class is not None or self.test_rows_reserved) and "test" in source,
            "validation": self.val_size > 0 and "train" in source,
            "test": self.test_share > 0 and "train" in source,
        }
        return split in source or divided[split]

    def reserve_test_rows(self) -> None:
        """Reserves `val_size` of the test rows of each class for training, in a source that has only a test split.

        Where `shots_per_class` is given, those rows are used instead.

        Raises:
            UserError: `val_size` is 0.
        """
        if self.shots_per_class is not None or self.test_rows_reserved:
            return
        if not self.val_size:
            raise UserError(
                "there is no train split, and val_size 0 reserves no test rows for training: pass --data.val_size 0.1"
            )
        self._rows = {}
        self._sources = {}
        self.ledger = Ledger()
        self.test_rows_reserved = True

    # Its rows

    def rows(self, split: Split) -> Dataset:
        """Rows of a split in order: `id` (str), `text` (str), `text_pair` (str, where there is one), `label` (int64).

        Columns that `keep_columns` names follow; methods are not given these.

        Raises:
            UserError: There is no such split, it is empty, or the source's columns or labels are not as expected.
        """
        if split not in self._rows:
            if not self.has_split(split):
                raise UserError(self._why_missing(split))
            if not self._rows:  # once, since the answer is the same for every split
                refuse_without_effect(self)
                self.check_relabels()
            self._read(split)
        if not len(self._rows[split]):
            raise UserError(self._why_empty(split))
        return self._rows[split]

    def fingerprints(self) -> dict[Split, str]:
        """Hashes of the rows of each split that has been read so far, without columns that are kept besides."""
        return {split: rows_hash(without_kept(rows)) for split, rows in self._rows.items()}

    def _read(self, split: Split) -> None:
        """Reads and cleans a split; train and validation together where validation is held out of train."""
        holds_out = split != "test" and self._holds_out_validation()
        rows = self._after_all_steps("train" if holds_out else split)
        if holds_out:
            # Rows of one text stay together: a copy in train would give a validation row away.
            train, validation = stratified_split(rows.labels, self.val_size, self.seed, rows.keys)
            parts: dict[Split, np.ndarray] = {"train": train, "validation": validation}
            for part, indices in parts.items():
                self._rows[part] = rows.rows.select(indices)
                why = f"val_size {self.val_size}, seed {self.seed}"
                self.ledger.add(part, "held out for validation", len(indices), why=why)
        else:
            parts = {split: np.arange(len(rows.labels))}
            self._rows[split] = rows.rows
        for part in parts:
            if part in self.limit:
                self._limit(part, self.limit[part])
            of_test = self.folds is None and self._split_to_divide() == "test"  # they are drawn before
            if part == "train" and self.shots_per_class is not None and not of_test:
                self._draw_shots(self.shots_per_class)
            self._say_missing_classes(part)

    def _holds_out_validation(self) -> bool:
        """Whether validation rows are held out of train."""
        source = self.used_splits()
        return "validation" not in source and "train" in source and self.val_size > 0

    def _limit(self, split: Split, size: int) -> None:
        """Samples the rows of a split."""
        rows = self._rows[split]
        if self.limit_by == "first":
            indices = np.arange(min(size, len(rows)))
            why = f"the first {size:,} of {split}"
        else:
            seed = TEST_SEED if split == "test" else self.seed
            indices = draw_sample(int_column(rows, "label"), size, seed)
            why = f"{size:,} of {split}, stratified by seed {seed}"
        self._rows[split] = rows.select(indices)
        self.ledger.add(split, "limit", len(indices), why=why)

    def _draw_shots(self, shots: int) -> None:
        """Draws train rows, the same number of each class."""
        rows = self._rows["train"]
        self._rows["train"] = rows.select(draw_shots(int_column(rows, "label"), shots, self.seed, self.label_names))
        why = f"{shots} of each class, seed {self.seed}"
        self.ledger.add("train", "shots_per_class", len(self._rows["train"]), why=why)

    def _say_missing_classes(self, split: Split) -> None:
        """Reports classes without rows, unless the split is empty, which is an error elsewhere."""
        present = set(np.unique(int_column(self._rows[split], "label")).tolist())
        missing = [repr(name) for label, name in enumerate(self.label_names) if label not in present]
        if not missing or not present:
            return
        if len(missing) > NAMED:
            missing[NAMED:] = [f"{len(missing) - NAMED:,} more classes"]
        effect = "a model cannot learn them" if split == "train" else "each counts 0 in the macro averages"
        say(f"the {split} split has no rows of {', '.join(missing)}: {effect}")

    def _after_all_steps(self, split: Split) -> KeyedRows:
        """The source's rows after all cleaning steps."""
        rows = self._after_text_steps(split)
        for step in self.cleaning:
            if isinstance(step, RowStep) and split in step.splits:
                rows = rows.select(step.keep(rows))
                self.ledger.add(split, type(step).__name__, len(rows.labels), why=step.why)
        return rows

    def _rows_to_compare(self, split: Split) -> KeyedRows | None:
        """The rows of another split, for the steps that compare splits; None where there is no such split.

        Validation rows that are held out do not count: they are divided from train after the steps.
        """
        has_test = split == "test" and self.has_split("test")
        if has_test or split in self.used_splits():
            return self._after_text_steps(split)
        return None

    def _after_text_steps(self, split: Split) -> KeyedRows:
        """The rows in the standard columns, after the steps that change texts; each text is hashed once."""
        if split not in self._sources:
            to_divide = self._split_to_divide()
            if to_divide is None or split == "validation":
                self._store_source(split, *self._relabelled(split))
            else:
                rows, changed = self._relabelled(to_divide)
                train, test = self._train_and_test_indices(to_divide)
                if to_divide == "train" or self.folds is not None:
                    self._store_source("train", rows.select(train), changed[train])
                    self._store_source("test", rows.select(test), changed[test])
                else:
                    self._store_source("test", rows, changed)
                    self._store_parts_of_test(rows, train, test)
        return self._sources[split]

    @cached_property
    def _relabels(self) -> Relabels | None:
        """The new labels of the file that `relabel` names."""
        return None if self.relabel is None else Relabels(self.relabel, self.label_names)

    def check_relabels(self, keep_unknown: bool = False) -> None:
        """Refuses new labels of rows that are in no split.

        Args:
            keep_unknown: Whether rows with an unknown label are read even if the recipe does not drop them.

        Raises:
            UserError: There are some.
        """
        if self._relabels is not None:
            for split in self.source_splits():
                self._relabels.classes(self._in_standard_columns(split, keep_unknown=keep_unknown)[0])
            self._relabels.check_all_found()

    def _new_classes(self, split: Split, keep_unknown: bool = False) -> np.ndarray | None:
        """The new class of each row of one of the source's own splits, `UNCHANGED` for most; int64, shape `(rows,)`.

        Args:
            split: The split.
            keep_unknown: Whether rows with an unknown label are read even if the recipe does not drop them.

        Returns:
            None where there are no new labels.
        """
        if self._relabels is None:
            return None
        return self._relabels.classes(self._in_standard_columns(split, keep_unknown=keep_unknown)[0])

    def source_rows(self, split: Split) -> Dataset:
        """Rows of one of the source's own splits in the standard columns, with new labels, before any cleaning.

        Args:
            split: One of `source_splits`.

        Returns:
            Columns `id`, `text`, `text_pair` where there is one, and `label` (-1 for an unknown or missing one).
        """
        rows = super().source_rows(split)
        new = self._new_classes(split, keep_unknown=True)
        if new is None:
            return rows
        labels = int_column(rows, "label")
        return with_labels(rows, np.where(new == UNCHANGED, labels, new))

    def _relabelled(self, split: Split) -> tuple[Dataset, np.ndarray]:
        """As `_in_standard_columns`, with new labels where there are any; such rows have one more bit."""
        rows, changed = self._in_standard_columns(split)
        new = self._new_classes(split)
        if new is None:
            return rows, changed
        labels = int_column(rows, "label")
        replaced = (new != UNCHANGED) & (new != labels)
        changed = changed | np.where(replaced, RELABELLED, 0) | np.where(new == labels, CONFIRMED, 0)
        return with_labels(rows, np.where(replaced, new, labels)), changed

    def _store_source(self, split: Split, rows: Dataset, changed: np.ndarray) -> None:
        """Stores the rows of a split, and counts those that each step changed (`changed` has a bit for each step)."""
        self._sources[split] = KeyedRows(rows, split, self._rows_to_compare)
        self.ledger.add(split, READ, len(rows))
        relabelled = int((changed & RELABELLED != 0).sum())
        confirmed = int((changed & CONFIRMED != 0).sum())
        if relabelled or confirmed:
            why = f"new labels; {confirmed:,} more are as before" if confirmed else "new labels"
            self.ledger.add(split, COLUMN, len(rows), why=why, changed=relabelled)
        for bit, step in enumerate(text_steps(self.cleaning)):
            count = int((changed >> bit & 1).sum())
            self.ledger.add(split, type(step).__name__, len(rows), why=step.why, changed=count)

    def _store_parts_of_test(self, rows: Dataset, train: np.ndarray, test: np.ndarray) -> None:
        """Stores the rows of test in two parts: those that are used for training, and those that are scored."""
        size = f"val_size {self.val_size}" if self.shots_per_class is None else f"{self.shots_per_class} of each class"
        parts: dict[Split, np.ndarray] = {"train": train, "test": test}
        for part, indices in parts.items():
            self._sources[part] = KeyedRows(rows.select(indices), part, self._rows_to_compare)
            self.ledger.add(part, "taken from test", len(indices), why=f"{size}, seed {self.seed}")

    def _split_to_divide(self) -> Split | None:
        """The split that is divided into train and test: with folds, and where the source has only one of the two."""
        source = self.source_splits()
        if self.folds is not None:
            return self._split_of_folds()
        if "train" in source and "test" not in source and self.test_share:
            return "train"
        if "test" in source and "train" not in source and (self.shots_per_class is not None or self.test_rows_reserved):
            return "test"
        return None

    def _train_and_test_indices(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of train and test in the split that is divided.

        They are drawn from texts after the steps of `TIDY`, so that a row is in the same part for every recipe.
        """
        rows, _ = self._in_standard_columns(split, text_steps(TIDY))
        tidy = KeyedRows(rows, split, lambda _: None)
        if self.folds is not None:
            return self._fold_indices(tidy, split, self.folds)
        if split == "train":
            return stratified_split(tidy.labels, self.test_share, TEST_SEED, tidy.keys)
        if self.shots_per_class is None:
            drawn = stratified_split(tidy.labels, self.val_size, self.seed, tidy.keys)[1]
        else:
            unique = np.bincount(tidy.groups, minlength=1)[tidy.groups] == 1  # no copy stays in test
            drawn = draw_shots(tidy.labels, self.shots_per_class, self.seed, self.label_names, unique & ~tidy.empty)
        say(
            f"there is no train split: {len(drawn)} rows of the test split are reserved for training, and are not "
            "scored"
        )
        return drawn, np.setdiff1d(np.arange(len(rows)), drawn)

    def _fold_indices(self, rows: KeyedRows, split: Split, folds: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of train and test, where one fold of the rows of a split is tested."""
        if split == "train" and "test" in self.source_splits():
            say(f"fold {self.fold} of {folds}: the rows that are tested come from train; the test split is not used")
        groups = None if self.fold_groups is None else self._groups_of_rows(split, self.fold_groups)
        tested = fold_of_rows(rows.labels, rows.keys, folds, self.label_names, groups) == self.fold
        return np.flatnonzero(~tested), np.flatnonzero(tested)

    # Messages about missing rows

    def _why_missing(self, split: Split) -> str:
        where = f"{self.data_dir!r} has" if self.data_dir else "the source has"
        source = self.source_splits()
        more = ""
        if split == "train" and "test" in source:
            more = ", or pass --data.shots_per_class to train on a few rows of test, which are then not scored"
        name = self._source_name(split) or split
        return (
            f"{type(self).__name__} has no {split!r} split: {where} only {', '.join(source) or 'none'}: "
            f"add {name}{ANY_SUFFIX} to it{more}"
        )

    def _why_empty(self, split: Split) -> str:
        read = next(entry.rows for entry in self.ledger.entries if entry.split == split)
        if split == "validation" and self._holds_out_validation():
            return (
                f"val_size {self.val_size} puts none of the {len(self._rows['train'])} train rows into validation: "
                "give a larger share, or 0 to train without validation"
            )
        if read:
            return f"cleaning leaves none of the {read} rows of the {split!r} split: give other --data.cleaning steps"
        return f"the {split!r} split is empty: {self.data_dir or type(self).__name__} gives no rows for it"
