"""Label names: their normal spelling, and from a label column to class indices."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from textclf.console import say
from textclf.data.cleaning import NormalizeUnicode, RemoveControlCharacters, StripWhitespace
from textclf.data.text_values import as_text, content_of, has_single_values, mended
from textclf.errors import UserError
from textclf.types import Dataset

MOST_LABELS = 1000
"""A column with more values is taken to hold something else than labels."""
INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf")
"""Unicode's categories of white space and of characters without a glyph."""
VARIATION_SELECTORS = "\ufe0e\ufe0f"
NAME_STEPS = (RemoveControlCharacters(), NormalizeUnicode(), StripWhitespace())
"""Cleaning steps for names; in this order, since a byte-order mark within a name would keep NFC from composing it."""


# Names


def normalized_name(name: str) -> str:
    """Normalizes a label name as texts are normalized: composed (NFC), without white space at the ends.

    Names are always compared in this spelling: those of a column, of `label_names`, of arguments that are given by
    label name, and of a checkpoint.
    """
    name = mended(name)
    for step in NAME_STEPS:
        name = step.clean(name)
    return name


def normalized_names(names: Iterable[str]) -> tuple[str, ...]:
    """Normalizes several label names.

    Raises:
        UserError: Two of them become the same, or one becomes empty.
    """
    first: dict[str, str] = {}
    if isinstance(names, str | Mapping | set | frozenset):
        raise UserError(f"label_names is {names!r}, a {type(names).__name__}: give a list of names, in their order")
    for given in names:
        name = as_text(given) or ""
        tidy = normalized_name(name)
        if not tidy:
            raise UserError(f"label_names has the empty name {given!r}: give each class a name")
        if tidy in first:
            other = first[tidy]
            spelt = "" if name == other else f" (spelt {other!a} and {name!a})"
            raise UserError(f"label_names has {tidy!r} twice{spelt}: give each name once")
        first[tidy] = name
    return tuple(first)


def _skeleton(name: str) -> str:
    """A name without the differences that readers overlook: case, width, white space and invisible characters."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if unicodedata.category(c) not in INVISIBLE and c not in VARIATION_SELECTORS)


def looks_like(name: str, other: str) -> bool:
    """Whether a reader may mistake one name for the other.

    They may differ in case, width, spaces and invisible characters, or in Cyrillic or Greek letters among Latin ones.
    """
    if _skeleton(name) == _skeleton(other):
        return True
    if len(name) != len(other):
        return False
    different = [sorted(pair) for pair in zip(name, other, strict=True) if pair[0] != pair[1]]
    # U+0370 to U+052F are Greek and Cyrillic.
    two_scripts = all(low.isascii() and "\u0370" <= high <= "\u052f" for low, high in different)
    return two_scripts and 2 * len(different) <= len(name)


def say_alike(names: Sequence[str]) -> None:
    """Reports names that readers may mistake for each other; they stay different classes."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_skeleton(name), []).append(name)
    for group in groups.values():
        if len(group) > 1:
            say(
                f"the labels {' and '.join(map(_spelt, group))} differ in case, width, spaces or invisible characters "
                f"alone, and are {len(group)} classes: if they are one class, change the data"
            )


def near_known(name: str, known: Sequence[str]) -> str:
    """Suggests the known label that is most similar to an unknown one, for the end of a message; else an empty string.

    Where the two look alike, both are also spelt in ASCII.
    """
    for other in known:
        if looks_like(name, other):
            return f" ({_spelt(name)} looks like {_spelt(other)}, but is another name)"
    close = get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _spelt(name: str) -> str:
    """A name in quotation marks, with its ASCII spelling where it has other characters."""
    return repr(name) if name.isascii() else f"{name!r} ({name!a})"


def listed(names: Iterable[str], others: Sequence[str] = ()) -> str:
    """Lists names for a message; one that looks like another one of `others` is also spelt in ASCII."""
    shown = []
    for name in names:
        may_confuse = name not in others and any(looks_like(name, other) for other in others)
        shown.append(_spelt(name) if may_confuse else name)
    return ", ".join(shown)


def refuse_other_labels(owner: str, names: Sequence[str], of_data: Sequence[str]) -> None:
    """Refuses data whose labels are not those of a method; their order may differ.

    Args:
        owner: Whose labels are compared with the data's, such as `model`, for the message.
        names: Its label names.
        of_data: Label names of the data.

    Raises:
        UserError: The two are not the same set.
    """
    if set(names) != set(of_data):
        raise UserError(
            f"the {owner}'s labels are {listed(names, of_data)}, the data's are {listed(of_data, names)}: "
            "evaluate it on data with the same labels"
        )


# From a column to classes


