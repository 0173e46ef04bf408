"""The inputs of `predict`, a row at a time."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from textclf.data.encodings import text_encoding
from textclf.errors import UserError

INPUTS = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
BOM = "\ufeff"
Rows = Iterator[dict[str, str]]


def read_texts(
    texts: Sequence[str] | None, source: str | None, text_column: str, text_pair_column: str | None = None
) -> Rows:
    """Gives the rows to classify one by one: `id`, `text`, and `text_pair` where there is one.

    Args:
        texts: The texts themselves, or None.
        source: A file of them; `-` is standard input, one text a line.
        text_column: The file's column of texts; `text` where it has none of that name.
        text_pair_column: Its column of second texts.

    Raises:
        UserError: Neither or both are given, the file cannot be read as its suffix says, or its encoding is not clear.
    """
    if (texts is None) == (source is None):
        raise UserError(
            'predict needs texts: pass --texts \'["a", "b"]\' or --input FILE (- for standard input), one of the two'
        )
    if source is None:
        return ({"id": str(i), "text": text} for i, text in enumerate(texts or ()))
    if source == "-":
        return _guarded(_lines(sys.stdin), "standard input")
    path = Path(source)
    if path.suffix not in INPUTS:
        raise UserError(f"--input {source!r}: the suffix {path.suffix!r} is not one of {', '.join(INPUTS)}")
    if not path.is_file():
        raise UserError(f"--input {source!r} is not there: give a file that exists, or - for standard input")
    if path.suffix == ".parquet":
        return _guarded(_standard(_parquet(path), path, text_column, text_pair_column), repr(source))
    return _guarded(_from_text(path, text_encoding(path), text_column, text_pair_column), repr(source))


def _from_text(path: Path, encoding: str, text_column: str, text_pair_column: str | None) -> Rows:
    with path.open(encoding=encoding, newline="" if path.suffix in (".csv", ".tsv") else None) as file:
        if path.suffix == ".txt":
            yield from _lines(file)
            return
        csv.field_size_limit(sys.maxsize)
        rows: Iterable[dict[str, Any]]
        if path.suffix == ".jsonl":
            rows = (json.loads(line) for line in file if line.strip())
        elif path.suffix == ".tsv":
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            rows = csv.DictReader(file, strict=True)
        yield from _standard(rows, path, text_column, text_pair_column)


def _guarded(rows: Rows, source: str) -> Rows:
    for number in count(1):
        try:
            row = next(rows, None)
        except (ValueError, OSError, csv.Error) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{source} cannot be read at row {number} ({error}): give whole UTF-8 text, or a file of the kind that "
                "its suffix names"
            ) from error
        if row is None:
            return
        yield row


def _lines(file: TextIO) -> Rows:
    return ({"id": str(i), "text": line.rstrip("\r\n").removeprefix("" if i else BOM)} for i, line in enumerate(file))


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(batch_size=4096):
        yield from batch.to_pylist()


def _standard(rows: Iterable[dict[str, Any]], path: Path, text: str, pair: str | None) -> Rows:
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"{row!r} is no object with a {text!r}")
        column = text if text in row else "text"
        for name in (column, pair):
            if name is not None and name not in row:
                raise UserError(
                    f"{str(path)!r} has no column {text if name == column else name!r} at row {i + 1}: "
                    f"it has {', '.join(map(str, row)) or 'none'}"
                )
        result = {"id": _as_text(row.get("id"), str(i)), "text": _as_text(row[column])}
        yield result if pair is None else {**result, "text_pair": _as_text(row[pair])}


def _as_text(value: Any, missing: str = "") -> str:
    return missing if value is None else str(value)
