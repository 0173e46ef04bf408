"""Compressed text files, such as `.csv.gz` and `.jsonl.zst`: they are decompressed as they are read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TextIO

CODECS = {".gz": "gzip", ".zst": "zstd"}
"""Name of the codec in pyarrow, by the last suffix of a file."""
BUFFER = 1 << 20
"""Bytes that are decompressed at once."""


def uncompressed_suffix(path: Path) -> str:
    """The suffix that names the kind of a file: `.csv` for `rows.csv` and for `rows.csv.gz`.

    A `.parquet` file is compressed inside; compressed again, it could not be read in parts, and has no kind.
    """
    inner = Path(path.stem).suffix
    return inner if path.suffix in CODECS and inner != ".parquet" else path.suffix


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file, and decompresses it if its suffix is one of `CODECS`. Memory does not grow with its size.

    Reading a damaged or incomplete compressed file raises `OSError`.
    """
    if path.suffix not in CODECS:
        return path.open("rb")
    import pyarrow as pa

    stream = pa.input_stream(path.open("rb"), compression=CODECS[path.suffix], buffer_size=BUFFER)
    return io.BufferedReader(stream, BUFFER)  # which reads lines; pyarrow's own stream does not


def open_text(path: Path, encoding: str, newline: str | None = None) -> TextIO:
    """Opens a text file, decompressed as by `open_bytes`.

    Args:
        path: The file.
        encoding: Its character encoding.
        newline: As `open` takes it.
    """
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline=newline)
