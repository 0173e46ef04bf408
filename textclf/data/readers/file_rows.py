"""Rows of a file, read one at a time, for training and for prediction."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

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


Record = TypeVar("Record")
Row = TypeVar("Row", covariant=True)


class Cursor(Protocol[Row]):
    """Reads rows in order; rows that are not needed can be skipped, which costs less than reading them."""

    def __iter__(self) -> Iterator[Row]:
        """Itself."""

    def __next__(self) -> Row:
        """The next row."""

    def skip(self, number: int) -> int:
        """Skips rows.

        Args:
            number: How many.

        Returns:
            The number of rows that were skipped: fewer than `number` if there are no more.
        """


class RecordCursor(Generic[Record, Row]):
    """Rows that are made from records such as lines; a record that is skipped is not parsed.

    Args:
        records: The records in order.
        parse: Makes a row from a record.
    """

    def __init__(self, records: Iterator[Record], parse: Callable[[Record], Row]) -> None:  # noqa: D107  # the class describes it
        self._records = records
        self._parse = parse

    def __iter__(self) -> RecordCursor[Record, Row]:
        """Itself."""
        return self

    def __next__(self) -> Row:
        """Parses the next record."""
        return self._parse(next(self._records))

    def skip(self, number: int) -> int:
        """Skips records; see `Cursor.skip`."""
        return sum(1 for _ in islice(self._records, number))


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

    def __iter__(self) -> Iterator[FileRow]:
        """Yields the rows.

        Raises:
            UserError: A row does not follow the file format; the message names file and line.
        """
        return iter(self.cursor())

    @abstractmethod
    def cursor(self, columns: Collection[str] | None = None) -> Cursor[FileRow]:
        """A cursor before the first row; a row that is skipped is not checked.

        Args:
            columns: Names of the columns that are needed; rows may lack others. By default all are.
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
