"""The outputs of `predict`: JSON Lines, CSV, TSV or Parquet, written as the rows come."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TextIO

from textclf.console import say
from textclf.data.text_values import as_text, json_value
from textclf.errors import UserError
from textclf.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

OUTPUTS = (".jsonl", ".csv", ".tsv", ".parquet")
BREAKS = re.compile(r"\r\n|[\t\r\n]")
Write = Callable[[Iterable[dict[str, Any]]], None]


@dataclass(frozen=True)
class OutputColumns:
    """The columns of an output in addition to `id`, `text`, `label`, `score` and `scores`.

    Attributes:
        label_names: Name of each class.
        thresholds: Whether thresholds (or another calibrator) decide, so that rows have `decision` and
            `thresholded_scores`.
        kept: The Arrow type of each column of the input that is kept, by its name in the output.
    """

    label_names: Sequence[str] = ()
    thresholds: bool = False
    kept: Mapping[str, pa.DataType] = field(default_factory=dict)


def reserved_names(label_names: Sequence[str]) -> tuple[str, ...]:
    """The names of columns that an output of any format may have; kept columns of the input get other names."""
    scores = [f"score_{name}" for name in label_names]
    thresholded = [f"thresholded_score_{name}" for name in label_names]
    return ("id", "text", "label", "score", "scores", "decision", "thresholded_scores", *scores, *thresholded)


def check_output(output: str | None) -> None:
    """Refuses an output that cannot be written, before any work is done.

    Raises:
        UserError: Its suffix is none of `OUTPUTS`, it is a folder, or standard output is closed.
    """
    if output is not None and Path(output).suffix not in OUTPUTS:
        raise UserError(f"--output {output!r}: its suffix is none of {', '.join(OUTPUTS)}; a folder's name ends with /")
    if output is None and sys.__stdout__ is None:
        raise UserError("standard output is closed: pass --output FILE")
    if output is not None and Path(output).is_dir():
        raise UserError(f"--output {output!r} is a folder: name a file")


@contextmanager
def open_sink(
    output: str | None, columns: OutputColumns | None = None, changed: Counter[str] | None = None
) -> Iterator[Write]:
    """Opens the output of predictions: a file, written atomically in the format of its suffix, or standard output.

    A `.csv` or `.tsv` file has a column for the score of each label, `score_<label>`, in place of `scores`. A `.tsv`
    file has no quoting, as in `textclf.data.readers.delimited`: a tab or line break in a value is written as a space.

    Args:
        output: The file; None is standard output, as JSON Lines.
        columns: The further columns of the rows.
        changed: Counts the rows whose tabs or line breaks are written as spaces; by default a line reports them.

    Yields:
        A function that takes rows with `id` and `text`, what `textclf.models.streaming.prediction_of` gives, and the
        columns that are kept.

    Raises:
        UserError: It cannot be written.
    """
    check_output(output)
    columns = columns or OutputColumns()
    if output is None:
        yield _JsonSink(sys.stdout, columns).add
        return
    with ExitStack() as stack:
        try:
            path = stack.enter_context(atomic_path(output))
        except OSError as error:
            raise UserError(f"--output {output!r} cannot be written ({error.strerror}): name another file") from error
        if path.suffix == ".parquet":
            yield stack.enter_context(_ParquetSink(path, columns)).add
            return
        file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        sink = TEXT_SINKS[path.suffix](file, columns)
        yield sink.add
        if changed is None:
            say_flattened(sink.flattened)
        else:
            changed["flattened"] += sink.flattened


class _TextSink:
    """Writes each row as text.

    Attributes:
        flattened: Number of rows with tabs or line breaks that were written as spaces.
    """

    flattened = 0

    def __init__(self, file: TextIO, columns: OutputColumns) -> None:
        self.file = file
        self.columns = columns

    def write(self, row: dict[str, Any]) -> None:
        raise NotImplementedError

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self.write(row)
        self.file.flush()


class _JsonSink(_TextSink):
    """JSON Lines."""

    def write(self, row: dict[str, Any]) -> None:
        self.file.write(_json(row) + "\n")


class _CsvSink(_TextSink):
    """CSV as in RFC 4180, with a header."""

    def __init__(self, file: TextIO, columns: OutputColumns) -> None:
        super().__init__(file, columns)
        # With its default line ends, a value with a carriage return alone is quoted too.
        self.writer = csv.writer(file)
        names = ["id", "text", "label", "score", *(f"score_{name}" for name in columns.label_names)]
        if columns.thresholds:
            names += ["decision", *(f"thresholded_score_{name}" for name in columns.label_names)]
        self.write_fields([*names, *columns.kept])

    def write(self, row: dict[str, Any]) -> None:
        fields = [row["id"], row["text"], row["label"], row["score"], *self._scores(row["scores"])]
        if self.columns.thresholds:
            fields += [row["decision"], *self._scores(row["thresholded_scores"])]
        self.write_fields([*fields, *(row[name] for name in self.columns.kept)])

    def _scores(self, scores: Mapping[str, float] | None) -> list[float | None]:
        if not scores:  # the answer fits no class
            return [None] * len(self.columns.label_names)
        return [scores[name] for name in self.columns.label_names]

    def write_fields(self, fields: Sequence[Any]) -> None:
        self.writer.writerow([_text(value) or "" for value in fields])


class _TsvSink(_CsvSink):
    """Fields between tabs, without quoting."""

    def write_fields(self, fields: Sequence[Any]) -> None:
        texts = [_text(value) or "" for value in fields]
        plain = [BREAKS.sub(" ", text) for text in texts]
        self.flattened += plain != texts
        self.file.write("\t".join(plain) + "\n")


TEXT_SINKS: dict[str, type[_TextSink]] = {".jsonl": _JsonSink, ".csv": _CsvSink, ".tsv": _TsvSink}
"""The writer of each text format, by the suffix of the file."""


def say_flattened(rows: int) -> None:
    """Reports the number of rows with tabs or line breaks that were written as spaces, unless it is 0."""
    if rows:
        number = "1 row has" if rows == 1 else f"{rows:,} rows have"
        say(
            f"{number} tabs or line breaks, which are written as spaces: a .tsv file has no quoting; a .csv, .jsonl or "
            ".parquet file keeps them"
        )


def _text(value: Any) -> str | None:
    """A value as text: lists, objects and bytes as JSON."""
    if isinstance(value, list | dict | tuple | bytes):
        return _json(value)
    return as_text(value)


def _json(value: Any) -> str:
    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False)


class _ParquetSink:
    """Collects rows into row groups of some thousands; scores are maps from label to probability."""

    ROWS = 8192

    def __init__(self, path: Path, columns: OutputColumns) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._rows: list[dict[str, Any]] = []
        self._maps = ["scores"]
        self._texts = [name for name, kind in columns.kept.items() if pa.types.is_string(kind)]
        scores = pa.map_(pa.string(), pa.float64())
        fields = [
            ("id", pa.string()),
            ("text", pa.string()),
            ("label", pa.string()),
            ("score", pa.float64()),
            ("scores", scores),
        ]
        if columns.thresholds:
            self._maps.append("thresholded_scores")
            fields += [("decision", pa.string()), ("thresholded_scores", scores)]
        self._schema = pa.schema([*fields, *columns.kept.items()])
        self._writer = pq.ParquetWriter(path, self._schema)

    def __enter__(self) -> _ParquetSink:
        return self

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= self.ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        rows = [self._converted(row) for row in self._rows]
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))
        self._rows = []

    def _converted(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row with the values that Arrow takes: pairs for maps, and text for lists and objects of JSON."""
        converted = dict(row)
        for name in self._maps:
            if row[name] is not None:
                converted[name] = list(row[name].items())
        for name in self._texts:
            converted[name] = _text(row[name])
        return converted

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None and self._rows:
            self._flush()
        self._writer.close()


def join_outputs(parts: Sequence[Path], output: Path, columns: OutputColumns) -> None:
    """Joins outputs of one format to a single file, atomically.

    Args:
        parts: The outputs, in the order of their rows. A single one is renamed.
        output: The file, with their suffix.
        columns: Their columns.
    """
    if len(parts) == 1:
        parts[0].replace(output)
        return
    with atomic_path(output) as path:
        if path.suffix == ".parquet":
            _join_parquet(parts, path)
        else:
            _join_texts(parts, path, columns)


def _join_parquet(parts: Sequence[Path], path: Path) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, pq.read_schema(parts[0])) as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))


def _join_texts(parts: Sequence[Path], path: Path, columns: OutputColumns) -> None:
    """Joins the bytes; the header of each part but the first is left out."""
    with TemporaryDirectory() as folder:
        empty = Path(folder, f"empty{path.suffix}")
        with open_sink(str(empty), columns):
            pass
        header = empty.stat().st_size
    with path.open("wb") as joined:
        for number, part in enumerate(parts):
            with part.open("rb") as file:
                file.seek(header if number else 0)
                shutil.copyfileobj(file, joined)
