"""All figures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textclf.evaluation.curves import confusion_counts, rankings
from textclf.evaluation.figures.confusion import draw_confusion_matrix
from textclf.evaluation.figures.lengths import draw_lengths
from textclf.evaluation.figures.one_against_rest import draw_precision_recall, draw_roc
from textclf.evaluation.figures.reliability import draw_reliability
from textclf.evaluation.figures.risk_coverage import draw_risk_coverage
from textclf.evaluation.prediction_table import PredictionTable


def draw_report(table: PredictionTable, folder: str | Path, title: Sequence[str] = ()) -> list[Path]:
    """Draws the figures of a prediction table as PNG files.

    They are `confusion_matrix.png` and `lengths.png`, and for a method with probabilities `reliability.png`,
    `risk_coverage.png`, `precision_recall.png` and `roc.png`, the last two if the rows have two classes at least.

    Args:
        table: Predictions, read with their texts, of one row at least.
        folder: Where to write; created if it does not exist.
        title: Lines of the title.

    Returns:
        The files.
    """
    written: list[Path] = []

    def place(name: str) -> Path:
        written.append(Path(folder, f"{name}.png"))
        return written[-1]

    draw_confusion_matrix(confusion_counts(table), table.label_names, place("confusion_matrix"), title)
    draw_lengths(table, place("lengths"), title)
    if table.has_probabilities:
        draw_reliability(table, place("reliability"), title)
        draw_risk_coverage(table, place("risk_coverage"), title)
        if curves := rankings(table):
            draw_precision_recall(curves, table.label_names, place("precision_recall"), title)
            draw_roc(curves, table.label_names, place("roc"), title)
    return written