def distinct_labels(source: Dataset, column: str, remedy: str, ignore_missing: bool = False) -> list[str]:
    """Returns the values of a label column as label names, sorted.

    Args:
        source: The rows as they were read.
        column: Their label column.
        remedy: How to name another column, as an imperative.
        ignore_missing: Whether rows without a label are ignored; else they are refused.

    Raises:
        UserError: The column is missing, has rows without a label, or so many values that it holds no labels.
    """
    if column not in source.column_names:
        found = ", ".join(source.column_names)
        raise UserError(f"there is no label column {column!r}: the rows have {found}; {remedy}")
    feature = source.features[column]
    if getattr(feature, "names", None):
        return list(dict.fromkeys(map(normalized_name, feature.names)))
    if not has_single_values(feature):
        raise UserError(f"column {column!r} holds {content_of(feature)}, not single labels: {remedy}")
    names: dict[str, None] = {}  # in order of their first row
    rows = 0
    for batch in source.select_columns(column).with_format("arrow").iter(batch_size=10_000):
        texts = [label_text(value) for value in batch[column].unique().to_pylist()]
        if None in texts and not ignore_missing:
            first = next(i for i, value in enumerate(batch[column].to_pylist()) if label_text(value) is None)
            raise UserError(without_label(rows + first, column, remedy))
        names |= dict.fromkeys(text for text in texts if text is not None)
        rows += len(batch)
        if len(names) > MOST_LABELS:
            first_name, second_name = list(names)[:2]
            raise UserError(
                f"column {column!r} has {len(names):,} values in its first {rows:,} rows, such as {first_name!r} and "
                f"{second_name!r}: {remedy}, or give label_names if all of them are labels"
            )
    return sorted(names)


def without_label(row: int, column: str, remedy: str) -> str:
    """The message about a row without a label; rows are counted from 0, as in ids."""
    return (
        f"row {row} (counted from 0) has no label in column {column!r}: give it one, leave the row out, drop such rows "
        f"with the cleaning step DropUnknownLabels, or, if that is not the label column, {remedy}"
    )


def label_text(value: Any) -> str | None:
    """Turns a value of a label column into a label name; None for a missing one: NaN, or nothing but white space."""
    return normalized_name(as_text(value) or "") or None


def label_indexer(
    source: Dataset, column: str, label_names: Sequence[str], remedy: str, keep_unknown: bool = False
) -> Callable[[list[Any], list[int]], list[int]]:
    """Makes the function from a source's labels to class indices; unknown ones are refused, or become -1.

    Names are matched by name: their order in the source does not matter. Indices are used as they are, in the source's
    order where its own names differ from ours (`neg` for `negative`).

    Args:
        source: The rows as they were read.
        column: Their label column.
        label_names: Name of each class.
        remedy: How to name another column, as an imperative.
        keep_unknown: Whether an unknown or missing label becomes -1.

    Returns:
        A function from labels, and the indices of their rows for messages, to class indices.
    """
    known = _known_labels(source.features[column], label_names)

    @lru_cache(maxsize=2 * MOST_LABELS, typed=True)
    def index_of(value: Any) -> int | None:
        return next((known[text] for text in _spellings(value) if text in known), None)

    def class_indices(labels: list[Any], rows: list[int]) -> list[int]:
        result = []
        for label, row in zip(labels, rows, strict=True):
            found = index_of(label)
            if found is None and not keep_unknown:
                raise UserError(_why_refused(label, row))
            result.append(-1 if found is None else found)
        return result

    def _why_refused(label: Any, row: int) -> str:
        text = label_text(label)
        if text is None:
            return without_label(row, column, remedy)
        known_names = ", ".join(map(repr, label_names))
        near = near_known(text, label_names)
        return (
            f"row {row} has the label {label!r} in column {column!r}: known are {known_names}{near}; correct it, list "
            "all labels in label_names, or drop such rows with the cleaning step DropUnknownLabels"
        )

    return class_indices


def _known_labels(feature: Any, label_names: Sequence[str]) -> dict[str, int]:
    """The class index of each label that a column may have, as text.

    Args:
        feature: The type of the column, as `datasets` describes it; it has names where the labels are a `ClassLabel`.
        label_names: Name of each class.
    """
    names = [normalized_name(name) for name in getattr(feature, "names", None) or []]
    by_name = {normalized_name(name): index for index, name in enumerate(label_names)}
    by_index = {str(index): index for index in range(len(label_names))}
    if set(names) & set(by_name):
        return {str(index): by_name[name] for index, name in enumerate(names) if name in by_name}
    if names:
        return by_index
    # A number among the names could be meant as a name or as an index: it is a name.
    if any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in label_names):
        return by_name
    return by_index | by_name


def _spellings(value: Any) -> list[str]:
    """Other spellings of a label: a truth value as Python writes it, a whole number with and without `.0`.

    (Missing values turn a column of whole numbers into one of floats.)
    """
    text = label_text(value)
    if text is None:
        return []
    if isinstance(value, bool):
        return [text, str(value)]
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return [text, str(int(value)), f"{int(value)}.0"]
    return [text]
