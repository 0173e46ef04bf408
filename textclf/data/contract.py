"""Checks of what a method and a data set of one's own give: encoded rows, batches, and the rows of a split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from textclf.errors import UserError
from textclf.types import Dataset

TEXTS = ("text", "text_pair")
OWN_COLUMNS = ("id", *TEXTS, "row", "label", "labels", "filler")
"""Columns that rows have themselves, so that `encode` must not give them."""
OWN_KEYS = ("id", "row", "label", "labels", "filler", "given", "kept")
"""What is added to each batch, so that `collate` must not give it."""
KINDS = {int: "number", float: "number"}
"""Types that one column may mix, and what they are called."""


# Encoded rows


def encoded(model: Any, rows: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Calls the `encode` of a method, and checks what it gives.

    Args:
        model: The method.
        rows: Its columns; `encode` gets those of texts, and cannot change them.

    Returns:
        New columns as lists; arrays and tensors in them are lists, too.

    Raises:
        UserError: `encode` does not give columns with one entry for each row, and a `length`; the message names it.
    """
    texts = {name: list(rows[name]) for name in TEXTS if name in rows}
    size = len(texts["text"])
    gave = f"{type(model).__name__}.encode gave"
    columns = model.encode({name: list(values) for name, values in texts.items()})
    if not isinstance(columns, Mapping):
        raise UserError(
            f"{gave} {_a(columns)}: wanted a dictionary of columns with one entry per row, `length` among them"
        )
    for name in columns:
        if not isinstance(name, str) or name in OWN_COLUMNS:
            raise UserError(
                f"{gave} a column {name!r}: wanted new columns, with names other than {_listed(OWN_COLUMNS)}"
            )
    found = {name: _column(values, f"{gave} {name!r}", size) for name, values in columns.items()}
    if "length" not in found:
        raise UserError(f"{gave} {_listed(found) or 'no columns'}, and no 'length': wanted a whole number for each row")
    _check_whole(found["length"], texts["text"], f"{gave} 'length'", least=1)
    _check_whole(found.get("cut", []), texts["text"], f"{gave} 'cut'", least=0)
    return found


def _column(values: Any, gave: str, size: int) -> list[Any]:
    """A column as a list of plain entries; `gave` names it."""
    if isinstance(values, Tensor | np.ndarray):
        values = _listed_array(values)
    elif hasattr(values, "to_pylist"):
        values = values.to_pylist()
    try:
        given = None if isinstance(values, str | bytes | Mapping | set) else len(values)
    except TypeError:  # as a sparse matrix has it, or a generator
        given = None
    if given is None:
        raise UserError(f"{gave} as {_a(values)}: wanted a list with one entry per row")
    if given != size:
        raise UserError(f"{gave} with {given} entries for {size} rows: wanted one entry per row")
    entries = [_entry(value, gave) for value in values]
    kinds = {KINDS.get(type(entry), type(entry).__name__) for entry in entries if entry is not None}
    if len(kinds) > 1:
        raise UserError(f"{gave} with entries of types {' and '.join(sorted(kinds))}: wanted entries of one type")
    return entries


def _entry(value: Any, gave: str) -> Any:
    """One entry, such as the token ids of a row, in plain Python."""
    if value is None or type(value) in (int, float, str, bool, bytes):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return _listed_array(value)
    if isinstance(value, list | tuple):
        if value and type(value[0]) not in (int, float, str, bool):
            return [_entry(part, gave) for part in value]
        return value if isinstance(value, list) else list(value)
    if isinstance(value, Mapping):
        return {str(name): _entry(part, gave) for name, part in value.items()}
    raise UserError(f"{gave} with {_a(value)}: wanted numbers, strings, lists, dictionaries, arrays")


def _listed_array(value: Any) -> Any:
    """An array or tensor as numbers in lists."""
    return value.detach().cpu().tolist() if isinstance(value, Tensor) else value.tolist()


