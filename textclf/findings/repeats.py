"""Rows without text, and texts that occur more than once: repeats, conflicting labels, overlap of splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import cast

import numpy as np

from textclf.data.columns import KeyedRows
from textclf.data.splitting import SPLITS, Split
from textclf.findings.finding import MAX_EXAMPLES, Finding, ShownRow
from textclf.findings.rows import ExploredSplit
from textclf.findings.words import percent, rows_in_words

EXAMPLE_SIZE = 4
"""Maximum number of rows with the same text that are shown side by side."""


@dataclass(frozen=True)
class KeyedSplit:
    """A split, and which of its texts are equal.

    Attributes:
        split: The split.
        keyed: Its rows with a hash of each text.
        texts: Number of each text (and pair), equal in all splits for equal texts, shape `(rows,)`.
    """

    split: ExploredSplit
    keyed: KeyedRows
    texts: np.ndarray

    @property
    def name(self) -> str:
        """The name of the split."""
        return self.split.split

    @property
    def labels(self) -> np.ndarray:
        """Class indices, shape `(rows,)`; -1 for a row without a valid label."""
        return self.keyed.labels

    @cached_property
    def has_text(self) -> np.ndarray:
        """Whether a row has text, bool, shape `(rows,)`."""
        return ~self.keyed.empty


def key_splits(splits: Sequence[ExploredSplit]) -> list[KeyedSplit]:
    """Numbers the texts of splits.

    Args:
        splits: The splits of a data set; they are put into the usual order.
    """
    ordered = sorted(splits, key=lambda split: SPLITS.index(split.split))
    keyed = [KeyedRows(split.rows, cast(Split, split.split), lambda _: None) for split in ordered]
    if not keyed:
        return []
    numbers = np.unique(np.concatenate([rows.keys for rows in keyed]), return_inverse=True)[1].astype(np.int64)
    ends = np.cumsum([len(split) for split in ordered])
    parts = np.split(numbers, ends[:-1])
    return [KeyedSplit(split, rows, part) for split, rows, part in zip(ordered, keyed, parts, strict=True)]


def find_repeats(splits: Sequence[KeyedSplit]) -> list[Finding]:
    """Finds rows without text, repeats, and conflicting labels in each split, and texts that two splits have.

    Args:
        splits: What `key_splits` gives.

    Returns:
        Findings of the kinds `empty`, `repeat`, `conflict` and `overlap`.
    """
    found = []
    for split in splits:
        found += [*_empty(split), *_repeats(split), *_conflicts(split)]
    for earlier, later in combinations(splits, 2):
        found += _overlap(earlier, later)
    return found


def _empty(split: KeyedSplit) -> Iterator[Finding]:
    rows = np.flatnonzero(~split.has_text)
    if len(rows):
        of_pairs = ", or none in one of the two," if split.split.has_pairs else ""
        yield Finding(
            "empty",
            split.name,
            len(rows),
            split.split.ids(rows),
            f"{_share(rows, split)} no text{of_pairs} but white space.",
            "DropEmpty",
            tuple((split.split.shown(row),) for row in rows[:MAX_EXAMPLES].tolist()),
        )


def _repeats(split: KeyedSplit) -> Iterator[Finding]:
    texts_and_labels = split.texts * (int(split.labels.max(initial=0)) + 2) + split.labels + 1
    groups = _Groups(split, texts_and_labels, split.has_text)
    if len(groups.rows):
        dropped = len(groups.rows) - groups.count
        yield Finding(
            "repeat",
            split.name,
            len(groups.rows),
            split.split.ids(groups.rows),
            f"{_share(groups.rows, split)} the text and the label of another row: {_texts(groups.count)}, so that "
            f"{rows_in_words(dropped)} can be dropped.",
            "DropRepeats",
            groups.examples(),
        )


def _conflicts(split: KeyedSplit) -> Iterator[Finding]:
    counted = split.has_text & (split.labels >= 0)
    texts = int(split.texts.max(initial=-1)) + 1
    lowest = np.full(texts, len(split.split.label_names))
    highest = np.full(texts, -1)
    np.minimum.at(lowest, split.texts[counted], split.labels[counted])
    np.maximum.at(highest, split.texts[counted], split.labels[counted])
    groups = _Groups(split, split.texts, counted & (lowest < highest)[split.texts])
    if len(groups.rows):
        yield Finding(
            "conflict",
            split.name,
            len(groups.rows),
            split.split.ids(groups.rows),
            f"{_share(groups.rows, split)} a text that occurs with different labels: {_texts(groups.count)}.",
            "ResolveConflicts",
            groups.examples(by_label=True),
        )


def _overlap(earlier: KeyedSplit, later: KeyedSplit) -> Iterator[Finding]:
    rows = np.flatnonzero(np.isin(later.texts, earlier.texts) & later.has_text)
    if not len(rows):
        return
    source = np.flatnonzero(np.isin(earlier.texts, later.texts[rows]))
    with_same_label = np.isin(_text_and_label(later)[rows], _text_and_label(earlier)[source])
    others = int((~with_same_label).sum())
    yield Finding(
        "overlap",
        f"{earlier.name}, {later.name}",
        len(rows),
        later.split.ids(rows),
        f"{_share(rows, later)} a text that is also in {earlier.name}, {others:,} of them only with another label; in "
        f"{earlier.name}, {rows_in_words(len(source))} have these texts.",
        "DropOverlap" if earlier.name == "train" else None,
        tuple(
            (earlier.split.shown(int(np.argmax(earlier.texts == later.texts[row]))), later.split.shown(row))
            for row in rows[:MAX_EXAMPLES].tolist()
        ),
    )


def _text_and_label(split: KeyedSplit) -> np.ndarray:
    """A number for each pair of a text and a label, the same in all splits of a data set, shape `(rows,)`."""
    numbers: np.ndarray = split.texts * (len(split.split.label_names) + 1) + split.labels + 1
    return numbers


def _texts(number: int) -> str:
    return "1 text" if number == 1 else f"{number:,} texts"


def _share(rows: np.ndarray, split: KeyedSplit) -> str:
    """The beginning of a sentence, such as `12 rows of train (1.2%) have`."""
    verb = "has" if len(rows) == 1 else "have"
    return f"{rows_in_words(len(rows))} of {split.name} ({percent(len(rows) / len(split.split))}) {verb}"


class _Groups:
    """Rows that have something in common with others.

    Attributes:
        rows: Their numbers, those of the largest group first, each group in the order of its rows.
        count: Number of groups.
    """

    def __init__(self, split: KeyedSplit, numbers: np.ndarray, counted: np.ndarray) -> None:
        """Groups the rows of a split.

        Args:
            split: The split.
            numbers: Equal for the rows of a group, shape `(rows,)`.
            counted: Which rows belong to a group at all, bool, shape `(rows,)`.
        """
        self.split = split
        candidates = np.flatnonzero(counted)
        _, first, group, size = np.unique(
            numbers[candidates], return_index=True, return_inverse=True, return_counts=True
        )
        shared = size[group] > 1
        order = np.lexsort((candidates[shared], first[group[shared]], -size[group[shared]]))
        self.rows = candidates[shared][order]
        self._group = group[shared][order]
        self.count = int((size > 1).sum())

    def examples(self, *, by_label: bool = False) -> tuple[tuple[ShownRow, ...], ...]:
        """The first rows of the largest groups, or the first of each label in them, with the size as a note."""
        shown: list[tuple[ShownRow, ...]] = []
        begins = np.flatnonzero(np.diff(self._group, prepend=-1))
        for begin, end in zip(begins, np.append(begins[1:], len(self.rows)), strict=True):
            if len(shown) == MAX_EXAMPLES:
                break
            rows = self.rows[begin:end]
            if by_label:
                rows = rows[np.sort(np.unique(self.split.labels[rows], return_index=True)[1])]
            note = f"one of {rows_in_words(end - begin)} with this text"
            shown.append(tuple(self.split.split.shown(row, note) for row in rows[:EXAMPLE_SIZE].tolist()))
        return tuple(shown)
