"""Cleaning recipes: named steps in order, first those that change texts, then those that drop rows."""

from __future__ import annotations

import html
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from textclf.classes.paths import public_path
from textclf.data.columns import KeyedRows
from textclf.data.near_repeats import THRESHOLD, check_threshold, near_texts, near_those_of
from textclf.data.splitting import Split
from textclf.errors import UserError
from textclf.hashing import source_of, text_hash
from textclf.normalization import Form, normalize_unicode


class CleaningStep:
    """A step; a subclass is a frozen dataclass, whose fields are its arguments.

    Attributes:
        why: The reason for the step, for the table of steps.
    """

    why: ClassVar[str] = ""

    def identity(self) -> str:
        """A hash of all that the step does: its arguments, and the source of its class."""
        return text_hash(f"{self!r} {source_of(type(self))}")

    def as_config(self) -> dict[str, Any]:
        """Returns `class_path` and `init_args`, as in a configuration."""
        arguments = asdict(self)  # type: ignore[call-overload]  # a subclass is a dataclass
        for name, value in arguments.items():
            if isinstance(value, tuple):
                arguments[name] = list(value)
        return {"class_path": public_path(type(self)), "init_args": arguments}


class TextStep(CleaningStep, ABC):
    """Changes texts, in all splits alike, and in texts that are classified later."""

    @abstractmethod
    def clean(self, text: str) -> str:
        """Returns the cleaned text."""


@dataclass(frozen=True)
class RowStep(CleaningStep, ABC):
    """Drops rows of some splits; by default of train alone.

    Attributes:
        splits: The splits whose rows may be dropped. Validation rows that are held out of train are cleaned with it.
    """

    splits: Sequence[Split] = ("train",)

    @abstractmethod
    def keep(self, rows: KeyedRows) -> np.ndarray:
        """Decides about the rows that earlier steps have left.

        Returns:
            Whether each stays, bool, shape `(rows,)`.
        """


# Steps that change texts


@dataclass(frozen=True)
class NormalizeUnicode(TextStep):
    """Composes characters: Hangul that macOS has taken apart becomes syllables again.

    Source: https://unicode.org/reports/tr15/.
    """

    why = "one spelling of each character"
    form: Form = "NFC"

    def clean(self, text: str) -> str:
        """Normalises it."""
        return normalize_unicode(self.form, text)


CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class RemoveControlCharacters(TextStep):
    """Takes out byte-order marks, and puts a space for each control character but tab and line breaks."""

    why = "remains of encodings"

    def clean(self, text: str) -> str:
        """Removes them."""
        return CONTROL.sub(" ", text.replace("\ufeff", ""))


