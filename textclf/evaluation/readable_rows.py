"""Rows of a prediction table for reading: a sample, the worst mistakes, and label names instead of indices."""

import numpy as np

from textclf.evaluation.prediction_table import PredictionTable

Cell = str | float | None


def sample_rows(table: PredictionTable, number: int) -> np.ndarray:
    """Draws a sample of rows, the same one for every method on a split, in the split's order.

    Args:
        table: The predictions.
        number: How many rows; all of them where there are fewer.

    Returns:
        Row indices, int64, shape (rows,).
    """
    size = len(table.labels)
    return np.sort(np.random.default_rng(0).choice(size, min(number, size), replace=False))


def worst_mistakes(table: PredictionTable, number: int) -> np.ndarray:
    """Finds the wrong predictions with the highest probability.

    Args:
        table: The predictions.
        number: How many rows at most.

    Returns:
        Row indices, int64, shape (rows,), highest probability first; predictions without a probability come last, in
        the split's order.
    """
    wrong = np.flatnonzero(table.predictions != table.labels)
    return wrong[np.argsort(-confidences(table)[wrong], kind="stable")[:number]]  # NaN comes last


def confidences(table: PredictionTable) -> np.ndarray:
    """The probability of each prediction, float64, shape (rows,); NaN where there is none."""
    best: np.ndarray = np.exp(table.log_scores[np.arange(len(table.labels)), table.predictions])
    best[table.predictions < 0] = np.nan
    return best


def readable(table: PredictionTable, rows: np.ndarray) -> tuple[list[str], list[list[Cell]]]:
    """Lists rows with label names instead of indices.

    Args:
        table: The predictions.
        rows: Row indices, shape (rows,).

    Returns:
        The columns `id`, `text`, `text_pair` where there is one, `label`, `prediction` (None for an answer that fits no
        class) and `confidence` (None where there is no probability); and a list per row.
    """
    names: list[str | None] = [*table.label_names, None]  # the last for -1, an answer that fits no class
    probabilities = confidences(table)
    columns = {"id": table.ids, "text": table.texts}
    if table.text_pairs:
        columns["text_pair"] = table.text_pairs
    lines: list[list[Cell]] = []
    for row in rows.tolist():
        line: list[Cell] = [column[row] for column in columns.values()]
        line += [names[table.labels[row]], names[table.predictions[row]]]
        line.append(None if np.isnan(probabilities[row]) else float(probabilities[row]))
        lines.append(line)
    return [*columns, "label", "prediction", "confidence"], lines
