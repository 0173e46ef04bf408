"""Inputs of `predict`, read in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from textclf.data.encodings import text_encoding
from textclf.data.read_files import REMEDY, open_rows
from textclf.data.readers.compression import open_text, uncompressed_suffix
from textclf.data.text_values import as_text, refuse_numbers
from textclf.errors import UserError
from textclf.hashing import file_hash, value_hash
from textclf.hub import loading
from textclf.run.prediction_files import input_files

if TYPE_CHECKING:
    import pyarrow as pa

    from textclf.data.readers.file_rows import FileRow, FileRows

BOM = "\ufeff"
Row = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """The rows to classify; they can be read by several processes.

    Attributes:
        sources: What they are read from, in order.
        kept: The Arrow type of each column that is copied to the output, by its name there.
        content: What identifies the rows, for a run that goes on later: an entry for each file, with a hash of its
            bytes. None for standard input, which cannot be read again.
    """

    sources: Sequence[Source]
    kept: Mapping[str, pa.DataType] = field(default_factory=dict)
    content: Sequence[Mapping[str, Any]] | None = None

    @property
    def files(self) -> list[str]:
        """The files that they are read from; none for texts that are given themselves, and for standard input."""
        return [entry["path"] for entry in self.content or () if "path" in entry]

    @property
    def rows(self) -> Iterator[Row]:
        """All rows, one by one; see `RowReader.take`."""
        return self.reader().take(sys.maxsize)

    def reader(self) -> RowReader:
        """A reader before the first row."""
        return RowReader(self.sources)


class RowReader:
    """Reads rows in order; those that another process reads are skipped.

    Attributes:
        position: Index of the next row in the whole input.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        """Starts before the first row.

        Args:
            sources: As in `Inputs`.
        """
        self.position = 0
        self._parts = (source.open() for source in sources)
        self._part = next(self._parts, None)

    def take(self, number: int) -> Iterator[Row]:
        """Yields the next rows, `number` or as many as there are.

        A row has `id` (its position where the file has none), `text`, `text_pair` where there is one, and `kept`, the
        values of the columns that are copied to the output, where there are some.

        Raises:
            UserError: A row does not follow the format of its file; the message names file and line.
        """
        end = self.position + number
        while self._part is not None and self.position < end:
            row = next(self._part.rows, None)
            if row is None:
                self._part = next(self._parts, None)
                continue
            row["id"] = row["id"] or str(self.position)
            self.position += 1
            yield row

    def skip(self, number: int) -> int:
        """Skips the next rows, `number` or as many as there are; returns how many these are."""
        skipped = 0
        while self._part is not None and skipped < number:
            step = self._part.skip(number - skipped)
            skipped += step
            if skipped < number:
                self._part = next(self._parts, None)
        self.position += skipped
        return skipped


class Source(Protocol):
    """A file, or another series of rows."""

    def open(self) -> OpenSource:
        """Opens it before its first row."""


@dataclass(frozen=True)
class OpenSource:
    """Rows that are being read; `skip` is that of `textclf.data.readers.file_rows.Cursor`."""

    rows: Iterator[Row]
    skip: Callable[[int], int]


def read_texts(
    texts: Sequence[Any] | None,
    source: str | None,
    text_column: str,
    text_pair_column: str | None = None,
    keep: Sequence[str] | Literal["all"] = (),
    reserved: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
) -> Inputs:
    """Opens the rows to classify, which are then read in constant memory.

    A file is read once before its first row is yielded: its encoding is detected from all of its bytes, and the columns
    of a `.jsonl` file are those of all its lines. Standard input is read line by line.

    A column that is copied to the output and has the name of an output, such as `label`, becomes `input_label`.

    Args:
        texts: The texts themselves, or None.
        source: A file, folder or pattern, as `input_files` takes it; `-` is standard input, one text a line.
        text_column: The column of texts; `text` in files that have none of that name.
        text_pair_column: The column of second texts.
        keep: Columns that are copied to the output; `all` are those that are not `id` or the column of texts.
        reserved: Names of other columns of the output.
        options: The options that name the columns of `text` and `text_pair`, where there are such, for messages.

    Raises:
        UserError: Neither or both are given, a file cannot be read as its suffix says, its encoding is not clear, or
            it lacks a column. For a row that does not fit, the message names its line. The rows before it are yielded,
            except for a line that is not a JSON object, which is refused at once.
    """
    if (texts is None) == (source is None):
        raise UserError(
            'predict needs texts: pass --texts \'["a", "b"]\' or --input FILE (- for standard input), one of the two'
        )
    if texts is not None:
        _refuse_keep(keep, "--texts")
        return Inputs([Texts(texts)], content=[{"texts": len(texts), "hash": value_hash(list(texts))}])
    assert source is not None
    if source == "-":
        _refuse_keep(keep, "standard input")
        return Inputs([Lines(None)])
    columns = {"text": text_column}
    if text_pair_column:
        columns["text_pair"] = text_pair_column
    wanted = _Wanted(columns, keep, reserved, options or {})
    files = [_opened(path, wanted) for path in input_files(source)]
    tables = [file for file in files if isinstance(file, Table)]
    content = [
        {"path": str(file.path), "bytes": file.path.stat().st_size, "hash": file.content} for file in files if file.path
    ]
    return Inputs(files, _kept_types(tables), content)


@dataclass(frozen=True)
class _Wanted:
    """What is read of each file; see `read_texts`."""

    columns: Mapping[str, str]
    keep: Sequence[str] | Literal["all"]
    reserved: Sequence[str]
    options: Mapping[str, str]


def _opened(path: Path, wanted: _Wanted) -> Lines | Table:
    if uncompressed_suffix(path) == ".txt":
        _refuse_keep(wanted.keep, f"--input {str(path)!r}")
        with loading("file", str(path), REMEDY):
            content = file_hash(path)
            return Lines(path, text_encoding(path, content), content)
    return _table(open_rows(path), wanted)