ENTITY = re.compile(r"[& ](#\d{2,6}|#x[0-9a-f]{1,5}|quot|amp|lt|gt|apos|nbsp);", re.IGNORECASE)
LONG_NUMBER = re.compile(r"&#[0-9]{1000,};?")
"""Beyond Unicode, so U+FFFD in HTML; Python refuses to convert so many digits."""
TAG = re.compile(
    r"</?(?:a|b|br|div|em|font|h\d|hr|i|img|li|nobr|ol|p|span|strong|table|td|tr|u|ul)\b(?:[^<>]*>|[^<>=]*=[^<>]*$)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DecodeHTML(TextStep):
    """Turns entities into characters, also those whose ampersand became a space, and takes out tags.

    Only names of HTML's own tags are tags: the ticker symbol in `Dell Inc. <DELL.O>` stays.
    """

    why = "remains of HTML"

    def clean(self, text: str) -> str:
        """Decodes it."""
        entities = LONG_NUMBER.sub("\ufffd", ENTITY.sub(r"&\1;", text))
        return TAG.sub(" ", html.unescape(entities))


@dataclass(frozen=True)
class JoinLines(TextStep):
    r"""Replaces each run of white space, and of backslashes that mark line breaks, by one space; `\$` is a dollar."""

    why = "line breaks of the source's layout"

    def clean(self, text: str) -> str:
        """Joins its lines."""
        # One pattern for both meanings of a backslash: `\\+\$` alone would try each place of a long run.
        unmarked = re.sub(r"\\+(\$?)", lambda run: run[1] or " ", text)
        return re.sub(r"\s+", " ", unmarked)


@dataclass(frozen=True)
class StripWhitespace(TextStep):
    """Takes off white space at both ends."""

    why = "can leak the label"

    def clean(self, text: str) -> str:
        """Strips it."""
        return text.strip()


# Steps that drop rows


@dataclass(frozen=True)
class DropUnknownLabels(RowStep):
    """Drops rows whose label is not among the label names; without this step, such a row is an error."""

    why = "a label outside the known set"

    def keep(self, rows: KeyedRows) -> np.ndarray:
        """Keeps rows with a known label."""
        return rows.labels >= 0


@dataclass(frozen=True)
class DropEmpty(RowStep):
    """Drops rows without text, or, of pairs, without one of the two."""

    why = "nothing to classify"

    def keep(self, rows: KeyedRows) -> np.ndarray:
        """Keeps rows with text."""
        return ~rows.empty


@dataclass(frozen=True)
class ResolveConflicts(RowStep):
    """Resolves texts that occur with different labels.

    Attributes:
        rule: `majority` keeps the rows of the most frequent label, and none where several are equally frequent;
            `drop_all` keeps none; `keep_first` keeps the rows with the label of the first.
    """

    why = "one text, several labels"
    rule: Literal["majority", "drop_all", "keep_first"] = "majority"

    def keep(self, rows: KeyedRows) -> np.ndarray:
        """Keeps rows of texts with one label, and what the rule leaves of the others."""
        # A candidate is a text with one of its labels. Each gets a score; the best candidate of a text wins, unless
        # another one is as good. A text with one label has one candidate, which wins.
        candidates = pair_numbers(rows)
        _, first, candidate_of_row, counts = np.unique(
            candidates, return_index=True, return_inverse=True, return_counts=True
        )
        text = rows.groups[first]
        if self.rule == "majority":
            score = counts
        elif self.rule == "keep_first":
            score = -first
        else:
            score = np.zeros_like(counts)
        best = np.full(rows.groups.max(initial=-1) + 1, np.iinfo(score.dtype).min)
        np.maximum.at(best, text, score)
        is_best = score == best[text]
        number_of_best = np.bincount(text[is_best], minlength=len(best))
        wins = is_best & (number_of_best[text] == 1)
        kept: np.ndarray = wins[candidate_of_row]
        return kept


@dataclass(frozen=True)
class DropRepeats(RowStep):
    """Drops rows whose text and label an earlier row has."""

    why = "exact repeats"

    def keep(self, rows: KeyedRows) -> np.ndarray:
        """Keeps the first of each."""
        _, first = np.unique(pair_numbers(rows), return_index=True)
        kept = np.zeros(len(rows.labels), dtype=bool)
        kept[first] = True
        return kept


@dataclass(frozen=True)
class DropOverlap(RowStep):
    """Drops rows whose text is also in another split, so that the texts of that split are new to the model.

    Attributes:
        others: The splits of the source that are compared with.
    """

    why = "also in the rows that are scored"
    others: Sequence[Split] = ("validation", "test")

    def keep(self, rows: KeyedRows) -> np.ndarray:
        """Keeps rows whose texts are in none of the others."""
        kept = np.ones(len(rows.labels), dtype=bool)
        for other in self.others:
            if other != rows.split:
                kept &= ~rows.also_in(other)
        return kept


@dataclass(frozen=True)
class DropNearRepeats(RowStep):
    """Drops rows whose text is nearly that of an earlier row with the same label that stays.

    Attributes:
        threshold: Similarity from which on two texts are near repeats, 0.7 to 1; see `textclf.data.near_repeats`.
    """

    why = "nearly the same text"
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        """Checks the threshold."""
        check_threshold(self.threshold)

    def keep(self, rows: KeyedRows) -> np.ndarray:
        """Keeps the first of each."""
        near = near_texts(rows.rows, self.threshold)
        neighbours = near.neighbours()
        kept = np.ones(len(rows.labels), dtype=bool)
        staying: set[tuple[int, int]] = set()
        for row, (text, label) in enumerate(zip(near.texts.tolist(), rows.labels.tolist(), strict=True)):
            if text < 0:
                continue
            similar = (text, *neighbours.get(text, ()))
            kept[row] = not any((other, label) in staying for other in similar)
            if kept[row]:
                staying.add((text, label))
        return kept


@dataclass(frozen=True)
class DropNearOverlap(RowStep):
    """Drops rows whose text is nearly that of a row in another split, which may have any label.

    Attributes:
        others: The splits of the source that are compared with.
        threshold: Similarity from which on two texts are near repeats, 0.7 to 1; see `textclf.data.near_repeats`.
    """

    why = "nearly in the rows that are scored"
    others: Sequence[Split] = ("validation", "test")
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        """Checks the threshold."""
        check_threshold(self.threshold)

    def keep(self, rows: KeyedRows) -> np.ndarray:
        """Keeps rows whose texts are nearly in none of the others."""
        compared = [rows.of_split(other) for other in self.others if other != rows.split]
        others = [split.rows for split in compared if split is not None]
        if not others:
            return np.ones(len(rows.labels), dtype=bool)
        return ~near_those_of(rows.rows, others, self.threshold)


def pair_numbers(rows: KeyedRows) -> np.ndarray:
    """A number for each pair of a text and a label, equal for rows that have both in common; shape `(rows,)`."""
    labels = rows.labels + 1  # -1 is an unknown label
    numbers: np.ndarray = rows.groups * (int(labels.max(initial=0)) + 1) + labels
    return numbers


# Recipes

TIDY: tuple[CleaningStep, ...] = (NormalizeUnicode(), RemoveControlCharacters(), StripWhitespace())
HONEST: tuple[CleaningStep, ...] = (DropEmpty(), ResolveConflicts(), DropRepeats(), DropOverlap())
DEFAULT: tuple[CleaningStep, ...] = (*TIDY, *HONEST)
"""The recipe of a data set that has none of its own: tidies texts in all splits, and drops rows of train alone."""


def check_recipe(steps: Sequence[CleaningStep]) -> None:
    """Refuses an order in which a step would not work.

    Raises:
        UserError: A step on texts follows one on rows, or repeats are dropped before a majority is counted.
    """
    dropping: list[str] = []
    for step in steps:
        name = type(step).__name__
        if isinstance(step, TextStep) and dropping:
            raise UserError(f"cleaning: {name} changes texts, so it must come before {dropping[0]}, which drops rows")
        repeats = [earlier for earlier in dropping if earlier in ("DropRepeats", "DropNearRepeats")]
        if isinstance(step, ResolveConflicts) and step.rule == "majority" and repeats:
            raise UserError(f"cleaning: ResolveConflicts counts repeats for its majority: put it before {repeats[0]}")
        if isinstance(step, RowStep):
            dropping.append(name)


def clean_columns(
    columns: Mapping[str, list[Any]], steps: Sequence[TextStep]
) -> tuple[dict[str, list[Any]], list[int]]:
    """Applies text steps to columns of rows.

    Args:
        columns: `text`, and `text_pair` where there is one; others are left as they are.
        steps: In order.

    Returns:
        The columns, and for each row the steps that changed it: bit i is set for step i.
    """
    result = dict(columns)
    changed = [0] * len(columns["text"])
    for name in ("text", "text_pair"):
        if name not in columns:
            continue
        texts: list[str] = list(columns[name])
        for bit, step in enumerate(steps):
            for row, text in enumerate(texts):
                texts[row] = step.clean(text)
                if texts[row] != text:
                    changed[row] |= 1 << bit
        result[name] = texts
    return result, changed


def text_steps(steps: Iterable[CleaningStep]) -> list[TextStep]:
    """The steps of a recipe that change texts."""
    return [step for step in steps if isinstance(step, TextStep)]