def _check_whole(numbers: list[Any], texts: list[str], gave: str, least: int) -> None:
    for number, text in zip(numbers, texts, strict=False):
        if type(number) is not int or number < least:
            what = "" if type(number) is int or number is None else f", a {type(number).__name__},"
            raise UserError(
                f"{gave} {number!r}{what} for the text {text[:40]!r}: wanted a whole number, {least} or more"
            )


# Batches


def batch_of(collate: Any, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Calls the `collate` of a method, and checks what it gives.

    Args:
        collate: The bound method.
        rows: Columns of encoded rows.

    Raises:
        UserError: It is no dictionary, or has a key of those that every batch gets.
    """
    gave = f"{type(getattr(collate, '__self__', collate)).__name__}.collate gave"
    batch = collate(dict(rows))
    if not isinstance(batch, Mapping):
        raise UserError(f"{gave} {_a(batch)}: wanted a dictionary, such as of tensors by name")
    for name in batch:
        if name in OWN_KEYS:
            raise UserError(
                f"{gave} {name!r}, which is added to each batch: wanted other keys than {_listed(OWN_KEYS)}"
            )
    return dict(batch)


# The rows of a split


def as_dataset(given: Any, gave: str) -> Dataset:
    """Gives rows as a `datasets.Dataset`: a list of dictionaries, a dictionary of columns, or a table are converted.

    Args:
        given: What a `load_split` gave.
        gave: How a message begins, such as `MyData.load_split('test') gave`.

    Raises:
        UserError: It is something else, or its columns do not fit each other.
    """
    import datasets
    import pyarrow as pa

    if isinstance(given, datasets.Dataset):
        as_read = given.format["type"] is None and given.format["columns"] == given.column_names
        return given if as_read else given.with_format(None)
    wanted = "wanted a datasets.Dataset, a list of dictionaries, a dictionary of columns or a DataFrame"
    if isinstance(given, datasets.DatasetDict):
        raise UserError(f"{gave} a DatasetDict: {wanted}; give one split of it")
    try:
        if isinstance(given, list) and given and all(isinstance(row, Mapping) for row in given):
            return _from_rows(given, gave)
        if isinstance(given, Mapping):
            return datasets.Dataset.from_dict({name: _values(name, values) for name, values in given.items()})
        if isinstance(given, pa.Table):
            return datasets.Dataset(given)
        if type(given).__name__ == "DataFrame":
            if type(given).__module__.startswith("polars"):
                return datasets.Dataset.from_polars(given)
            return datasets.Dataset.from_pandas(given, preserve_index=False)
    except UserError:
        raise
    except (TypeError, ValueError) as error:  # those of pyarrow are ValueErrors and TypeErrors
        raise UserError(f"{gave} columns that do not make a table ({str(error).splitlines()[0]}): {wanted}") from error
    if isinstance(given, list) and not given:
        raise UserError(f"{gave} an empty list: leave a split without rows out of source_splits")
    what = f"{_a(given)} of {type(given[0]).__name__}" if isinstance(given, list) else _a(given)
    raise UserError(f"{gave} {what}: {wanted}")


def _from_rows(given: list[Mapping[str, Any]], gave: str) -> Dataset:
    import datasets

    names = set(given[0])
    for place, row in enumerate(given):
        if set(row) != names:
            raise UserError(
                f"{gave} row {place} with the keys {_listed(row)}, and row 0 with {_listed(given[0])}: wanted the same "
                "keys in each row"
            )
    return datasets.Dataset.from_list([dict(row) for row in given])


def _values(name: Any, values: Any) -> Any:
    if isinstance(values, str | Mapping):
        raise TypeError(f"{name!r} is {_a(values)}")
    return _listed_array(values) if isinstance(values, Tensor | np.ndarray) else list(values)


def _a(value: Any) -> str:
    """What a value is, for a message."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeio' else 'a'} {name}"


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
