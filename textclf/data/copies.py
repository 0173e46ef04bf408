"""Copies of a person's files that can be read a little at a time: text as UTF-8, Parquet as Arrow."""

from __future__ import annotations

import shutil
from pathlib import Path

from textclf.atomic import atomic_path

BLOCK = 1 << 20
ROWS = 10_000


def state_key(path: Path) -> str:
    """A hash of where a file lies and when it was changed, not of what it holds."""
    import xxhash

    state = path.stat()
    return xxhash.xxh3_128_hexdigest(repr((str(path.resolve()), state.st_mtime_ns, state.st_size)).encode())


def utf8_copy(path: Path, encoding: str, folder: Path) -> Path:
    """Gives a copy of a text file that is UTF-8, written to `folder` on first need; line ends stay."""
    copy = folder / f"{state_key(path)}-{encoding}{path.suffix}"
    if not copy.exists():
        with (
            atomic_path(copy) as unfinished,
            path.open(encoding=encoding, newline="") as source,
            unfinished.open("w", encoding="utf-8", newline="") as target,
        ):
            shutil.copyfileobj(source, target, BLOCK)
    return copy


def arrow_copy(path: Path, folder: Path) -> Path:
    """Gives the rows of a Parquet file as an Arrow stream, written to `folder` on first need.

    Rows are decoded some thousands at a time. (`datasets` decodes a row group at once, which can be a million rows.)
    Categories become what they stand for.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features

    copy = folder / f"{state_key(path)}.arrow"
    if not copy.exists():
        with pq.ParquetFile(path, buffer_size=BLOCK, pre_buffer=False) as file, atomic_path(copy) as unfinished:
            fields = [
                f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in file.schema_arrow
            ]
            schema = Features.from_arrow_schema(pa.schema(fields, file.schema_arrow.metadata)).arrow_schema
            with pa.ipc.new_stream(unfinished, schema) as sink:
                for batch in file.iter_batches(batch_size=ROWS):
                    sink.write_table(pa.Table.from_batches([batch]).cast(schema))
    return copy
