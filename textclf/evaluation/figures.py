"""Pictures of a report, drawn with matplotlib's objects alone: no backend and no setting is changed."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager

from textclf.atomic import atomic_path
from textclf.evaluation.display import display_width

MOST_NUMBERED_CLASSES = 25
LONGEST_NAME = 40


def plot_confusion_matrix(matrix: np.ndarray, label_names: Sequence[str], path: str | Path) -> None:
    """Draws a confusion matrix as a PNG file: numbers are counts, colours are shares of the true class.

    Args:
        matrix: Counts, shape (num_classes, num_classes + 1): row = target, column = prediction, the last
            column being the invalid answers. That column is drawn only when there are any.
        label_names: The classes' names.
        path: The file to write.
    """
    rows = [_shorten(name) for name in label_names]
    columns = [*rows, "(invalid)"]
    if not matrix[:, -1].any():
        matrix, columns = matrix[:, :-1], rows
    numbered = len(rows) <= MOST_NUMBERED_CLASSES
    longest = max(map(display_width, columns))
    font = FontProperties(family=_font_families(), size=10 if numbered else 7)
    name_length = longest * font.get_size_in_points() * 0.6 / 72  # inches, roughly
    side = max(3.0, (0.5 if numbered else 0.17) * len(rows))
    rotated = name_length > side / len(columns)
    height = side + 0.7 + (name_length if rotated else 0)
    figure = Figure(figsize=(side + name_length + 1.5, height), layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    # parse_math=False: a dollar sign in a name is a dollar sign.
    axes.set_xticks(range(len(columns)), columns, rotation=90 if rotated else 0, fontproperties=font, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, fontproperties=font, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if numbered:
        _write_counts(axes, matrix, shares)
    figure.colorbar(image, fraction=0.3 / side, pad=0.02, shrink=min(1.0, 5 / side), label="share of the true class")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _write_counts(axes: Axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)


def _shorten(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


@cache
def _font_families() -> list[str]:
    """Gives font families that together have Hangul and Latin.

    The package with the Hangul font is only located: importing it would change matplotlib's settings.
    """
    families = ["DejaVu Sans"]
    package = find_spec("koreanize_matplotlib")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "fonts" / "NanumGothic.ttf"
        fontManager.addfont(path)
        families.insert(0, FontProperties(fname=path).get_name())
    return families
