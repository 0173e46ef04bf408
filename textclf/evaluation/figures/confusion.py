"""The confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes  # noqa: TID253 - imported late itself

from textclf.evaluation.figures.style import NARROWEST, drawing, name_width, shortened_name

MOST_WITH_SHARES = 12
"""With more classes, cells have no shares."""
MOST_NUMBERED_CLASSES = 25
"""With more classes, cells are small, and only those with rows have a number."""
MOST_NUMBERS = 2000
"""Numbers in small cells, at most, since drawing each takes milliseconds."""


def draw_confusion_matrix(
    matrix: np.ndarray, label_names: Sequence[str], path: str | Path, title: Sequence[str] = ()
) -> None:
    """Draws a confusion matrix as a PNG file: numbers are counts, colours are shares of the true class.

    Args:
        matrix: Counts, shape (num_classes, num_classes + 1): row = target, column = prediction, the last
            column being the invalid answers. That column is drawn only when there are any.
        label_names: The classes' names.
        path: The file to write.
        title: Lines of the title.
    """
    rows = [shortened_name(name) for name in label_names]
    columns = [*rows, "(invalid)"]
    if not matrix[:, -1].any():
        matrix = matrix[:, :-1]
        columns = rows
    numbered = len(rows) <= MOST_NUMBERED_CLASSES
    size = 10 if numbered else 7  # of a letter, in points
    cell = 0.17  # width of a cell, in inches
    if numbered:
        cell = 0.62 if len(rows) <= MOST_WITH_SHARES else 0.5
    name_length = name_width(columns, size)
    side = max(3.0, cell * len(rows))
    width = max(NARROWEST, side + name_length + 1.5)
    height = side + 0.7
    rotated = name_length > side / len(columns)
    if rotated:
        height += name_length
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with drawing(path, width, height, title) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        # parse_math=False: a dollar sign in a name is a dollar sign.
        axes.set_xticks(range(len(columns)), columns, rotation=90 if rotated else 0, fontsize=size, parse_math=False)
        axes.set_yticks(range(len(rows)), rows, fontsize=size, parse_math=False)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if not numbered:
            axes.tick_params(top=True, right=True, labeltop=True, labelright=True)
        _write_counts(axes, matrix, shares)
        bar = figure.colorbar(image, fraction=0.3 / side, pad=0.02, shrink=min(1.0, 5 / side))
        bar.set_label("share of the true class")


def _write_counts(axes: Axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    """Writes the count of each cell, and below it the share, as far as there is room."""
    with_shares = len(matrix) <= MOST_WITH_SHARES
    numbered = len(matrix) <= MOST_NUMBERED_CLASSES
    smallest = 0 if numbered else _smallest_numbered(matrix)
    if smallest > 1:
        axes.set_xlabel(f"predicted (numbers: counts from {smallest:,})")
    for (row, column), count in np.ndenumerate(matrix):
        if count < smallest:
            continue
        text = str(count)
        size = 8.0
        if with_shares and count:
            text += f"\n{100 * shares[row, column]:.0f} %"
        elif not numbered:
            size = min(5.0, 14 / len(text))  # a cell is 12 points wide
        colour = "white" if shares[row, column] > 0.6 else "black"
        number = axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
        number.set_in_layout(False)  # laying out thousands of texts takes seconds


def _smallest_numbered(matrix: np.ndarray) -> int:
    """The smallest count that has a number in a small cell: 1, unless that were more than `MOST_NUMBERS` numbers."""
    counts = np.sort(matrix, axis=None)
    return max(1, int(counts[-MOST_NUMBERS - 1]) + 1) if counts.size > MOST_NUMBERS else 1
