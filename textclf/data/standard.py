"""Rows of any source in the standard columns, their and their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import textclf
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

    An id is the source's as a string, else the row number. A missing text is an empty one. Bit i of `changed` tells
    that the step at place i changed the row.

    Args:
        source: As it was read.
        text: Its column of texts.
        text_pair: Its column of second texts.
        label: Its column of labels.
        id_: Its column of ids.
        label_names: Name of each class.
        steps: Applied to the texts, in order.
        remedy: From the role of a column (`text`, `text_pair` or `label`) to how another is named, as an imperative.
        keep_unknown: Whether an unknown label becomes -1; else it is refused.

    Raises:
        UserError: A column is missing, the texts are no texts, or a label is not in `label_names`.
    """
    from datasets import Features, Value

    wanted = {"text": text, "label": label, **({"text_pair": text_pair} if text_pair else {})}
    for role, column in wanted.items():
        if column not in source.column_names:
            raise UserError(
                f"there is no {role.replace('_', ' ')} column {column!r}: the rows have "
                f"{', '.join(source.column_names)}; {remedy(role)}"
            )
    for name in ("text", "text_pair"):
        if name in wanted and not _is_text(source.features[wanted[name]]):
            raise UserError(f"column {wanted[name]!r} holds {_content(source, wanted[name])}, no text: {remedy(name)}")
        if name in wanted:
            refuse_numbers(_texts(source, wanted[name]), f"column {wanted[name]!r}", remedy(name))
    for single in filter(None, (label, id_)):
        if single in source.column_names and not has_single_values(source.features[single]):
            raise UserError(f"column {single!r} holds {_content(source, single)}: give it one value in each row")
    label_of = label_indexer(source, label, label_names, remedy("label"), keep_unknown)

    def standard(rows: dict[str, list[Any]], places: list[int]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            "id": [as_text(own) or str(i) for i, own in zip(places, rows.get(id_ or "", places), strict=True)],
            "text": [t or "" for t in rows[text]],
        }
        if text_pair:
            columns["text_pair"] = [t or "" for t in rows[text_pair]]
        columns, changed = clean_columns(columns, steps)
        return columns | {"label": label_of(rows[label], places), "changed": changed}

    types = {
        "id": "string",
        "text": "string",
        **({"text_pair": "string"} if text_pair else {}),
        "label": "int64",
        "changed": "int64",
    }
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


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string", "null")


def _content(source: Dataset, column: str) -> str:
    """Names what a column holds; of lists, objects and bytes, in which row the first one is."""
    content = content_of(source.features[column])
    if getattr(source.features[column], "dtype", None) not in ("binary", "large_binary"):
        return content
    values = source.select_columns(column)[:][column]
    # A file's other values are JSON there: numbers, truth values, or in quotation marks.
    places = [i for i, value in enumerate(values) if value is not None and value[:1] not in b'"-0123456789tf']
    return f"{content}, first in row {places[0]} (counted from 0)" if places else content


def _standard_key(source: Dataset, *recipe: Any) -> str:
    return short_hash(repr((textclf.__version__, source._fingerprint, *recipe)).encode()).hex()


def _texts(source: Dataset, column: str) -> Iterator[str | None]:
    for batch in source.select_columns(column).with_format("arrow").iter(batch_size=10_000):
        yield from batch[column].to_pylist()
