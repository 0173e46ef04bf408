"""From a source to the rows of its splits: read, cleaned, divided, drawn from, and counted at each step."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from textclf.console import say
from textclf.data.cleaning import DEFAULT, TIDY, CleaningStep, DropUnknownLabels, RowStep, TextStep, text_steps
from textclf.data.columns import KEY, KeyedRows, int_column, text_keys
from textclf.data.ledger import READ, Ledger
from textclf.data.options import refuse_without_effect
from textclf.data.read_files import ANY_SUFFIX, read_split, split_files
from textclf.data.read_hub import read_hub
from textclf.data.source_rows import as_dataset, with_valid_text
from textclf.data.splitting import SPLITS, LimitBy, Split, draw_sample, draw_shots, stratified_split
from textclf.data.standard import standard_columns
from textclf.errors import UserError
from textclf.types import Dataset

TEST_SEED = 42
"""Of a test split that is made here, and of a sample of one: they are the same whatever `seed` is, so that runs with
other seeds can be compared."""
NAMED = 10
"""Most classes that are named in a line."""


class _Missing:
    """A class attribute that a subclass has to set."""

    def __init__(self, name: str, remedy: str) -> None:
        self.name, self.remedy = name, remedy

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:  # of the class itself, there is none
            raise AttributeError(self.name)
        raise UserError(f"{owner.__name__} has no {self.name}: {self.remedy}")


def _missing(name: str, remedy: str) -> Any:
    return _Missing(name, remedy)


class SplitRows:
    """The half of a data module that knows rows, and neither trainer nor model.

    Attributes:
        label_names: Name of each class; the place is the label's index.
        hub_id: Repository on the hub.
        hub_config: Which of its data sets, where it has several.
        hub_revision: Commit of it; a branch where none is known.
        hub_fingerprints: Of the uncleaned rows of each split, where the revision is only a branch.
        hub_splits: The splits that it has.
        split_names: What the source calls a split, where it is called otherwise.
        text_column: The source's column of texts.
        text_pair_column: The source's column of second texts.
        label_column: The source's column of labels: indices, or names.
        id_column: The source's column of ids; the row number where it has none.
        recipe: How it is cleaned unless the configuration says otherwise.
        test_share: Of each class that becomes the test split where the source has none.
        ledger: What became of the rows that were read.
        sliced: Whether a part of a test split that stands alone is learnt from instead of scored.
    """

    label_names: Sequence[str] = _missing("label_names", "set it to the name of each class, in a tuple")
    hub_id: ClassVar[str] = _missing("hub_id", "name a data set on the hub, or define load_split and source_splits")
    hub_config: ClassVar[str | None] = None
    hub_revision: ClassVar[str] = "main"
    hub_fingerprints: ClassVar[dict[Split, str]] = {}
    hub_splits: ClassVar[tuple[Split, ...]] = ("train", "test")
    split_names: ClassVar[dict[Split, str]] = {}
    text_column: str = "text"
    text_pair_column: str | None = None
    label_column: str = "label"
    id_column: str | None = None
    recipe: ClassVar[Sequence[CleaningStep]] = DEFAULT
    test_share: ClassVar[float] = 0.0
    sliced: bool = False

    data_dir: str | None
    val_size: float
    seed: int
    limit: dict[Split, int]
    limit_by: LimitBy
    shots_per_class: int | None
    cleaning: Sequence[CleaningStep]
    ledger: Ledger
    _rows: dict[Split, Dataset]
    _sources: dict[Split, Dataset]

    # The source

    def source_splits(self) -> tuple[Split, ...]:
        """The splits that the source itself has.

        Raises:
            UserError: `data_dir` does not exist. (It need not for `predict`, whose checkpoint knows the labels.)
        """
        if self.data_dir is None:
            return self.hub_splits
        if not Path(self.data_dir).is_dir():
            raise UserError(
                f"data_dir {self.data_dir!r} is not a folder: give one that holds train.parquet, test.csv, ..."
            )
        return tuple(s for s in SPLITS if (name := self._source_name(s)) and split_files(self.data_dir, name))

    def _source_name(self, split: Split) -> str | None:
        """What the source calls a split; None where that name means another one."""
        return self.split_names.get(split, None if split in self.split_names.values() else split)

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
        """Reads one split; all its strings are valid Unicode then.

        Raises:
            UserError: It cannot be read, or a `load_split` of one's own gives half of a character.
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

    def has_split(self, split: Split) -> bool:
        """Whether there are rows for `split`, those made here included."""
        source = self.source_splits()
        made = {
            "train": (self.shots_per_class is not None or self.sliced) and "test" in source,
            "validation": self.val_size > 0 and "train" in source,
            "test": self.test_share > 0 and "train" in source,
        }
        return split in source or made[split]

    def take_slice(self) -> None:
        """Takes `val_size` of each class out of a test split that stands alone, to be learnt from.

        Where `shots_per_class` is given, these rows are the slice.

        Raises:
            UserError: `val_size` is 0.
        """
        if self.shots_per_class is not None or self.sliced:
            return
        if not self.val_size:
            raise UserError("val_size 0 takes no rows out of test to learn from, and there is no train split: give 0.1")
        self._rows, self._sources, self.ledger = {}, {}, Ledger()
        self.sliced = True

    # Its rows

    def rows(self, split: Split) -> Dataset:
        """Rows of a split in order: `id` (str), `text` (str), `text_pair` (str, where there is one), `label` (int64).

        Raises:
            UserError: There is no such split, it is empty, or the source's columns or labels are not as expected.
        """
        if split not in self._rows:
            if not self.has_split(split):
                raise UserError(self._why_missing(split))
            if not self._rows:  # the same for every split
                refuse_without_effect(self)
            self._read(split)
        if not len(self._rows[split]):
            raise UserError(self._why_empty(split))
        return self._rows[split]

    def _read(self, split: Split) -> None:
        held_out = split != "test" and self._held_out()
        rows = self._cleaned("train" if held_out else split)
        if held_out:
            kept, held = stratified_split(int_column(rows, "label"), self.val_size, self.seed, text_keys(rows))
            parts: dict[Split, np.ndarray] = {"train": kept, "validation": held}
            for part, places in parts.items():
                self._rows[part] = rows.select(places)
                why = f"val_size {self.val_size}, seed {self.seed}"
                self.ledger.add(part, "held out for validation", len(places), why=why)
        else:
            parts = {split: np.arange(len(rows))}
            self._rows[split] = rows
        for part in parts:
            if part in self.limit:
                self._limit(part, self.limit[part])
            if part == "train" and self.shots_per_class is not None and self._divided() != "test":
                self._draw(self.shots_per_class)
            self._say_missing_classes(part)

    def _held_out(self) -> bool:
        source = self.source_splits()
        return "validation" not in source and "train" in source and self.val_size > 0

    def _limit(self, split: Split, most: int) -> None:
        rows = self._rows[split]
        seed = TEST_SEED if split == "test" else self.seed
        if self.limit_by == "first":
            self._rows[split] = rows.select(range(min(most, len(rows))))
        else:
            self._rows[split] = rows.select(draw_sample(int_column(rows, "label"), most, seed))
        drawn = f"{most:,} of {split}, stratified by seed {seed}"
        why = f"the first {most:,} of {split}" if self.limit_by == "first" else drawn
        self.ledger.add(split, "limit", len(self._rows[split]), why=why)

    def _draw(self, shots: int) -> None:
        rows = self._rows["train"]
        self._rows["train"] = rows.select(draw_shots(int_column(rows, "label"), shots, self.seed, self.label_names))
        why = f"{shots} of each class, seed {self.seed}"
        self.ledger.add("train", "shots_per_class", len(self._rows["train"]), why=why)

    def _say_missing_classes(self, split: Split) -> None:
        present = set(np.unique(int_column(self._rows[split], "label")).tolist())
        missing = [repr(name) for label, name in enumerate(self.label_names) if label not in present]
        if missing and present:
            more = [f"{len(missing) - NAMED:,} more classes"] if len(missing) > NAMED else []
            effect = "a model cannot learn them" if split == "train" else "each counts 0 in the macro averages"
            say(f"the {split} split has no rows of {', '.join(missing[:NAMED] + more)}: {effect}")

    def _cleaned(self, split: Split) -> Dataset:
        """The source's rows after all steps."""
        rows = KeyedRows(self._tidied(split), split, self._keys_of)
        for step in self.cleaning:
            if isinstance(step, RowStep) and split in step.splits:
                rows = rows.select(step.keep(rows))
                self.ledger.add(split, type(step).__name__, len(rows.keys), why=step.why)
        return rows.rows

    def _keys_of(self, split: Split) -> np.ndarray:
        made = split == "test" and self.has_split("test")
        return text_keys(self._tidied(split)) if made or split in self.source_splits() else np.empty(0, dtype=KEY)

    def _tidied(self, split: Split) -> Dataset:
        """The rows in the standard columns, after the steps that change texts; kept, since other splits compare."""
        if split not in self._sources:
            whole = self._divided()
            if whole is None or split == "validation":
                self._keep(split, *self._standard(split))
            else:
                rows, changed = self._standard(whole)
                train, test = self._division(whole)
                if whole == "train":
                    self._keep("train", rows.select(train), changed[train])
                    self._keep("test", rows.select(test), changed[test])
                else:
                    self._keep("test", rows, changed)
                    self._take_from_test(rows, train, test)
        return self._sources[split]

    def _standard(self, split: Split, steps: Sequence[TextStep] | None = None) -> tuple[Dataset, np.ndarray]:
        """A split of the source in the standard columns, and for each row the steps that changed it, as bits."""
        rows = standard_columns(
            self._load(split),
            text=self.text_column,
            text_pair=self.text_pair_column,
            label=self.label_column,
            id_=self.id_column,
            label_names=self.label_names,
            remedy=self._column_remedy,
            steps=text_steps(self.cleaning) if steps is None else steps,
            keep_unknown=self._drops_unknown_labels(split),
        )
        return rows.remove_columns("changed"), int_column(rows, "changed")

    def _drops_unknown_labels(self, split: Split) -> bool:
        return any(isinstance(step, DropUnknownLabels) and split in step.splits for step in self.cleaning)

    def column_option(self, role: str) -> str | None:
        """The option that names a column, such as `--data.text_column`; None where the class has no such argument.

        Args:
            role: `text`, `text_pair` or `label`.
        """
        argument = f"{role}_column"
        parameters = {name for kind in type(self).__mro__[:-1] for name in inspect.signature(kind).parameters}
        return f"--data.{argument}" if argument in parameters else None

    def _column_remedy(self, role: str) -> str:
        """How to name another column of texts or labels, as an imperative."""
        if option := self.column_option(role):
            return f"name another column with {option}"
        argument, kind = f"{role}_column", type(self).__name__
        if self.data_dir is not None:
            return f"give the files the columns of {kind}, or read them with --data FilesDataModule --data.{argument}"
        return f"set {argument} in {kind}"

    def _keep(self, split: Split, rows: Dataset, changed: np.ndarray) -> None:
        self._sources[split] = rows
        self.ledger.add(split, READ, len(rows))
        for place, step in enumerate(text_steps(self.cleaning)):
            count = int((changed >> place & 1).sum())
            self.ledger.add(split, type(step).__name__, len(rows), why=step.why, changed=count)

    def _take_from_test(self, rows: Dataset, train: np.ndarray, test: np.ndarray) -> None:
        size = f"val_size {self.val_size}" if self.shots_per_class is None else f"{self.shots_per_class} of each class"
        parts: dict[Split, np.ndarray] = {"train": train, "test": test}
        for part, places in parts.items():
            self._sources[part] = rows.select(places)
            self.ledger.add(part, "taken from test", len(places), why=f"{size}, seed {self.seed}")

    def _divided(self) -> Split | None:
        """The split that becomes train and test where the source has only one of the two."""
        source = self.source_splits()
        if "train" in source and "test" not in source and self.test_share:
            return "train"
        if "test" in source and "train" not in source and (self.shots_per_class is not None or self.sliced):
            return "test"
        return None

    def _division(self, whole: Split) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of train and test; by texts that are tidied in one way, so that no recipe moves a row."""
        rows, _ = self._standard(whole, text_steps(TIDY))
        tidy = KeyedRows(rows, whole, lambda _: np.empty(0, dtype=KEY))
        if whole == "train":
            return stratified_split(tidy.labels, self.test_share, TEST_SEED, tidy.keys)
        if self.shots_per_class is None:
            drawn = stratified_split(tidy.labels, self.val_size, self.seed, tidy.keys)[1]
        else:
            once = np.bincount(tidy.groups, minlength=1)[tidy.groups] == 1
            drawn = draw_shots(tidy.labels, self.shots_per_class, self.seed, self.label_names, once & ~tidy.empty)
        aside = f"{len(drawn)} rows of the test split are set aside to learn from"
        say(f"there is no train split: {aside}, and are not scored")
        return drawn, np.setdiff1d(np.arange(len(rows)), drawn)

    # What is not there

    def _why_missing(self, split: Split) -> str:
        where = f"{self.data_dir!r} has" if self.data_dir else "the source has"
        source = self.source_splits()
        more = (
            ", or pass --data.shots_per_class to learn from a few rows of test, which are then not scored"
            if split == "train" and "test" in source
            else ""
        )
        name = self._source_name(split) or split
        return (
            f"{type(self).__name__} has no {split!r} split: {where} only {', '.join(source) or 'none'}: "
            f"add {name}{ANY_SUFFIX} to it{more}"
        )

    def _why_empty(self, split: Split) -> str:
        read = next(e.rows for e in self.ledger.entries if e.split == split)
        if split == "validation" and self._held_out():
            return (
                f"val_size {self.val_size} holds out none of the {len(self._rows['train'])} train rows: "
                "give a larger share, or 0 to train without validation"
            )
        if read:
            return f"cleaning leaves none of the {read} rows of the {split!r} split: give other --data.cleaning steps"
        return f"the {split!r} split is empty: {self.data_dir or type(self).__name__} gives no rows for it"
