"""The prediction table: written by a run, read by everything that evaluates it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # noqa: TID253 - imported late itself
import pyarrow.parquet as pq  # noqa: TID253 - imported late itself

from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.parsing import parse_json
from textclf.types import DataFrame

VERSION = 1
"""Version of the format of the table; tables without one are read as this one."""
NUMBERS = ("label", "prediction", "scores")
COLUMNS = ("id", "text", *NUMBERS)
TEXTS = ("id", "text", "text_pair")
NAMES = ("label_name", "prediction_name")
ADVICE = "give a report/predictions.parquet that `python -m textclf test` has written"


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Predictions of a method for the rows of a split, in the order of the split.

    Attributes:
        ids: The source's ids.
        texts: The texts.
        labels: True classes, int64, shape (rows,).
        predictions: Predicted classes, int64, shape (rows,); -1 for an answer that fits no class.
        log_scores: Log-probabilities, float64, shape (rows, num_classes); NaN for an invalid answer, and
            everywhere without probabilities.
        label_names: The classes' names, in the order of the indices.
        has_probabilities: Whether the method gives probabilities.
        text_pairs: The second texts, where the task has pairs.
        temperature: What the method's own log-scores were divided by before they were normalised again.
        thresholds: The decision threshold of each class by name, where thresholds decided the predictions.
        calibrators: `class_path` and `state` of each other calibrator that changed scores or predictions.
        kept: Further columns of the source, such as the author, by name: one value per row, None where it is missing.
    """

    ids: list[str]
    texts: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    log_scores: np.ndarray
    label_names: tuple[str, ...]
    has_probabilities: bool
    text_pairs: list[str] | None = None
    temperature: float = 1.0
    thresholds: dict[str, float] | None = None
    calibrators: Sequence[Mapping[str, Any]] = ()
    kept: Mapping[str, list[Any]] = field(default_factory=dict)

    @property
    def metric_scores(self) -> np.ndarray:
        """Scores for `ClassificationMetrics.update`, float64, shape (rows, num_classes).

        Without probabilities they are 0 for the predicted class and -inf for the others. NaN marks an
        invalid answer.
        """
        if self.has_probabilities:
            return self.log_scores
        scores = np.full(self.log_scores.shape, -np.inf)
        answered = np.flatnonzero(self.predictions >= 0)
        scores[answered, self.predictions[answered]] = 0.0
        scores[self.predictions < 0] = np.nan
        return scores

    @property
    def row_losses(self) -> tuple[np.ndarray, np.ndarray]:
        """Negative log-likelihood of the true class in nats, and Brier score, each of shape (rows,).

        The Brier score is the sum of squares over all classes, 0 to 2 (Brier, 1950,
        https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2). Both are NaN for an invalid answer, and
        everywhere without probabilities.
        """
        probabilities = np.exp(self.log_scores)
        probabilities[np.arange(len(self.labels)), self.labels] -= 1
        likelihoods = np.take_along_axis(self.log_scores, self.labels[:, None], axis=1)
        return -likelihoods[:, 0], np.einsum("ij,ij->i", probabilities, probabilities)

    def to_pandas(self) -> DataFrame:
        """The table as a DataFrame, one row per row of the split, for analysis by hand.

        Returns:
            Columns `id`, `text`, `text_pair` (only of pairs), `label_name` and `prediction_name` (None for an answer
            that fits no class), where the method gives probabilities `score_<label>`, the probability of each label
            (NaN for an answer that fits no class), and the columns of the source that were kept.
        """
        from pandas import DataFrame  # takes a while to import

        names = np.array([*self.label_names, None], dtype=object)  # the last for -1
        pairs = {} if self.text_pairs is None else {"text_pair": self.text_pairs}
        answers = {"label_name": names[self.labels], "prediction_name": names[self.predictions]}
        columns: dict[str, Any] = {"id": self.ids, "text": self.texts, **pairs, **answers}
        if self.has_probabilities:
            probabilities = np.exp(self.log_scores)
            columns |= {f"score_{name}": probabilities[:, i] for i, name in enumerate(self.label_names)}
        return DataFrame(columns | dict(self.kept))


