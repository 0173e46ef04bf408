"""The risk-coverage curve."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textclf.evaluation.curves import risk_coverage
from textclf.evaluation.figures.style import NEUTRAL, RIGHT, drawing
from textclf.evaluation.intervals import accuracy_interval
from textclf.evaluation.prediction_table import PredictionTable

FEWEST_SHOWN = 20
"""The curve may leave the figure where it is of fewer rows."""
INTERVALS = 100
"""Points of the curve that have an interval, at most."""


def draw_risk_coverage(table: PredictionTable, path: str | Path, title: Sequence[str] = ()) -> None:
    """Draws the share of mistakes among the rows with the highest confidence, with pointwise 95 % intervals.

    Args:
        table: Predictions with probabilities, of one row at least.
        path: The file to write.
        title: Lines of the title.
    """
    found = risk_coverage(table)
    places = np.unique(np.linspace(0, len(found.rows) - 1, INTERVALS).astype(int))
    mistakes = np.rint(found.risk * found.rows).astype(int)
    bounds = [accuracy_interval(int(mistakes[place]), int(found.rows[place])) for place in places]
    with drawing(path, 5.5, 4.0, title) as figure:
        axes = figure.add_subplot()
        low, high = [each.low for each in bounds], [each.high for each in bounds]
        axes.fill_between(found.coverage[places], low, high, color=RIGHT, alpha=0.2, linewidth=0, label="95 % interval")
        label = f"by confidence, area {found.area:.3f}"
        marker = "o" if len(found.rows) < 10 else None  # one point alone would be no line
        axes.plot(
            found.coverage, found.risk, color=RIGHT, label=label, marker=marker, markersize=4, clip_on=marker is None
        )
        label = f"best possible order, area {found.best_area:.3f}"
        axes.plot(found.coverage, found.best, color=NEUTRAL, linestyle="--", linewidth=1, label=label)
        axes.axhline(
            float(found.risk[-1]), color=NEUTRAL, linestyle=":", linewidth=1, label=f"all rows, {found.risk[-1]:.3f}"
        )
        axes.set(
            xlim=(0, 1), xlabel="coverage: share of the rows, highest confidence first", ylabel="share of mistakes"
        )
        reliable = found.risk[found.rows >= min(FEWEST_SHOWN, found.rows[-1])]
        axes.set_ylim(0, min(1.0, max(0.02, 1.6 * float(reliable.max()))))
        axes.grid(alpha=0.3)
        axes.legend(loc="best", frameon=False, fontsize=9)
