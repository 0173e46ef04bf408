"""The reliability diagram, with the confidence of right and wrong answers below it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textclf.evaluation.curves import calibration
from textclf.evaluation.figures.style import NEUTRAL, RIGHT, WRONG, drawing
from textclf.evaluation.prediction_table import PredictionTable


def draw_reliability(table: PredictionTable, path: str | Path, title: Sequence[str] = ()) -> None:
    """Draws accuracy against confidence, with 95 % intervals, and the numbers of right and wrong rows.

    Args:
        table: Predictions with probabilities.
        path: The file to write.
        title: Lines of the title.
    """
    found = calibration(table)
    filled = np.flatnonzero(found.rows)
    accuracy = np.array([found.accuracy[place] for place in filled]).reshape(-1, 3)
    right = np.zeros(len(found.rows))
    right[filled] = accuracy[:, 0] * found.rows[filled]
    label = f"{len(found.rows)} bins, 95 %; ECE {found.ece:.3f}" if len(filled) else "no valid answer"
    with drawing(path, 5.5, 6.0, title) as figure:
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=NEUTRAL, linestyle="--", linewidth=1, label="perfectly calibrated")
        upper.vlines(found.confidence[filled], accuracy[:, 1], accuracy[:, 2], color=RIGHT, linewidth=1.5)
        upper.plot(found.confidence[filled], accuracy[:, 0], color=RIGHT, marker="o", linewidth=1, label=label)
        upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="accuracy", aspect="auto")
        upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
        upper.grid(alpha=0.3)
        widths = np.diff(found.edges)
        lower.bar(found.edges[:-1], right, widths, align="edge", color=RIGHT, label="right", edgecolor="white")
        lower.bar(
            *(found.edges[:-1], found.rows - right, widths),
            bottom=right,
            align="edge",
            color=WRONG,
            label="wrong",
            edgecolor="white",
            hatch="//",
        )
        lower.set(xlabel="confidence: probability of the most probable class", ylabel="rows")
        lower.legend(loc="best", frameon=False, fontsize=9)
