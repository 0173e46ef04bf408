"""The outputs of `predict`: JSON Lines, CSV, TSV or Parquet, written as the rows come."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from textclf.atomic import atomic_path
from textclf.errors import UserError


def check_output(output: str | None) -> None:
    """Refuses an output that cannot be, before any work is done for it.

    Raises:
        UserError: Its suffix is neither `.jsonl` nor `.parquet`, it is a folder, or standard output is closed.
    """
    if output is not None and not output.endswith((".jsonl", ".parquet")):
        raise UserError(f"--output {output!r}: its suffix is neither .jsonl nor .parquet")
    if output is None and sys.__stdout__ is None:
        raise UserError("standard output is closed: pass --output FILE")
    if output is not None and Path(output).is_dir():
        raise UserError(f"--output {output!r} is a folder: name a file")


@contextmanager
def open_sink(output: str | None, thresholds: bool = False) -> Iterator[Callable[[Iterable[dict[str, Any]]], None]]:
    """Opens a place for predictions: a `.jsonl` or `.parquet` file, whole once it exists, or standard output.

    Args:
        output: The file; None is standard output, as JSON Lines.
        thresholds: Whether decision thresholds are in force, so that rows have `decision` and `thresholded_scores`.

    Yields:
        A function that takes rows with `id` and `text` and what `textclf.data.streaming.prediction_of` gives.

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
                yield stack.enter_context(_ParquetSink(path, thresholds)).add


def _write_lines(file: TextIO, rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()


class _ParquetSink:
    """Collects rows into row groups of some thousands; scores are maps from label to probability."""

    ROWS = 8192

    def __init__(self, path: Path, thresholds: bool) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._rows: list[dict[str, Any]] = []
        self._maps = ["scores", "thresholded_scores"] if thresholds else ["scores"]
        scores = pa.map_(pa.string(), pa.float64())
        fields = [
            ("id", pa.string()),
            ("text", pa.string()),
            ("label", pa.string()),
            ("score", pa.float64()),
            ("scores", scores),
        ]
        if thresholds:
            fields += [("decision", pa.string()), ("thresholded_scores", scores)]
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(path, self._schema)

    def __enter__(self) -> _ParquetSink:
        return self

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= self.ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        rows = [{**row, **{name: row[name] and list(row[name].items()) for name in self._maps}} for row in self._rows]
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))
        self._rows = []

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None and self._rows:
            self._flush()
        self._writer.close()
