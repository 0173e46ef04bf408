"""The prediction table: the interface between running a method and judging it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from textclf.atomic import atomic_path
from textclf.errors import UserError

COLUMNS = ("id", "text", "label", "prediction", "scores")
ADVICE = "give the report/predictions.parquet that `python -m textclf test` writes"


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """What a method answered to each row of a split, in the split's order.

    Attributes:
        ids: The source's ids.
        texts: The texts.
        labels: True classes, int64, shape (rows,).
        predictions: Predicted classes, int64, shape (rows,); -1 for an answer that fits no class.
        log_scores: Log-probabilities, float64, shape (rows, num_classes); NaN for an invalid answer, and
            everywhere without probabilities.
        label_names: The classes' names, in the order of the indices.
        has_probabilities: Whether the method gives probabilities at all.
        text_pairs: The second texts, where the task has pairs.
        temperature: What the method's own log-scores were divided by before they were normalised again.
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

    @property
    def metric_scores(self) -> np.ndarray:
        """Scores for `ClassificationMetrics.update`, float64, shape (rows, num_classes).

        Without probabilities they are 0 for the predicted class and -inf for the others. NaN stands for an
        invalid answer.
        """
        if self.has_probabilities:
            return self.log_scores
        scores = np.full(self.log_scores.shape, -np.inf)
        answered = np.flatnonzero(self.predictions >= 0)
        scores[answered, self.predictions[answered]] = 0.0
        scores[self.predictions < 0] = np.nan
        return scores


def write_predictions(
    path: str | Path,
    *,
    ids: Sequence[str],
    texts: Sequence[str],
    labels: np.ndarray | Sequence[int],
    log_scores: np.ndarray,
    label_names: Sequence[str],
    has_probabilities: bool = True,
    text_pairs: Sequence[str] | None = None,
    temperature: float = 1.0,
) -> None:
    """Writes a prediction table as a Parquet file.

    Its columns are `id`, `text`, `text_pair` (only when given), `label`, `prediction` (-1 for an invalid
    answer) and `scores` (a list of float64 per row, null for an invalid answer). The schema metadata holds
    `label_names`, `has_probabilities` and `temperature` as JSON.

    Args:
        path: The file to write.
        ids: The source's ids.
        texts: The texts.
        labels: True class indices, shape (rows,).
        log_scores: Log-probabilities, shape (rows, num_classes); a row holding NaN is an invalid answer.
        label_names: The classes' names, in the order of the indices.
        has_probabilities: Whether the scores are log-probabilities. If not, the predictions still come from
            them, but `scores` is null.
        text_pairs: The second texts, where the task has pairs.
        temperature: What the method's own log-scores were divided by before they were normalised again.

    Raises:
        ValueError: When the arguments differ in their number of rows or classes.
    """
    log_scores = np.asarray(log_scores, dtype=np.float64)
    if log_scores.shape != (len(ids), len(label_names)):
        raise ValueError(
            f"log_scores has shape {log_scores.shape} where {(len(ids), len(label_names))} is needed:"
            " one row per id, one score per label name"
        )
    answered = ~np.isnan(log_scores).any(axis=1)
    predictions = np.where(answered, log_scores.argmax(axis=1), -1)
    columns = {"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())}
    if text_pairs is not None:
        columns["text_pair"] = pa.array(text_pairs, pa.string())
    columns["label"] = pa.array(labels, pa.int64())
    columns["prediction"] = pa.array(predictions, pa.int64())
    columns["scores"] = _score_lists(log_scores, answered & has_probabilities)
    metadata = {
        "label_names": json.dumps(list(label_names), ensure_ascii=False),
        "has_probabilities": json.dumps(has_probabilities),
        "temperature": json.dumps(temperature),
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), temporary)


def read_predictions(path: str | Path) -> PredictionTable:
    """Reads what `write_predictions` wrote.

    Args:
        path: The Parquet file.

    Returns:
        The table, in memory.

    Raises:
        UserError: When there is no such file, or it holds something else.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; {ADVICE}") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a Parquet file that can be read ({reason}); {ADVICE}") from error
    metadata = table.schema.metadata or {}
    missing = [name for name in COLUMNS if name not in table.column_names]
    missing += [name for name in ("label_names", "has_probabilities") if name.encode() not in metadata]
    if missing:
        raise UserError(f"{path}: not a prediction table, it has no {', '.join(missing)}; {ADVICE}")
    label_names = tuple(json.loads(metadata[b"label_names"]))
    try:
        labels = _class_indices(table["label"], 0, len(label_names))
        predictions = _class_indices(table["prediction"], -1, len(label_names))
        log_scores = _score_matrix(table["scores"], len(label_names))
    except (pa.ArrowInvalid, ValueError) as error:
        raise UserError(f"{path}: not a whole prediction table ({error}); {ADVICE}") from error
    return PredictionTable(
        ids=table["id"].to_pylist(),
        texts=table["text"].to_pylist(),
        labels=labels,
        predictions=predictions,
        log_scores=log_scores,
        label_names=label_names,
        has_probabilities=json.loads(metadata[b"has_probabilities"]),
        text_pairs=table["text_pair"].to_pylist() if "text_pair" in table.column_names else None,
        temperature=json.loads(metadata.get(b"temperature", "1.0")),
    )


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
