"""Parquet files: the types of their columns are kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # noqa: TID253 - imported late itself
import pyarrow.parquet as pq  # noqa: TID253 - imported late itself

from textclf.data.readers.file_rows import BATCH, Cursor, FileRow, FileRows, arrow_column
from textclf.data.text_values import mended_column, mended_rows
from textclf.errors import UserError

BUFFER = 1 << 20
"""Size of the read buffer of a column, in bytes."""
DECODED_BYTES = 1 << 28
"""Bytes of the texts of rows that are decoded together, or more where one row has more."""


class ParquetRows(FileRows):
    """The rows of a `.parquet` file. Categories (dictionary-encoded columns) become their values.

    Args:
        path: The file.

    Raises:
        UserError: Two columns have the same name.
    """

    unit = "row"

    def __init__(self, path: Path) -> None:  # noqa: D107  # the class describes it
        self.path = path
        self.columns = tuple(self._file_schema.names)
        twice = [name for name, count in Counter(self.columns).items() if count > 1]
        if twice:
            raise UserError(f"{str(path)!r} has several columns {twice[0]!r}: give each column a name of its own")

    @cached_property
    def _file_schema(self) -> pa.Schema:
        return pq.read_schema(self.path)

    @cached_property
    def schema(self) -> pa.Schema:
        """The file's types; JSON in place of those that `datasets` does not have, such as maps."""
        from datasets import Features

        fields = [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in self._file_schema
        ]
        known = [field.with_type(pa.binary()) if self.is_json(field.name) else field for field in fields]
        return Features.from_arrow_schema(pa.schema(known, self._file_schema.metadata)).arrow_schema

    @cached_property
    def _json_columns(self) -> tuple[str, ...]:
        """Columns of a type that `datasets` does not have, such as maps."""
        return tuple(field.name for field in self._file_schema if not _is_known(field))

    def is_json(self, column: str) -> bool:
        """Whether a column holds values of a type that `datasets` does not have, such as maps."""
        return column in self._json_columns

    def cursor(self, columns: Collection[str] | None = None) -> Cursor[FileRow]:
        """A cursor before the first row; row groups that are skipped are not read. A map is an object."""
        self.found = Counter()
        return _ParquetCursor(self, self.columns if columns is None else columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields the rows as Arrow columns, decoded some thousands at a time.

        (`datasets` decodes a row group at once, which can be a million rows.)
        """
        self.found = Counter()
        with self.open() as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for part in decodable_parts(batch):
                    yield self.converted(part)

    def open(self) -> pq.ParquetFile:
        """Opens the file for reading in constant memory.

        Texts are read as dictionaries: a text that is stored once, for any number of rows, is there once. A small file
        could otherwise fill the memory.
        """
        texts = [field.name for field in self._file_schema if _is_text(field.type)]
        return pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False, read_dictionary=texts)

    def converted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Some rows of the file, or some columns of them, with the types of `schema` and valid characters."""
        columns = []
        fields = []
        mended = np.zeros(len(batch), dtype=bool)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            field = self.schema.field(name)
            if self.is_json(name):
                # Of the entries of a map with the same key, Parquet's specification says to take the last.
                column = arrow_column(column.to_pylist(maps_as_pydicts="lossy"), field.type)
            else:
                column = column.cast(field.type)
            fields.append(field)
            columns.append(mended_column(column))
            mended |= mended_rows(column, columns[-1])
        self.found["mended"] += int(mended.sum())
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, self.schema.metadata))

    def values_of(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        """The rows of a converted batch as Python values."""
        rows: list[dict[str, Any]] = batch.to_pylist()
        for name in self._json_columns:
            if name in batch.schema.names:
                for row in rows:
                    if row[name] is not None:
                        row[name] = json.loads(row[name])
        return rows


class _ParquetCursor:
    """Reads the rows of a file, some thousands at a time; see `Cursor`."""

    def __init__(self, rows: ParquetRows, columns: Collection[str]) -> None:
        self._rows = rows
        self._columns = [name for name in rows.columns if name in columns]
        self._file = rows.open()
        self._next_group = 0
        self._group_left = 0  # rows of the row group that is being read, but are not decoded yet
        self._batches: Iterator[pa.RecordBatch] = iter(())  # of the rows of the row group, as many as can be decoded
        self._batch: pa.RecordBatch | None = None  # rows that are decoded, but are not Python values yet
        self._values: Iterator[dict[str, Any]] = iter(())
        self._number = 0

    def __iter__(self) -> _ParquetCursor:
        return self

    def __next__(self) -> FileRow:
        values = next(self._values, None)
        if values is None:
            if self._batch is None and not self._read_batch():
                raise StopIteration
            self._values = iter(self._rows.values_of(self._rows.converted(self._batch)))
            self._batch = None
            values = next(self._values)
        self._number += 1
        return FileRow(self._number, values)

    def skip(self, number: int) -> int:
        skipped = sum(1 for _ in islice(self._values, number))
        while skipped < number:
            wanted = number - skipped
            if self._batch is not None:
                step = min(wanted, len(self._batch))
                self._batch = self._batch.slice(step) if step < len(self._batch) else None
            elif not self._group_left and self._next_group < self._file.num_row_groups and self._size() <= wanted:
                step = self._size()
                self._next_group += 1
            elif self._read_batch():
                step = 0
            else:
                break
            skipped += step
        self._number += skipped
        return skipped

    def _size(self) -> int:
        """Number of rows of the next row group."""
        size: int = self._file.metadata.row_group(self._next_group).num_rows
        return size

    def _read_batch(self) -> bool:
        """Decodes the next rows; returns whether there are any."""
        while not self._group_left:
            if self._next_group == self._file.num_row_groups:
                return False
            self._group_left = self._size()
            groups = [self._next_group]
            read = self._file.iter_batches(batch_size=BATCH, row_groups=groups, columns=self._columns)
            self._batches = chain.from_iterable(map(decodable_parts, read))
            self._next_group += 1
        # Of a column called "a.b", pyarrow reads the field "b" of a column "a" as well.
        self._batch = next(self._batches).select(self._columns)
        self._group_left -= len(self._batch)
        return True


def decodable_parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Divides rows into parts whose texts have no more than `DECODED_BYTES`, or one row.

    Args:
        batch: Rows whose texts may be dictionaries.
    """
    if len(batch) > 1 and _decoded_bytes(batch) > DECODED_BYTES:
        middle = len(batch) // 2
        yield from decodable_parts(batch.slice(0, middle))
        yield from decodable_parts(batch.slice(middle))
    else:
        yield batch


def _decoded_bytes(batch: pa.RecordBatch) -> int:
    """Bytes of the texts of a batch whose columns are dictionaries, once they are decoded."""
    import pyarrow.compute as pc

    total = 0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
            lengths = pc.binary_length(column.dictionary)
            total += pc.sum(lengths.take(column.indices).cast(pa.int64())).as_py() or 0
    return total


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _is_known(field: pa.Field) -> bool:
    from datasets import Features

    try:
        Features.from_arrow_schema(pa.schema([field]))
    except (TypeError, ValueError):
        return False
    return True
