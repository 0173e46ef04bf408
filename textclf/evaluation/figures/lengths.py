"""Accuracy by the length of the text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes  # noqa: TID253 - imported late itself
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter  # noqa: TID253 - imported late itself

from textclf.evaluation.curves import accuracy_by_length, text_lengths
from textclf.evaluation.figures.style import NEUTRAL, RIGHT, WRONG, drawing
from textclf.evaluation.prediction_table import PredictionTable

BINS = 30
"""Bins of the histogram, at most."""
NARROW = 5
"""The axis is logarithmic where the longest text has at least so many times the length of the shortest."""


def draw_lengths(table: PredictionTable, path: str | Path, title: Sequence[str] = ()) -> None:
    """Draws the accuracy of groups of rows of similar length, and the numbers of right and wrong rows by length.

    Args:
        table: Predictions, read with their texts, of one row at least.
        path: The file to write.
        title: Lines of the title.
    """
    lengths = np.maximum(text_lengths(table), 1)  # the axis may be logarithmic
    right = table.predictions == table.labels
    with drawing(path, 5.5, 5.0, title) as figure:
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(2, 1))
        _draw_groups(upper, table)
        share = float(right.mean())
        upper.axhline(share, color=NEUTRAL, linestyle="--", linewidth=1, label=f"all rows, {share:.3f}")
        upper.set_ylabel("accuracy")
        upper.grid(alpha=0.3)
        upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
        edges = _edges(lengths)
        parts, colours = [lengths[right], lengths[~right]], [RIGHT, WRONG]
        _, _, bars = lower.hist(parts, edges, stacked=True, color=colours, label=["right", "wrong"], edgecolor="white")
        for bar in bars[1]:
            bar.set_hatch("//")
        lower.set(xlabel="characters" if table.text_pairs is None else "characters of both texts", ylabel="rows")
        lower.legend(loc="best", frameon=False, fontsize=9)
        _set_scale(lower, edges)


def _draw_groups(axes: Axes, table: PredictionTable) -> None:
    """A cross for each group: from its shortest to its longest text, and the 95 % interval of its accuracy."""
    for place, group in enumerate(accuracy_by_length(table)):
        shortest, longest = max(group.shortest, 1), max(group.longest, 1)
        middle = float(np.sqrt(shortest * longest))
        low, high = group.accuracy.low, group.accuracy.high
        axes.hlines(group.accuracy.value, shortest, longest, color=RIGHT, linewidth=1.5)
        axes.vlines(middle, low, high, color=RIGHT, linewidth=1.5, alpha=0.6)
        label = "rows of similar length, 95 %" if not place else None
        axes.plot([middle], [group.accuracy.value], color=RIGHT, marker="o", linestyle="none", label=label)


def _edges(lengths: np.ndarray) -> np.ndarray:
    """Edges of bins that are equally wide on a logarithmic axis; short texts have a bin for each length."""
    low, high = int(lengths.min()), int(lengths.max())
    edges = np.geomspace(low, high + 1, BINS + 1)
    return np.unique(np.ceil(edges - 1e-9)) - 0.5


def _set_scale(axes: Axes, edges: np.ndarray) -> None:
    axes.set_xlim(edges[0], edges[-1])
    if edges[-1] / edges[0] < NARROW:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        return
    axes.set_xscale("log")
    few_decades = edges[-1] / edges[0] < 100
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
