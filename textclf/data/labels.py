"""Label names: one spelling of each, and from a label column to class indices."""

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
"""More values than that, and the column is taken for one of something else."""
INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf")
"""Unicode's categories of white space and of characters without a glyph."""
VARIATION_SELECTORS = "\ufe0e\ufe0f"
TIDY = (RemoveControlCharacters(), NormalizeUnicode(), StripWhitespace())


# Names


def normalized_name(name: str) -> str:
    """Gives a label name its one spelling, as texts get theirs: composed (NFC), without white space at the ends.

    Names are compared in this spelling wherever two of them meet: those of a column, of `label_names`, of arguments
    that are given by label name, and of a checkpoint.
    """
    name = mended(name)
    for step in TIDY:
        name = step.clean(name)
    return name


def normalized_names(names: Iterable[str]) -> tuple[str, ...]:
    """Gives several label names their one spelling.

    Raises:
        UserError: Two of them are the same then, or one is empty.
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
    """A name without what readers overlook: case, width, white space and invisible characters."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if unicodedata.category(c) not in INVISIBLE and c not in VARIATION_SELECTORS)


def looks_like(name: str, other: str) -> bool:
    """Whether a reader may take one name for the other.

    They may differ in case, width, spaces and invisible characters, or in Cyrillic or Greek letters among Latin ones.
    """
    if _skeleton(name) == _skeleton(other):
        return True
    different = [(a, b) for a, b in zip(name, other, strict=False) if a != b]
    two_scripts = all(min(a, b).isascii() and "\u0370" <= max(a, b) <= "\u052f" for a, b in different)
    return len(name) == len(other) and two_scripts and 2 * len(different) <= len(name)


def say_alike(names: Sequence[str]) -> None:
    """Reports names that differ only in what readers overlook; they stay different classes."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_skeleton(name), []).append(name)
    for group in groups.values():
        if len(group) > 1:
            say(
                f"the labels {' and '.join(map(_spelt, group))} differ in case, width, spaces or invisible characters "
                f"alone, and are {len(group)} classes: if one is meant, change the data"
            )


def near_known(name: str, known: Sequence[str]) -> str:
    """Names the known label that is nearest to an unknown one, for the end of a message; nothing where none is near.

    Where the two look alike, both are spelt in ASCII.
    """
    for other in known:
        if looks_like(name, other):
            return f" ({_spelt(name)} looks like {_spelt(other)}, but is another name)"
    close = get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _spelt(name: str) -> str:
    return repr(name) if name.isascii() else f"{name!r} ({name!a})"


def listed(names: Iterable[str], others: Sequence[str] = ()) -> str:
    """Lists names for a message; one that looks like one of the others, but is not, is spelt in ASCII as well."""
    return ", ".join(
        _spelt(name) if name not in others and any(looks_like(name, other) for other in others) else name
        for name in names
    )


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
    """Gives the values of a label column as label names, sorted.

    Args:
        source: Rows as they were read.
        column: Its label column.
        remedy: How to name another column, as an imperative.
        ignore_missing: Whether rows without a label are left out of account; else they are refused.

    Raises:
        UserError: The column is not there, has rows without a label, or so many values that it holds no labels.
    """
    import pyarrow.compute as pc

    if column not in source.column_names:
        found = ", ".join(source.column_names)
        raise UserError(f"there is no label column {column!r}: the rows have {found}; {remedy}")
    feature = source.features[column]
    if getattr(feature, "names", None):
        return list(dict.fromkeys(map(normalized_name, feature.names)))
    if not has_single_values(feature):
        raise UserError(f"column {column!r} holds {content_of(feature)}, no single labels: {remedy}")
    names: dict[str, None] = {}
    rows = 0
    for batch in source.select_columns(column).with_format("arrow").iter(batch_size=10_000):
        texts = {value: label_text(value) for value in pc.unique(batch[column]).to_pylist()}
        missing = [value for value, text in texts.items() if text is None]
        if missing and not ignore_missing:
            first = next(i for i, value in enumerate(batch[column].to_pylist()) if label_text(value) is None)
            raise UserError(without_label(rows + first, column, remedy))
        names |= dict.fromkeys(text for text in texts.values() if text is not None)
        rows += len(batch)
        if len(names) > MOST_LABELS:
            first_name, second_name = list(names)[:2]
            raise UserError(
                f"column {column!r} has {len(names):,} values in its first {rows:,} rows, such as {first_name!r} and "
                f"{second_name!r}: {remedy}, or give label_names if all of them are labels"
            )
    return sorted(names)


def without_label(row: int, column: str, remedy: str) -> str:
    """The message about a row that has no label; rows are counted from 0, as ids are."""
    return (
        f"row {row} (counted from 0) has no label in column {column!r}: give it one, leave the row out, drop such rows "
        f"with the cleaning step DropUnknownLabels, or, if that is not the label column, {remedy}"
    )


def label_text(value: Any) -> str | None:
    """Gives a value of a label column as a label name; None where there is none: NaN, or nothing but white space."""
    return normalized_name(as_text(value) or "") or None


def label_indexer(
    source: Dataset, column: str, label_names: Sequence[str], remedy: str, keep_unknown: bool = False
) -> Callable[[list[Any], list[int]], list[int]]:
    """Makes the function from a source's labels to class indices; unknown ones are refused, or become -1.

    Names are matched as names, whatever their order in the source. Indices are taken as they are. Where the source's
    own names are others than ours (`neg` for `negative`), its order holds.

    Args:
        source: Rows as they were read.
        column: Its label column.
        label_names: Name of each class.
        remedy: How to name another column, as an imperative.
        keep_unknown: Whether an unknown or missing label becomes -1.
    """
    feature = source.features[column]
    names = [normalized_name(name) for name in getattr(feature, "names", None) or []]
    index = {normalized_name(name): i for i, name in enumerate(label_names)}
    known = {str(i): i for i in range(len(label_names))}
    if set(names) & set(index):
        known = {str(i): index[name] for i, name in enumerate(names) if name in index}
    elif not names and any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in label_names):
        known = index
    elif not names:
        known |= index

    @lru_cache(maxsize=2 * MOST_LABELS, typed=True)
    def index_of(value: Any) -> int | None:
        return next((known[text] for text in _spellings(value) if text in known), None)

    def indices(labels: list[Any], places: list[int]) -> list[int]:
        result = []
        for label, place in zip(labels, places, strict=True):
            found = index_of(label)
            if found is None and not keep_unknown:
                raise UserError(_why_refused(label, place))
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

    return indices


def _spellings(value: Any) -> list[str]:
    """How a label may be written elsewhere: a truth value as Python writes it, a whole number with and without `.0`.

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
