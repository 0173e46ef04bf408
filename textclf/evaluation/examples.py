"""Rows of a prediction table for people to read."""

import numpy as np

from textclf.evaluation.prediction_table import PredictionTable

Cell = str | float | None


def sample_rows(table: PredictionTable, number: int) -> np.ndarray:
    """Draws rows, the same ones for every method on a split, in the split's order.

    Args:
        table: The predictions.
        number: How many rows; all of them where there are fewer.

    Returns:
        Row numbers, int64, shape (rows,).
    """
    size = len(table.labels)
    return np.sort(np.random.default_rng(0).choice(size, min(number, size), replace=False))


def worst_mistakes(table: PredictionTable, number: int) -> np.ndarray:
    """Finds the wrong rows that the method was surest of.

    Args:
        table: The predictions.
        number: How many rows at most.

    Returns:
        Row numbers, int64, shape (rows,), surest first; answers without a probability last, in the split's order.
    """
    wrong = np.flatnonzero(table.predictions != table.labels)
    return wrong[np.argsort(-confidences(table)[wrong], kind="stable")[:number]]  # NaN comes last


def confidences(table: PredictionTable) -> np.ndarray:
    """Gives the probability of each prediction, float64, shape (rows,); NaN where there is none."""
    best: np.ndarray = np.exp(table.log_scores[np.arange(len(table.labels)), table.predictions])
    best[table.predictions < 0] = np.nan
    return best


def readable(table: PredictionTable, rows: np.ndarray) -> tuple[list[str], list[list[Cell]]]:
    """Writes rows with label names instead of indices.

    Args:
        table: The predictions.
        rows: Row numbers, shape (rows,).

    Returns:
        The columns `id`, `text`, `text_pair` where there is one, `label`, `prediction` (None for an answer that fits no
        class) and `confidence` (None where there is no probability); and a list per row.
    """
    columns = ["id", "text", *(["text_pair"] if table.text_pairs else []), "label", "prediction", "confidence"]
    sure = confidences(table)
    lines: list[list[Cell]] = []
    for i in rows.tolist():
        pair = [table.text_pairs[i]] if table.text_pairs else []
        predicted = table.label_names[table.predictions[i]] if table.predictions[i] >= 0 else None
        confidence = None if np.isnan(sure[i]) else float(sure[i])
        lines.append([table.ids[i], table.texts[i], *pair, table.label_names[table.labels[i]], predicted, confidence])
    return columns, lines
