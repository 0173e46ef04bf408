"""The rows of a source as `load_split` gives them: made a `datasets.Dataset`, with valid Unicode in all strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from textclf.data.contract import plain_list
from textclf.data.text_values import article_and_type, mended_column, mended_rows, say_mended
from textclf.errors import UserError
from textclf.types import Dataset

WANTED = "wanted a datasets.Dataset, a list of dictionaries, a dictionary of columns or a DataFrame"


def as_dataset(given: Any, gave: str) -> Dataset:
    """Gives rows as a `datasets.Dataset`: a list of dictionaries, a dictionary of columns, or a table are converted.

    Args:
        given: What a `load_split` gave.
        gave: How a message begins, such as `MyData.load_split('test') gave`.

    Raises:
        UserError: It is something else, or its columns do not fit each other.
    """
    import datasets

    if isinstance(given, datasets.Dataset):
        # A format, such as of tensors, would change what reading a column gives.
        is_plain = given.format["type"] is None and given.format["columns"] == given.column_names
        return given if is_plain else given.with_format(None)
    if isinstance(given, datasets.DatasetDict):
        raise UserError(f"{gave} a DatasetDict: {WANTED}; give one split of it")
    try:
        converted = _converted(given, gave)
    except UserError:
        raise
    except (TypeError, ValueError) as error:  # those of pyarrow are ValueErrors and TypeErrors
        raise UserError(f"{gave} columns that do not make a table ({str(error).splitlines()[0]}): {WANTED}") from error
    if converted is not None:
        return converted
    if isinstance(given, list) and not given:
        raise UserError(f"{gave} an empty list: leave a split without rows out of source_splits")
    what = article_and_type(given)
    if isinstance(given, list):
        what += f" of {type(given[0]).__name__}"
    raise UserError(f"{gave} {what}: {WANTED}")


def _converted(given: Any, gave: str) -> Dataset | None:
    """Rows of a kind that can be converted; None for anything else."""
    import datasets
    import pyarrow as pa

    if isinstance(given, list) and given and all(isinstance(row, Mapping) for row in given):
        return _from_dictionaries(given, gave)
    if isinstance(given, Mapping):
        return datasets.Dataset.from_dict({name: _values(name, values) for name, values in given.items()})
    if isinstance(given, pa.Table):
        return datasets.Dataset(given)
    # By name: neither of the two libraries needs to be installed.
    if type(given).__name__ == "DataFrame":
        if type(given).__module__.startswith("polars"):
            return datasets.Dataset.from_polars(given)
        return datasets.Dataset.from_pandas(given, preserve_index=False)
    return None


def _from_dictionaries(given: list[Mapping[str, Any]], gave: str) -> Dataset:
    import datasets

    names = set(given[0])
    for index, row in enumerate(given):
        if set(row) != names:
            raise UserError(
                f"{gave} row {index} with the keys {', '.join(map(repr, row))}, and row 0 with "
                f"{', '.join(map(repr, given[0]))}: wanted the same keys in each row"
            )
    return datasets.Dataset.from_list([dict(row) for row in given])


def _values(name: Any, values: Any) -> Any:
    """A column of a dictionary, as `Dataset.from_dict` takes it."""
    if isinstance(values, str | Mapping):
        raise TypeError(f"{name!r} is {article_and_type(values)}")
    return plain_list(values) if isinstance(values, Tensor | np.ndarray) else list(values)


def with_valid_text(source: Dataset, where: str) -> Dataset:
    """Gives rows whose strings are all valid Unicode; invalid characters become U+FFFD, and one line reports them.

    Args:
        source: As it was read.
        where: What is read, for that line.
    """
    mended = np.zeros(len(source), dtype=bool)
    for name in source.column_names:
        # Of a selection this looks at all rows of its table, which is cheap: nothing is copied where all are valid.
        if all(mended_column(chunk) is chunk for chunk in source.data.column(name).chunks):
            continue
        source = source.flatten_indices()
        texts: list[str | None] = []
        changed: list[np.ndarray] = []
        for chunk in source.data.column(name).chunks:
            valid = mended_column(chunk)
            texts += valid.to_pylist()
            changed.append(mended_rows(chunk, valid))
        mended |= np.concatenate(changed)
        source = source.remove_columns(name).add_column(name, texts, feature=source.features[name])
    say_mended(int(mended.sum()), where)
    return source
