"""Rows of any source in the standard columns: id, text, second text, and label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textclf.data.cleaning import TextStep, clean_columns
from textclf.data.labels import label_indexer
from textclf.data.text_values import (
    as_text,
    content_of,
    has_single_values,
    refuse_numbers,
)
from textclf.errors import UserError
from textclf.hashing import short_hash
from textclf.version import __version__

if TYPE_CHECKING:
    from datasets import Dataset


def standard_columns(
    source: Dataset,
    *,
    text: str,
    text_pair: str | None,
    label: str,
    id_: str | None,
    label_names: Sequence[str],
    steps: Sequence[TextStep] = (),
    remedy: Callable[[str], str] = "name another {}_column".format,
    keep_unknown: bool = False,
) -> Dataset:
    """Gives a source's rows the columns `id`, `text`, `text_pair` (where there is one), `label` and `changed`.

    An id is the source's as a string, else the row number. A missing text is an empty one. Bit i of `changed` is set
    where step i changed the row.

    Args:
        source: The rows as they were read.
        text: Their column of texts.
        text_pair: Their column of second texts.
        label: Their column of labels.
        id_: Their column of ids.
        label_names: Name of each class.
        steps: Applied to the texts, in order.
        remedy: Says, for the role of a column (`text`, `text_pair` or `label`), how to name another column.
        keep_unknown: Whether an unknown label becomes -1; else it is refused.

    Raises:
        UserError: A column is missing, the texts are not texts, or a label is not in `label_names`.
    """
    from datasets import Features, Value

    text_columns = {"text": text}
    if text_pair:
        text_columns["text_pair"] = text_pair
    _check_columns(source, text_columns, label, id_, remedy)
    label_of = label_indexer(source, label, label_names, remedy("label"), keep_unknown)

    def standard(rows: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        ids = rows.get(id_ or "", indices)
        columns: dict[str, list[Any]] = {
            "id": [as_text(id_of_row) or str(index) for index, id_of_row in zip(indices, ids, strict=True)]
        }
        for role, column in text_columns.items():
            columns[role] = [value or "" for value in rows[column]]
        columns, changed = clean_columns(columns, steps)
        return columns | {"label": label_of(rows[label], indices), "changed": changed}

    # In this order: the hash of rows depends on it.
    types = {"id": "string"} | dict.fromkeys(text_columns, "string") | {"label": "int64", "changed": "int64"}
    return source.map(
        standard,
        batched=True,
        with_indices=True,
        remove_columns=source.column_names,
        features=Features({name: Value(kind) for name, kind in types.items()}),
        new_fingerprint=_standard_key(
            source, text, text_pair, label, id_, label_names, keep_unknown, [step.identity() for step in steps]
        ),
        desc="reading rows",
    )


def _check_columns(
    source: Dataset, text_columns: Mapping[str, str], label: str, id_: str | None, remedy: Callable[[str], str]
) -> None:
    """Refuses columns that are missing, or that hold something else than texts, labels or ids.

    Args:
        source: The rows as they were read.
        text_columns: Their columns of texts, by role.
        label: Their column of labels.
        id_: Their column of ids.
        remedy: As for `standard_columns`.
    """
    for role, column in {"text": text_columns["text"], "label": label, **text_columns}.items():
        if column not in source.column_names:
            raise UserError(
                f"there is no {role.replace('_', ' ')} column {column!r}: the rows have "
                f"{', '.join(source.column_names)}; {remedy(role)}"
            )
    for role, column in text_columns.items():
        if not _is_text(source.features[column]):
            raise UserError(f"column {column!r} holds {_content(source, column)}, not text: {remedy(role)}")
        refuse_numbers(_texts(source, column), f"column {column!r}", remedy(role))
    for single in filter(None, (label, id_)):
        if single in source.column_names and not has_single_values(source.features[single]):
            raise UserError(f"column {single!r} holds {_content(source, single)}: give it one value in each row")


def _is_text(feature: Any) -> bool:
    """Whether a column holds texts, or nothing."""
    return getattr(feature, "dtype", None) in ("string", "large_string", "null")


def _content(source: Dataset, column: str) -> str:
    """Names the content of a column; for lists, objects and bytes with the first row that has one."""
    content = content_of(source.features[column])
    if getattr(source.features[column], "dtype", None) not in ("binary", "large_binary"):
        return content
    for row, value in enumerate(source.select_columns(column)[:][column]):
        # The other values of a column from a file are JSON: numbers, truth values, or texts in quotation marks.
        if value is not None and value[:1] not in b'"-0123456789tf':
            return f"{content}, first in row {row} (counted from 0)"
    return content


def _standard_key(source: Dataset, *recipe: Any) -> str:
    return short_hash(repr((__version__, fingerprint_of(source), *recipe)).encode()).hex()


def fingerprint_of(source: Dataset) -> str:
    """The fingerprint of a data set: the same for the same rows and the same operations on them.

    `datasets` names its cached files by it, and has no public way to read it; hashing all rows (`rows_hash`) would
    replace it, and takes longer the more rows there are.
    """
    return str(source._fingerprint)


def _texts(source: Dataset, column: str) -> Iterator[str | None]:
    for batch in source.select_columns(column).with_format("arrow").iter(batch_size=10_000):
        yield from batch[column].to_pylist()
