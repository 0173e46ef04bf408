"""Columns of the source that are kept beside the standard ones, for the prediction table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from textclf.data.columns import TABLE_COLUMNS
from textclf.data.text_values import content_of, has_single_values
from textclf.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


def kept_names(given: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the columns to keep.

    Raises:
        UserError: One is there twice, or is that of a column of the prediction table.
    """
    names = (given,) if isinstance(given, str) else tuple(given or ())
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"keep_columns {list(names)}: give names of columns, such as [author, source]")
        if name in TABLE_COLUMNS:
            raise UserError(
                f"keep_columns names {name!r}, which is a column of the prediction table itself: leave it out, or "
                "rename the column of the source"
            )
        if names.count(name) > 1:
            raise UserError(f"keep_columns names {name!r} twice: name it once")
    return names


def with_kept_columns(rows: Dataset, source: Dataset, names: Sequence[str], label_names: Sequence[str]) -> Dataset:
    """Adds columns of the source to its rows in the standard columns: as they are, missing values included.

    Classes that the source stores as numbers become their names.

    Args:
        rows: In the standard columns, as many as in the source.
        source: The rows as they were read.
        names: Columns of the source.
        label_names: Name of each class of the data set.

    Raises:
        UserError: There is no such column, its values are lists, objects or bytes, or it has the name of a column of
            `PredictionTable.to_pandas`.
    """
    from datasets import concatenate_datasets

    for name in names:
        _check_column(source, name, label_names)
    kept = source.select_columns(list(names))
    for name in names:
        if hasattr(kept.features[name], "int2str"):
            kept = _with_names_of_classes(kept, name)
    return concatenate_datasets([rows, kept], axis=1)


def _check_column(source: Dataset, name: str, label_names: Sequence[str]) -> None:
    if name not in source.column_names:
        raise UserError(f"keep_columns names {name!r}: the rows have only {', '.join(source.column_names)}")
    if not has_single_values(source.features[name]):
        raise UserError(
            f"keep_columns names {name!r}, which holds {content_of(source.features[name])}: name columns with one "
            "value in each row"
        )
    if name in {f"score_{label}" for label in label_names}:
        raise UserError(
            f"keep_columns names {name!r}, which is the name of the probabilities of a label: rename the column of the "
            "source"
        )


def _with_names_of_classes(rows: Dataset, column: str) -> Dataset:
    from datasets import Value

    features = rows.features.copy()
    classes = features[column]
    features[column] = Value("string")
    return rows.map(partial(_named, column, classes), batched=True, features=features, desc=f"reading {column}")


def _named(column: str, classes: Any, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {column: [None if value is None else classes.int2str(value) for value in rows[column]]}
