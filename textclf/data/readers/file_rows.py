"""Rows of a file, read one at a time, for training and for prediction."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import pyarrow as pa  # noqa: TID253 - imported late itself

from textclf.data.text_values import as_text, json_value, say_mended

BATCH = 10_000
"""Rows in a batch of Arrow columns."""


class FileRow(NamedTuple):
    """One row of a file.

    Attributes:
        number: Its position, from 1: the line on which it begins, or the row of a Parquet file.
        values: The values by column, as the file gives them; a missing value is None.
    """

    number: int
    values: dict[str, Any]


class FileRows(ABC):
    """The rows of one file, in order; they can be read any number of times, in constant memory.

    Attributes:
        path: The file.
        content: Hash of its bytes when it was opened; `open_rows` sets it.
        columns: Names of its columns; none where the file is empty.
        unit: The unit of `FileRow.number`, for messages.
        found: Findings of the last pass that `say_found` reports: `mended` is the number of rows in which invalid
            characters were replaced; `whole` the first line that was read whole in spite of delimiters.
    """

    unit: ClassVar[Literal["line", "row"]] = "line"
    path: Path
    content: str
    columns: Sequence[str]
    found: Counter[str] = Counter()

    @abstractmethod
    def __iter__(self) -> Iterator[FileRow]:
        """Yields the rows.

        Raises:
            UserError: A row does not follow the file format; the message names file and line.
        """

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The Arrow type of each column; see `is_json` for lists and objects."""

    def is_json(self, column: str) -> bool:
        """Whether a column is `binary` in the schema because its lists and objects are stored as JSON.

        Iterating over the rows yields the lists and objects themselves.
        """
        return False

    def say_found(self, found: Mapping[str, int]) -> None:
        """Reports what was found in this file.

        Args:
            found: `self.found`, or a copy that was stored by an earlier command that has read the same file.
        """
        say_mended(found.get("mended", 0), repr(str(self.path)))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields the rows as Arrow columns, some thousands at a time.

        Raises:
            UserError: As `__iter__`.
        """
        rows = iter(self)
        schema = self.schema
        while True:
            # Only the values of the rows are kept: thousands of further objects would slow Python's garbage collector.
            columns: dict[str, list[Any]] = {name: [] for name in schema.names}
            for row in islice(rows, BATCH):
                for name, values in columns.items():
                    values.append(row.values.get(name))
            if not any(columns.values()):
                return
            arrays = [arrow_column(columns[field.name], field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def arrow_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Makes an Arrow column from the values of some rows; NaN becomes a missing value."""
    if pa.types.is_string(kind):
        try:
            return pa.array(values, kind)
        except (TypeError, ValueError):  # not all of them are strings
            return pa.array([as_text(value) for value in values], kind)
    if pa.types.is_binary(kind):
        values = [_json_bytes(value) for value in values]
    elif pa.types.is_floating(kind):
        values = [None if value is None or math.isnan(value) else value for value in values]
    return pa.array(values, kind)


def _json_bytes(value: Any) -> bytes | None:
    return None if value is None else json.dumps(json_value(value)).encode()