def write_predictions(
    path: str | Path,
    rows: Iterable[Mapping[str, Sequence[Any]]],
    *,
    predictions: np.ndarray,
    log_scores: np.ndarray,
    label_names: Sequence[str],
    has_probabilities: bool = True,
    temperature: float = 1.0,
    thresholds: Mapping[str, float] | None = None,
    calibrators: Sequence[Mapping[str, Any]] = (),
    kept: Mapping[str, pa.DataType] | None = None,
) -> None:
    """Writes a prediction table as a Parquet file.

    Its columns are `id`, `text`, `text_pair` (only when given), `label` and `prediction` (class indices, -1 for an
    invalid answer), `label_name` and `prediction_name` (their names, dictionary-encoded, null for an invalid answer)
    and `scores` (a list of float64 per row, null for an invalid answer), then the columns that are kept. The schema
    metadata holds `version`, `label_names`, `has_probabilities`, `temperature`, `thresholds` and `calibrators` as JSON.

    Args:
        path: The file to write.
        rows: Windows of rows, each with the columns `id`, `text`, `label`, and `text_pair` where there is one; so that
            not all texts need to be in memory.
        predictions: Answered class indices of all rows, shape (rows,); -1 for an answer that fits no class.
        log_scores: Log-probabilities of all rows, shape (rows, num_classes); NaN for an answer that fits no class.
        label_names: The classes' names, in the order of the indices.
        has_probabilities: Whether the scores are log-probabilities. If not, `scores` is null.
        temperature: What the method's own log-scores were divided by before they were normalised again.
        thresholds: The decision threshold of each class by name, where thresholds decided the predictions.
        calibrators: `class_path` and `state` of each other calibrator that changed scores or predictions.
        kept: Arrow type of each further column of `rows` that is written.

    Raises:
        ValueError: The arguments differ in their number of rows or classes.
    """
    log_scores = np.asarray(log_scores, dtype=np.float64)
    predictions = np.asarray(predictions, dtype=np.int64)
    if log_scores.shape != (len(predictions), len(label_names)):
        raise ValueError(
            f"log_scores has shape {log_scores.shape}, expected {(len(predictions), len(label_names))}: one row per "
            "prediction, one score per label name"
        )
    metadata = {
        "version": json.dumps(VERSION),
        "label_names": json.dumps(list(label_names), ensure_ascii=False),
        "has_probabilities": json.dumps(has_probabilities),
        "temperature": json.dumps(temperature),
        "thresholds": json.dumps(None if thresholds is None else dict(thresholds), ensure_ascii=False),
        "calibrators": json.dumps(list(calibrators), default=_as_list, ensure_ascii=False),
    }
    done = 0
    writer = None
    with atomic_path(path) as temporary, ExitStack() as stack:
        for window in rows:
            part = slice(done, done + len(window["id"]))
            done = part.stop
            table = _as_table(window, predictions[part], log_scores[part], label_names, has_probabilities)
            for name, kind in (kept or {}).items():
                table = table.append_column(name, pa.array(window[name], kind))
            if writer is None:
                schema = table.schema.with_metadata(metadata)
                writer = stack.enter_context(pq.ParquetWriter(temporary, schema))
            writer.write_table(table.replace_schema_metadata(metadata))
        if writer is None or done != len(predictions):
            raise ValueError(f"there are {done} rows, and {len(predictions)} predictions")


def _as_list(tensor: Any) -> Any:
    return tensor.tolist()


def _as_table(
    window: Mapping[str, Sequence[Any]],
    predictions: np.ndarray,
    log_scores: np.ndarray,
    label_names: Sequence[str],
    has_probabilities: bool,
) -> pa.Table:
    texts = {name: pa.array(window[name], pa.string()) for name in TEXTS if name in window}
    return pa.table(
        {
            **texts,
            "label": pa.array(window["label"], pa.int64()),
            "prediction": pa.array(predictions),
            "label_name": _names_of(np.asarray(window["label"], dtype=np.int64), label_names),
            "prediction_name": _names_of(predictions, label_names),
            "scores": _score_lists(log_scores, (predictions >= 0) & has_probabilities),
        }
    )


def _names_of(classes: np.ndarray, label_names: Sequence[str]) -> pa.DictionaryArray:
    indices = pa.array(classes, pa.int32(), mask=classes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(label_names, pa.string()))


def read_predictions(path: str | Path, rows: np.ndarray | None = None, texts: bool = True) -> PredictionTable:
    """Reads what `write_predictions` wrote; tables without a version or the columns of names are read as well.

    Args:
        path: The Parquet file.
        rows: Indices of the rows to read, in the order to return them; all rows by default.
        texts: Whether to read ids, texts and the columns that were kept; without them a row takes few bytes.

    Returns:
        The table, in memory.

    Raises:
        UserError: There is no such file, or it is not a prediction table, or one of a later version.
    """
    try:
        schema = pq.read_schema(path)
        _check_version(path, schema.metadata or {})
        columns = [name for name in schema.names if name in NUMBERS or (texts and name not in NAMES)]
        if rows is None:
            table = pq.read_table(path, columns=columns)
        else:
            table = _read_rows(path, columns, rows)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; {ADVICE}") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a Parquet file that can be read ({reason}); {ADVICE}") from error
    metadata = schema.metadata or {}
    missing = [name for name in COLUMNS if name not in schema.names]
    missing += [name for name in ("label_names", "has_probabilities") if name.encode() not in metadata]
    if missing:
        raise UserError(f"{path}: not a prediction table, it has no {', '.join(missing)}; {ADVICE}")
    try:
        label_names = _label_names(metadata[b"label_names"])
        return PredictionTable(
            **_text_columns(table),
            labels=_class_indices(table["label"], 0, len(label_names)),
            predictions=_class_indices(table["prediction"], -1, len(label_names)),
            log_scores=_score_matrix(table["scores"], len(label_names)),
            label_names=label_names,
            has_probabilities=parse_json(metadata[b"has_probabilities"]),
            temperature=parse_json(metadata.get(b"temperature", "1.0")),
            thresholds=parse_json(metadata.get(b"thresholds", "null")),
            calibrators=parse_json(metadata.get(b"calibrators", "[]")),
            kept={name: table[name].to_pylist() for name in table.column_names if name in kept_columns(schema.names)},
        )
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a whole prediction table ({error}); {ADVICE}") from error


