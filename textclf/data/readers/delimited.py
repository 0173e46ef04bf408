"""CSV and TSV files: a file with a row that has more or fewer fields than the header is refused."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NoReturn, TextIO

import pyarrow as pa  # noqa: TID253 - imported late itself

from textclf.console import say
from textclf.data.readers.compression import open_text, uncompressed_suffix
from textclf.data.readers.file_rows import Cursor, FileRow, FileRows, RecordCursor
from textclf.errors import UserError

SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?[\r\n]*', re.IGNORECASE)
"""A first line that names the delimiter, as Excel writes and reads it."""
SAMPLE = 10_000
"""Lines of a `.tsv` file that are examined for quoting."""
NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


class DelimitedRows(FileRows):
    r"""The rows of a `.csv` or `.tsv` file; all values are text, and an empty field is the empty string.

    The header is the first line that is not blank; blank lines are skipped. A row that does not fit the header is
    refused with its line; its fields are not guessed.

    - A `.csv` file is quoted as in RFC 4180. A header without commas may be separated by semicolons or tabs, which is
      reported, and a first line `sep=;` names the delimiter.
    - A `.tsv` file has no quoting: a quotation mark is an ordinary character.
    - Columns without a name before the first one that has a name are an index, as pandas writes it, and are left out.
      Columns without a name after it must be empty.
    - Where the header names one column, a line that does not begin with a quotation mark is read whole, with commas.

    Args:
        path: The file.
        encoding: Its character encoding.

    Raises:
        UserError: The header names a column twice, or is quoted in a `.tsv` file.
    """

    def __init__(self, path: Path, encoding: str) -> None:  # noqa: D107  # the class describes it
        self.path = path
        self._encoding = encoding
        self._quoted = uncompressed_suffix(path) != ".tsv"
        self._reported_whole = False
        self._delimiter, skipped = self._find_delimiter()
        self._header, self._header_lines = self._read_header(self._delimiter, skipped)
        self._check_header()
        self._named = [(index, name) for index, name in enumerate(self._header) if name.strip()]
        first = self._named[0][0] if self._named else 0
        unnamed = [index for index, name in enumerate(self._header) if not name.strip()]
        self._must_be_empty = [index for index in unnamed if index >= first]
        self.columns = tuple(name for _, name in self._named)
        if not self._quoted:
            self._say_if_quoted()

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns are text."""
        return pa.schema([(name, pa.string()) for name in self.columns])

    def cursor(self, columns: Collection[str] | None = None) -> Cursor[FileRow]:
        """A cursor before the first row.

        Its rows raise a `UserError` if a row has more or fewer fields than the header, a quotation mark is not closed,
        or the header is repeated.
        """
        self.found = Counter()
        return RecordCursor(self._all_records(), self._row)

    def _all_records(self) -> Iterator[tuple[int, list[str]]]:
        """The line on which each record begins, and its fields, which may be too many or too few."""
        with self._open() as file:
            lines = islice(file, self._header_lines, None)
            yield from self._whole_lines(lines) if len(self._header) == 1 else self._records(lines)

    def _row(self, record: tuple[int, list[str]]) -> FileRow:
        line, fields = record
        header = self._header
        if len(fields) != len(header):
            self._refuse_width(line, fields)
        if len(header) > 1:
            if fields[0] == header[0] and fields == header:  # comparing the first fields alone is faster
                raise UserError(f"{self._place(line)} is the header again: delete it")
            if self._must_be_empty:
                self._check_unnamed(line, fields)
        return FileRow(line, {name: fields[index] for index, name in self._named})

    def _records(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        """The records of a file of several columns."""
        reader = self._reader(lines, self._delimiter)
        width = len(self._header)
        while True:
            line = self._header_lines + reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                self._refuse_quoting(line, error)
            if fields is None:
                return
            if len(fields) != width and len(fields) <= 1 and not "".join(fields).strip():
                continue  # a blank line
            yield line, fields

    def _whole_lines(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        """The records of a file of one column."""
        number = self._header_lines
        for text in lines:
            first = number = number + 1
            value = text.rstrip("\r\n")
            if self._quoted and value.startswith('"'):
                reader = self._reader(chain([text], lines), self._delimiter)
                try:
                    fields = next(reader)
                except csv.Error as error:
                    self._refuse_quoting(first, error)
                number += reader.line_num - 1
                yield first, fields
            elif value:
                if self._quoted and self._delimiter in value:
                    self.found["whole"] = self.found["whole"] or first
                yield first, [value]

    # The header

    def _find_delimiter(self) -> tuple[str, int]:
        """The delimiter, and the number of lines before the header that are no rows."""
        if not self._quoted:
            return "\t", 0
        with self._open() as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    separator = SEPARATOR_LINE.fullmatch(line)
                    if separator is not None:
                        return separator[1], number
                    break
        # Not strict: read with a wrong delimiter, the quotation marks of a header look misplaced.
        names, _ = self._read_header(",", strict=False)
        if len(names) == 1:
            for other in ";\t":
                if len(self._read_header(other, strict=False)[0]) > 1:
                    say(f"{str(self.path)!r} is read with {NAMES[other]} between fields, since its header has no comma")
                    return other, 0
        return ",", 0

    def _read_header(self, delimiter: str, skipped: int = 0, strict: bool = True) -> tuple[list[str], int]:
        """The names of the columns, and the number of lines up to and including them; no names without a header."""
        with self._open() as file:
            reader = self._reader(islice(file, skipped, None), delimiter, strict)
            while True:
                line = skipped + reader.line_num + 1
                try:
                    fields = next(reader, None)
                except csv.Error as error:
                    self._refuse_quoting(line, error)
                if fields is None:
                    return [], skipped + reader.line_num
                if any(field.strip() for field in fields):
                    fields[0] = fields[0].lstrip("\ufeff")
                    return fields, skipped + reader.line_num

    def _check_header(self) -> None:
        counts = Counter(name for name in self._header if name.strip())
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise UserError(
                f"{self._place(self._header_lines)} names the column {twice[0]!r} {counts[twice[0]]} times: give each "
                "column a name of its own, in the first line"
            )
        if not self._quoted and any(len(name) > 1 and name[0] == name[-1] == '"' for name in self._header):
            raise UserError(
                f"{self._place(self._header_lines)} has quotation marks around names, and a .tsv file has no quoting: "
                "rename it to .csv, where fields are quoted and a tab may separate them"
            )

    # Rows that do not fit

    def _check_unnamed(self, line: int, fields: list[str]) -> None:
        for index in self._must_be_empty:
            if fields[index].strip():
                raise UserError(
                    f"{self._place(line)} has {fields[index]!r} in column {index + 1}, which has no name in the "
                    "header: name it, or put texts that contain the delimiter in quotation marks"
                )

    def _refuse_width(self, line: int, fields: list[str]) -> NoReturn:
        width = len(self._header)
        names = f"{width} column{'s' if width > 1 else ''} ({', '.join(self._header)})"
        found = f"{len(fields)} field{'s' if len(fields) > 1 else ''}"
        if len(fields) > width and self._quoted and not any(field.strip() for field in fields[width:]):
            remedy = f"delete {self._mark} at the end of the row, or name the empty column in the header"
        elif not self._quoted:
            remedy = (
                "a .tsv file has no quoting, so texts must not contain tabs or line breaks; if it was written with "
                "quotation marks around fields, rename it to .csv, where a tab may separate fields"
            )
        elif any(re.match(r'\s+"', field) for field in fields):
            remedy = "no space may come before the quotation mark that begins a field"
        elif len(fields) > width:
            remedy = f'put texts that contain {self._mark} in quotation marks ("...")'
        else:
            remedy = 'put texts that contain line breaks in quotation marks ("..."), and give each row all its fields'
        raise UserError(f"{self._place(line)} has {found}, but the header names {names}: {remedy}")

    def _refuse_quoting(self, line: int, error: csv.Error) -> NoReturn:
        # The csv module has one error class for all its errors.
        if "unexpected end" in str(error):
            problem = "has a quotation mark that is never closed"
        else:
            problem = f"has a quotation mark inside a quoted field ({error})"
        raise UserError(
            f"{self._place(line)} {problem}: write each quotation mark inside a quoted field twice"
        ) from error

    def _say_if_quoted(self) -> None:
        """Reports that a `.tsv` file seems to be quoted: most fields that begin with a quotation mark are."""
        begin = quoted = 0
        with self._open() as file:
            for line in islice(file, SAMPLE):
                if '"' not in line:
                    continue
                for field in line.rstrip("\r\n").split("\t"):
                    begin += field.startswith('"')
                    quoted += _is_quoted(field)
        if 2 * quoted > begin:
            say(
                f"{str(self.path)!r} is read as it is, without quoting, but {quoted} of its first {begin} fields that "
                "begin with a quotation mark are quoted: if pandas or R wrote it, rename it to .csv, where a tab may "
                "separate fields"
            )

    def say_found(self, found: Mapping[str, int]) -> None:
        """Reports, once, that lines with delimiters are read as one text; `whole` is the first of them."""
        super().say_found(found)
        if found.get("whole") and not self._reported_whole:
            self._reported_whole = True
            say(
                f"{self._place(found['whole'])} has {self._mark} outside quotation marks: the header names one column, "
                "so such lines are read whole, as one text"
            )

    # Reading and naming lines

    @property
    def _mark(self) -> str:
        return NAMES.get(self._delimiter, repr(self._delimiter))

    def _open(self) -> TextIO:
        return open_text(self.path, self._encoding, newline="")

    def _reader(self, lines: Iterable[str], delimiter: str, strict: bool = True) -> Any:
        csv.field_size_limit(sys.maxsize)  # 128 KiB by default; a setting of the whole process
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self._quoted else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=strict)

    def _place(self, line: int) -> str:
        return f"{str(self.path)!r} line {line}"


def _is_quoted(field: str) -> bool:
    """Whether a field is in quotation marks and has marks inside, all of them doubled."""
    if len(field) <= 3 or not field.startswith('"') or not field.endswith('"'):
        return False
    inside = field[1:-1]
    return '""' in inside and '"' not in inside.replace('""', "")
