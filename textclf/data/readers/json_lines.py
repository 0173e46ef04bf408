"""JSON Lines files: one object a line, whose values keep their JSON types."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa  # noqa: TID253 - imported late itself

from textclf.data.readers.compression import open_text
from textclf.data.readers.file_rows import Cursor, FileRow, FileRows, RecordCursor
from textclf.data.text_values import kind_of, mended_values
from textclf.errors import UserError

INT64 = range(-(2**63), 2**63)
REMEDY = 'write one object on each line, such as {"text": "...", "label": "..."}'


class JsonRows(FileRows):
    r"""The rows of a `.jsonl` file; a field that a row lacks is missing there. NaN is a missing value.

    No types are guessed: a string that looks like a date or a number stays a string. Half of a character, as an escape
    such as `\ud83d` alone gives, becomes U+FFFD.

    Args:
        path: The file.
        encoding: Its character encoding.
    """

    def __init__(self, path: Path, encoding: str) -> None:  # noqa: D107  # the class describes it
        self.path = path
        self._encoding = encoding

    @cached_property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]  # found on first need
        """All fields of all rows, in order of first occurrence."""
        return tuple(self._kinds)

    @cached_property
    def _kinds(self) -> dict[str, set[type]]:
        """The Python types of each field's values."""
        kinds: dict[str, set[type]] = defaultdict(set)
        for row in self:
            for name, value in row.values.items():
                kind = type(value)
                if kind is int and value not in INT64:
                    kind = str  # Arrow has no larger integers
                kinds[name].add(kind)
        return dict(kinds)

    @cached_property
    def schema(self) -> pa.Schema:
        """One type for each field: that of all its values, else text; JSON where some are lists or objects."""
        return pa.schema([(name, _arrow_type(kinds)) for name, kinds in self._kinds.items()])

    def is_json(self, column: str) -> bool:
        """Whether some values of a column are lists or objects."""
        return bool(pa.types.is_binary(self.schema.field(column).type))

    def cursor(self, columns: Collection[str] | None = None) -> Cursor[FileRow]:
        """A cursor before the first row; lines with nothing but white space are no rows.

        Its rows raise a `UserError` if a line is not a JSON object, or names a field twice.
        """
        self.found = Counter()
        return RecordCursor(self._lines(), self._row)

    def _lines(self) -> Iterator[tuple[int, str]]:
        with open_text(self.path, self._encoding) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line

    def _row(self, numbered: tuple[int, str]) -> FileRow:
        number, line = numbered
        return FileRow(number, self._mended(line, self._parsed(number, line)))

    def _mended(self, line: str, values: dict[str, Any]) -> dict[str, Any]:
        if "\\u" not in line:
            return values
        valid: dict[str, Any] = mended_values(values)
        self.found["mended"] += valid != values
        return valid

    def _parsed(self, number: int, line: str) -> dict[str, Any]:
        try:
            value = DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            place = f"{str(self.path)!r} line {number}"
            if line.lstrip().startswith("["):
                raise UserError(f"{place} begins a JSON list: {REMEDY}") from error
            reason = str(error)
            if isinstance(error, json.JSONDecodeError):
                reason = f"{error.msg}, column {error.colno}"
            raise UserError(f"{place} is not a JSON object ({reason}): {REMEDY}") from error
        if not isinstance(value, dict):
            kind = kind_of(value) if isinstance(value, list) else repr(value)
            raise UserError(f"{str(self.path)!r} line {number} is {kind}, not a JSON object: {REMEDY}")
        return value


def _arrow_type(kinds: set[type]) -> pa.DataType:
    """The Arrow type of a field whose values have these Python types."""
    kinds = kinds - {type(None)}
    if not kinds:
        return pa.null()
    if kinds & {list, dict}:
        return pa.binary()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    if kinds == {float}:
        return pa.float64()
    return pa.string()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object of its fields.

    Raises:
        ValueError: A field occurs twice.
    """
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in result if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} occurs twice")
    return result


def _constant(name: str) -> float | None:
    """The values of `NaN`, `Infinity` and `-Infinity`; NaN is a missing value."""
    return None if name == "NaN" else float(name)


DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
"""Decodes a line. It is no attribute of the rows, which are sent to other processes and must be pickled."""
