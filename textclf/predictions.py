"""The inputs of `predict`, a row at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TextIO

from textclf.data.encodings import text_encoding
from textclf.data.file_rows import FileRow, FileRows
from textclf.data.read_files import REMEDY, open_rows
from textclf.data.values import as_text
from textclf.errors import UserError
from textclf.hub import loading

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
            For a row that does not fit, the message names its line; the rows before it are given.
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
    if path.suffix == ".txt":
        return _guarded(_lines_of(path, text_encoding(path)), repr(source))
    return _from_rows(open_rows(path), text_column, text_pair_column)


def _lines_of(path: Path, encoding: str) -> Rows:
    with path.open(encoding=encoding) as file:
        yield from _lines(file)


def _guarded(rows: Rows, source: str) -> Rows:
    for number in count(1):
        try:
            row = next(rows, None)
        except (ValueError, OSError) as error:
            raise UserError(f"{source} cannot be read at row {number} ({error}): give whole UTF-8 text") from error
        if row is None:
            return
        yield row


def _lines(file: TextIO) -> Rows:
    return ({"id": str(i), "text": line.rstrip("\r\n").removeprefix("" if i else BOM)} for i, line in enumerate(file))


def _from_rows(rows: FileRows, text: str, pair: str | None) -> Rows:
    text_columns = {"text": text if text in rows.columns else "text"}
    if pair is not None:
        text_columns["text_pair"] = pair
    with loading("file", str(rows.path), REMEDY):
        for name, column in text_columns.items():
            if column not in rows.columns and (rows.columns or any(True for _ in rows)):
                wanted = text if name == "text" else column
                raise UserError(
                    f"{str(rows.path)!r} has no column {wanted!r}: it has {', '.join(rows.columns) or 'none'}"
                )
        for number, row in enumerate(rows):
            texts = {name: _cell(rows, row, column) or "" for name, column in text_columns.items()}
            yield {"id": _cell(rows, row, "id") or str(number), **texts}


def _cell(rows: FileRows, row: FileRow, column: str) -> str | None:
    try:
        return as_text(row.values.get(column))
    except ValueError as error:
        place = f"{str(rows.path)!r} {rows.unit} {row.number}"
        raise UserError(f"{place}: column {column!r} holds {error}: give it one value in each row") from error