def _refuse_keep(keep: Sequence[str], given: str) -> None:
    if keep:
        raise UserError(f"{given} has no columns to keep: leave --keep and --keep_all out, or give a file with columns")


# Texts and lines


@dataclass(frozen=True)
class Texts:
    """Texts that are given themselves."""

    texts: Sequence[Any]

    def open(self) -> OpenSource:
        """Starts before the first text."""
        texts = iter(self.texts)
        return OpenSource(({"id": None, "text": text} for text in texts), lambda number: _skipped(texts, number))


@dataclass(frozen=True)
class Lines:
    """A file with one text on each line.

    Attributes:
        path: The file; None is standard input.
        encoding: Its character encoding.
        content: Hash of its bytes.
    """

    path: Path | None
    encoding: str = "utf-8"
    content: str = ""

    def open(self) -> OpenSource:
        """Starts before the first line."""
        lines = _NumberedLines(sys.stdin if self.path is None else open_text(self.path, self.encoding))

        def rows() -> Iterator[Row]:
            with self._errors_name_row(lines):
                for line in lines:
                    yield {"id": None, "text": line}

        def skip(number: int) -> int:
            with self._errors_name_row(lines):
                return _skipped(lines, number)

        return OpenSource(rows(), skip)

    @contextmanager
    def _errors_name_row(self, lines: _NumberedLines) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError) as error:
            source = "standard input" if self.path is None else repr(str(self.path))
            raise UserError(
                f"{source} cannot be read at row {lines.number + 1} ({error}): give whole UTF-8 text"
            ) from error


class _NumberedLines:
    """The lines of a file without their ends; `number` of them were read so far."""

    def __init__(self, file: TextIO) -> None:
        self._lines = iter(file)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if not self.number:
            line = line.removeprefix(BOM)
        self.number += 1
        return line.rstrip("\r\n")


def _skipped(iterator: Iterator[Any], number: int) -> int:
    return sum(1 for _ in islice(iterator, number))


# Files with columns


@dataclass(frozen=True)
class Table:
    """A file with columns.

    Attributes:
        file: The file.
        columns: The column of `text`, and that of `text_pair` where there is one; none where the file is empty.
        kept: The columns that are copied to the output, by their names there.
    """

    file: FileRows
    columns: Mapping[str, str]
    kept: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path

    @property
    def content(self) -> str:
        """Hash of its bytes."""
        return self.file.content

    def open(self) -> OpenSource:
        """Starts before the first row."""
        if not self.columns:
            return OpenSource(iter(()), lambda number: 0)
        file = self.file
        cursor = file.cursor({"id", *self.columns.values(), *self.kept.values()})

        def rows() -> Iterator[Row]:
            with loading("file", str(file.path), REMEDY):
                for row in cursor:
                    fields: Row = {"id": _cell(file, row, "id")}
                    for role, column in self.columns.items():
                        fields[role] = _cell(file, row, column) or ""
                    if self.kept:
                        fields["kept"] = {name: row.values.get(column) for name, column in self.kept.items()}
                    yield fields
                file.say_found(file.found)

        def skip(number: int) -> int:
            with loading("file", str(file.path), REMEDY):
                return cursor.skip(number)

        return OpenSource(rows(), skip)


def _table(rows: FileRows, wanted: _Wanted) -> Table:
    columns = {}
    with loading("file", str(rows.path), REMEDY):
        if not rows.columns and not any(True for _ in rows):  # an empty file
            return Table(rows, {}, {})
        for role, column in wanted.columns.items():
            known = "text" if role == "text" else column
            remedy = f"call the column of texts {known!r}"
            if role in wanted.options:
                remedy += f", or name it with {wanted.options[role]}"
            if column not in rows.columns and known not in rows.columns:
                found = ", ".join(rows.columns) or "none"
                raise UserError(f"{str(rows.path)!r} has no column {column!r}: it has {found}; {remedy}")
            columns[role] = column if column in rows.columns else known
            _check_text(rows, columns[role], remedy)
        return Table(rows, columns, _kept(rows, wanted.keep, columns["text"], wanted.reserved))


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


def _kept_types(tables: Sequence[Table]) -> dict[str, pa.DataType]:
    """The type of each column that is copied to the output: that of all files, or text where they differ.

    Raises:
        UserError: A file lacks a column that another one has.
    """
    import pyarrow as pa

    types: dict[str, pa.DataType] = {}
    tables = [table for table in tables if table.columns]
    for table in tables:
        if set(table.kept) != set(tables[0].kept):
            raise UserError(
                f"{str(table.path)!r} has the columns {', '.join(table.kept) or 'none'} to keep, but "
                f"{str(tables[0].path)!r} has {', '.join(tables[0].kept) or 'none'}: name columns that all files have "
                "with --keep"
            )
        for name, column in table.kept.items():
            kind = _kept_type(table.file, column)
            known = types.setdefault(name, kind)
            if pa.types.is_null(known):
                types[name] = kind
            elif kind != known and not pa.types.is_null(kind):
                types[name] = pa.string()
    return types


def _kept_type(rows: FileRows, column: str) -> pa.DataType:
    """The type of a column in a Parquet output: the input's, but text for lists and objects of JSON."""
    import pyarrow as pa

    return pa.string() if rows.is_json(column) else rows.schema.field(column).type


def _cell(rows: FileRows, row: FileRow, column: str) -> str | None:
    try:
        return as_text(row.values.get(column))
    except ValueError as error:
        place = f"{str(rows.path)!r} {rows.unit} {row.number}"
        raise UserError(f"{place}: column {column!r} holds {error}: give it one value in each row") from error
