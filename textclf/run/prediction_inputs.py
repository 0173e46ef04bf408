"""Inputs of `predict`, read in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from textclf.data.encodings import text_encoding
from textclf.data.read_files import REMEDY, SUFFIXES, open_rows
from textclf.data.text_values import as_text, refuse_numbers
from textclf.errors import UserError
from textclf.hub import loading

if TYPE_CHECKING:
    import pyarrow as pa

    from textclf.data.readers.file_rows import FileRow, FileRows

INPUTS = (".txt", *SUFFIXES)
BOM = "\ufeff"
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Inputs:
    """The rows to classify.

    Attributes:
        rows: The rows one by one: `id`, `text`, `text_pair` where there is one, and `kept`, the values of the columns
            that are copied to the output, where there are some.
        kept: The Arrow type of each of these columns, by its name in the output.
    """

    rows: Rows
    kept: Mapping[str, pa.DataType] = field(default_factory=dict)


def read_texts(
    texts: Sequence[Any] | None,
    source: str | None,
    text_column: str,
    text_pair_column: str | None = None,
    keep: Sequence[str] | Literal["all"] = (),
    reserved: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
) -> Inputs:
    """Reads the rows to classify, in constant memory.

    A file is read once before its first row is yielded: its encoding is detected from all of its bytes, and the columns
    of a `.jsonl` file are those of all its lines. Standard input is read line by line.

    A column that is copied to the output and has the name of an output, such as `label`, becomes `input_label`.

    Args:
        texts: The texts themselves, or None.
        source: A file of them; `-` is standard input, one text a line.
        text_column: The file's column of texts; `text` where it has none of that name.
        text_pair_column: Its column of second texts.
        keep: Its columns that are copied to the output; `all` are those that are not `id` or the column of texts.
        reserved: Names of other columns of the output.
        options: The options that name the columns of `text` and `text_pair`, where there are such, for messages.

    Raises:
        UserError: Neither or both are given, the file cannot be read as its suffix says, its encoding is not clear, or
            it lacks a column. For a row that does not fit, the message names its line. The rows before it are yielded,
            except for a line that is not a JSON object, which is refused at once.
    """
    if (texts is None) == (source is None):
        raise UserError(
            'predict needs texts: pass --texts \'["a", "b"]\' or --input FILE (- for standard input), one of the two'
        )
    path = None if source is None or source == "-" else Path(source)
    if path is not None and path.suffix not in INPUTS:
        raise UserError(f"--input {source!r}: the suffix {path.suffix!r} is not one of {', '.join(INPUTS)}")
    if path is not None and not path.is_file():
        raise UserError(f"--input {source!r} does not exist: give a file that does, or - for standard input")
    if path is not None and path.suffix != ".txt":
        columns = {"text": text_column}
        if text_pair_column:
            columns["text_pair"] = text_pair_column
        return _from_file(open_rows(path), columns, keep, reserved, options or {})
    if keep:
        if source is None:
            given = "--texts"
        elif path is None:
            given = "standard input"
        else:
            given = f"--input {source!r}"
        raise UserError(f"{given} has no columns to keep: leave --keep and --keep_all out, or give a file with columns")
    if texts is not None:
        return Inputs({"id": str(i), "text": text} for i, text in enumerate(texts))
    if path is None:
        return Inputs(_guarded(_lines(sys.stdin), "standard input"))
    return Inputs(_guarded(_lines_of(path, text_encoding(path)), repr(source)))


# Lines


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
    for number, line in enumerate(file):
        if number == 0:
            line = line.removeprefix(BOM)
        yield {"id": str(number), "text": line.rstrip("\r\n")}


# Files with columns


def _from_file(
    rows: FileRows,
    columns: dict[str, str],
    keep: Sequence[str] | Literal["all"],
    reserved: Sequence[str],
    options: Mapping[str, str],
) -> Inputs:
    with loading("file", str(rows.path), REMEDY):
        if not rows.columns and not any(True for _ in rows):  # an empty file
            return Inputs(iter(()))
        for role, column in columns.items():
            known = "text" if role == "text" else column
            remedy = f"call the column of texts {known!r}"
            if role in options:
                remedy += f", or name it with {options[role]}"
            if column not in rows.columns and known not in rows.columns:
                found = ", ".join(rows.columns) or "none"
                raise UserError(f"{str(rows.path)!r} has no column {column!r}: it has {found}; {remedy}")
            columns[role] = column if column in rows.columns else known
            _check_text(rows, columns[role], remedy)
        kept = _kept(rows, keep, columns["text"], reserved)
        types = {name: _kept_type(rows, column) for name, column in kept.items()}
    return Inputs(_rows(rows, columns, kept), types)


def _check_text(rows: FileRows, column: str, remedy: str) -> None:
    """Refuses a column of numbers, dates or truth values alone, as `fit` does.

    Raises:
        UserError: It is one.
    """
    import pyarrow as pa

    kind = rows.schema.field(column).type
    place = f"{str(rows.path)!r}: column {column!r}"
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        if not (pa.types.is_nested(kind) or pa.types.is_binary(kind)):  # whose rows are refused one by one
            raise UserError(f"{place} holds {kind}, not text: {remedy}")
        return
    refuse_numbers((_cell(rows, row, column) for row in rows), place, remedy)


def _kept(rows: FileRows, keep: Sequence[str] | Literal["all"], text: str, reserved: Sequence[str]) -> dict[str, str]:
    """The columns that are copied to the output, by their names there."""
    if keep == "all":
        requested = [name for name in rows.columns if name not in ("id", text)]
    else:
        requested = list(dict.fromkeys(keep))
    for column in requested:
        if column not in rows.columns:
            raise UserError(f"--keep: {str(rows.path)!r} has no column {column!r}: it has {', '.join(rows.columns)}")
    kept: dict[str, str] = {}
    for column in requested:
        name = column
        while name in reserved or name in kept or (name != column and name in requested):
            name = f"input_{name}"
        kept[name] = column
    return kept


def _kept_type(rows: FileRows, column: str) -> pa.DataType:
    """The type of a column in a Parquet output: the input's, but text for lists and objects of JSON."""
    import pyarrow as pa

    return pa.string() if rows.is_json(column) else rows.schema.field(column).type


def _rows(rows: FileRows, columns: Mapping[str, str], kept: Mapping[str, str]) -> Rows:
    with loading("file", str(rows.path), REMEDY):
        for number, row in enumerate(rows):
            texts = {role: _cell(rows, row, column) or "" for role, column in columns.items()}
            fields: dict[str, Any] = {"id": _cell(rows, row, "id") or str(number), **texts}
            if kept:
                fields["kept"] = {name: row.values.get(column) for name, column in kept.items()}
            yield fields
        rows.say_found(rows.found)


def _cell(rows: FileRows, row: FileRow, column: str) -> str | None:
    try:
        return as_text(row.values.get(column))
    except ValueError as error:
        place = f"{str(rows.path)!r} {rows.unit} {row.number}"
        raise UserError(f"{place}: column {column!r} holds {error}: give it one value in each row") from error
