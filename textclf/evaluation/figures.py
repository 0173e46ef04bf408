"""Figures in one style, drawn without pyplot: no backend is chosen, and no global setting stays changed."""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style  # noqa: TID253 - imported late itself
from matplotlib.axes import Axes  # noqa: TID253 - imported late itself
from matplotlib.figure import Figure  # noqa: TID253 - imported late itself
from matplotlib.font_manager import FontProperties, fontManager  # noqa: TID253 - imported late itself
from matplotlib.rcsetup import cycler  # noqa: TID253 - imported late itself

from textclf.console import display_width
from textclf.files import atomic_path

MOST_NUMBERED_CLASSES = 25
LONGEST_NAME = 40
NARROWEST = 5.0
"""Minimum width of a figure in inches, so that its title fits."""
TITLE_SIZE = 10
"""Font size of titles, in points."""
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito, safe for all kinds of colour vision: https://jfly.uni-koeln.de/color/."""


@contextmanager
def drawing(path: str | Path, width: float, height: float, title: Sequence[str]) -> Iterator[Figure]:
    """Context manager that yields a new figure and saves it as a PNG file at the end.

    All text is in one font that has Hangul, on a white background; the user's own settings are ignored.

    Args:
        path: The file to write.
        width: Width of the figure, in inches.
        height: Height of the figure below its title, in inches.
        title: Lines of the title; long ones are wrapped.
    """
    lines = [part for line in title for part in _wrapped(line, width)]
    # A character that no installed font has is drawn as a box; a warning for each would not help.
    with warnings.catch_warnings(), style.context(["default", _own_style()]), atomic_path(path) as temporary:
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height + TITLE_SIZE / 72 * 1.4 * len(lines)), layout="constrained")
        figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE, parse_math=False)
        yield figure
        figure.savefig(temporary, dpi=150, format="png")


def plot_confusion_matrix(
    matrix: np.ndarray, label_names: Sequence[str], path: str | Path, title: Sequence[str] = ()
) -> None:
    """Plots a confusion matrix as a PNG file: numbers are counts, colours are shares of the true class.

    Args:
        matrix: Counts, shape (num_classes, num_classes + 1): row = target, column = prediction, the last
            column being the invalid answers. That column is drawn only when there are any.
        label_names: The classes' names.
        path: The file to write.
        title: Lines of the title.
    """
    rows = [_shorten(name) for name in label_names]
    columns = [*rows, "(invalid)"]
    if not matrix[:, -1].any():
        matrix = matrix[:, :-1]
        columns = rows
    numbered = len(rows) <= MOST_NUMBERED_CLASSES
    size = 10 if numbered else 7  # of a letter, in points
    cell = 0.5 if numbered else 0.17  # width of a cell, in inches
    name_length = max(map(display_width, columns)) * size * 0.6 / 72  # inches, roughly
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
        if numbered:
            _write_counts(axes, matrix, shares)
        bar = figure.colorbar(image, fraction=0.3 / side, pad=0.02, shrink=min(1.0, 5 / side))
        bar.set_label("share of the true class")


def _write_counts(axes: Axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)


def _shorten(name: str) -> str:
    name = " ".join(name.split())
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 1] + "…"
    return name


def _wrapped(text: str, width: float) -> list[str]:
    """Wraps a line of the title to `width` inches; wide characters such as Hangul count twice."""
    columns = width * 72 / (TITLE_SIZE * 0.6)
    characters = int(columns * len(text) / max(1, display_width(text)))
    return textwrap.wrap(text, max(10, characters), break_on_hyphens=False)


@cache
def _own_style() -> dict[str, Any]:
    """The settings in which figures differ from matplotlib's defaults."""
    return {"font.family": _font_families(), "axes.prop_cycle": cycler(color=COLOURS)}


def _font_families() -> list[str]:
    """Font families that together cover Hangul and Latin.

    The package with the Hangul font is only located: importing it would change matplotlib's settings.
    """
    families = ["DejaVu Sans"]
    package = find_spec("koreanize_matplotlib")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "fonts" / "NanumGothic.ttf"
        fontManager.addfont(path)
        families.insert(0, FontProperties(fname=path).get_name())
    return families
