"""Parquet files: the types of their columns are kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa  # noqa: TID253 - imported late itself
import pyarrow.parquet as pq  # noqa: TID253 - imported late itself

from textclf.data.readers.file_rows import BATCH, FileRow, FileRows, arrow_column
from textclf.data.text_values import mended_column, mended_rows
from textclf.errors import UserError

BUFFER = 1 << 20
"""Size of the read buffer of a column, in bytes."""


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

    def __iter__(self) -> Iterator[FileRow]:
        """Yields the rows; a map is an object."""
        number = 0
        for batch in self.batches():
            for values in batch.to_pylist():
                number += 1
                for name in self._json_columns:
                    if values[name] is not None:
                        values[name] = json.loads(values[name])
                yield FileRow(number, values)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields the rows as Arrow columns, decoded some thousands at a time.

        (`datasets` decodes a row group at once, which can be a million rows.)
        """
        self.found = Counter()
        with pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                columns = []
                mended = np.zeros(len(batch), dtype=bool)
                for field, column in zip(self.schema, batch.columns, strict=True):
                    if self.is_json(field.name):
                        # Of the entries of a map with the same key, Parquet's specification says to take the last.
                        column = arrow_column(column.to_pylist(maps_as_pydicts="lossy"), field.type)
                    else:
                        column = column.cast(field.type)
                    columns.append(mended_column(column))
                    mended |= mended_rows(column, columns[-1])
                self.found["mended"] += int(mended.sum())
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _is_known(field: pa.Field) -> bool:
    from datasets import Features

    try:
        Features.from_arrow_schema(pa.schema([field]))
    except (TypeError, ValueError):
        return False
    return True