def _label_names(encoded: bytes) -> tuple[str, ...]:
    names = parse_json(encoded)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("`label_names` must be a list of texts")
    return tuple(names)


def _check_version(path: str | Path, metadata: Mapping[bytes, bytes]) -> None:
    """Refuses a table of a later version, whose columns may mean something else."""
    version = metadata.get(b"version", b"1").decode(errors="replace")
    if not version.isdecimal() or int(version) > VERSION:
        raise UserError(
            f"{path}: a prediction table of version {version}, and this textclf reads version {VERSION}: install the "
            "textclf that has written it"
        )


def kept_columns(names: Sequence[str]) -> list[str]:
    """Those of the columns of a table that were kept from the source."""
    return [name for name in names if name not in (*COLUMNS, *NAMES, "text_pair")]


def read_column(path: str | Path, name: str) -> list[Any]:
    """Reads one column of a prediction table, such as one that `data.keep_columns` has kept.

    Raises:
        UserError: The table has no such column.
    """
    names = pq.read_schema(path).names
    if name not in names:
        kept = ", ".join(kept_columns(names)) or "none"
        raise UserError(f"{path}: there is no column {name!r} (kept: {kept}): run with --data.keep_columns '[{name}]'")
    values: list[Any] = pq.read_table(path, columns=[name])[name].to_pylist()
    return values


def _text_columns(table: pa.Table) -> dict[str, Any]:
    """The fields of `PredictionTable` with ids and texts; empty if the file was read without them."""

    def values(column: str) -> list[str] | None:
        if column not in table.column_names:
            return None
        cells = table[column]
        if pa.types.is_integer(cells.type):  # ids of a table that another program has written
            cells = cells.cast(pa.string())
        found: list[str] = cells.to_pylist()
        return found

    return {"ids": values("id") or [], "texts": values("text") or [], "text_pairs": values("text_pair")}


def _read_rows(path: str | Path, columns: list[str], rows: np.ndarray) -> pa.Table:
    """Reads some rows of a file; only one batch more than these is in memory at a time."""
    order = np.argsort(rows)
    ascending = rows[order]
    parts = []
    start = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=columns):
            in_batch = ascending[(ascending >= start) & (ascending < start + len(batch))]
            parts.append(batch.take(pa.array(in_batch - start)))
            start += len(batch)
        schema = pa.schema([file.schema_arrow.field(name) for name in columns])
    return pa.Table.from_batches(parts, schema).take(pa.array(np.argsort(order)))


def _score_lists(log_scores: np.ndarray, given: np.ndarray) -> Any:
    lengths = np.where(given, log_scores.shape[1], 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = pa.array(log_scores[given].ravel(), pa.float64())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=pa.array(~given))


def _score_matrix(column: Any, num_classes: int) -> np.ndarray:
    scores = np.full((len(column), num_classes), np.nan)
    start = 0
    for chunk in column.cast(pa.list_(pa.float64())).chunks:
        given = start + np.flatnonzero(chunk.is_valid().to_numpy(zero_copy_only=False))
        lengths = chunk.value_lengths().drop_null().to_numpy()
        if (lengths != num_classes).any():
            raise ValueError(f"`scores` must have {num_classes} numbers in each row, as many as label names")
        scores[given] = chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(given), num_classes)
        start += len(chunk)
    return scores


def _class_indices(column: Any, lowest: int, num_classes: int) -> np.ndarray:
    if column.null_count:
        raise ValueError("`label` and `prediction` must not have nulls")
    indices: np.ndarray = column.cast(pa.int64()).to_numpy()
    if ((indices < lowest) | (indices >= num_classes)).any():
        raise ValueError(f"`label` and `prediction` must be class indices below {num_classes}")
    return indices
