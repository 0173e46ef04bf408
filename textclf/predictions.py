"""Texts in, labels out: the inputs and outputs of `predict`, a row at a time."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from textclf.atomic import atomic_path
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


def check_output(output: str | None) -> None:
    """Refuses an output that cannot be, before any work is done for it.

    Raises:
        UserError: Its suffix is neither `.jsonl` nor `.parquet`, or it is a folder.
    """
    if output is not None and not output.endswith((".jsonl", ".parquet")):
        raise UserError(f"--output {output!r}: its suffix is neither .jsonl nor .parquet")
    if output is not None and Path(output).is_dir():
        raise UserError(f"--output {output!r} is a folder: name a file")


@contextmanager
def open_sink(output: str | None) -> Iterator[Callable[[Iterable[dict[str, Any]]], None]]:
    """Opens a place for predictions: a `.jsonl` or `.parquet` file, whole once it exists, or standard output.

    Yields:
        A function that takes rows with `id, text, label, score, scores`.

    Raises:
        UserError: It cannot be written.
    """
    check_output(output)
    if output is None:
        yield lambda rows: _write_lines(sys.stdout, rows)
    else:
        with ExitStack() as stack:
            try:
                path = stack.enter_context(atomic_path(output))
            except OSError as error:
                raise UserError(
                    f"--output {output!r} cannot be written ({error.strerror}): name another file"
                ) from error
            if output.endswith(".jsonl"):
                file = stack.enter_context(path.open("w", encoding="utf-8"))
                yield lambda rows: _write_lines(file, rows)
            else:
                yield stack.enter_context(_ParquetSink(path)).add


def _write_lines(file: TextIO, rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()


class _ParquetSink:
    """Collects rows into row groups of some thousands; `scores` is a map from label to probability."""

    ROWS = 8192

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._rows: list[dict[str, Any]] = []
        self._schema = pa.schema(
            [
                ("id", pa.string()),
                ("text", pa.string()),
                ("label", pa.string()),
                ("score", pa.float64()),
                ("scores", pa.map_(pa.string(), pa.float64())),
            ]
        )
        self._writer = pq.ParquetWriter(path, self._schema)

    def __enter__(self) -> _ParquetSink:
        return self

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= self.ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        rows = [{**row, "scores": row["scores"] and list(row["scores"].items())} for row in self._rows]
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))
        self._rows = []

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None and self._rows:
            self._flush()
        self._writer.close()
