"""Precision-recall and ROC curves of each class against the rest."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes  # noqa: TID253 - imported late itself

from textclf.evaluation.curves import Ranking
from textclf.evaluation.figures.style import COLOURS, NEUTRAL, drawing, name_width, shortened_name, unparsed

LINE_STYLES = ("-", "--", "-.", ":")
MOST_COLOURED = 7
"""With more classes, only those with the smallest areas are coloured."""
MOST_POINTS = 2000
"""Points of a drawn curve, at most."""
NAME_SIZE = 9
LEFT_TO_RIGHT = "\u200e"
"""A mark that keeps the figures behind a name of a right-to-left script in their place."""


def draw_precision_recall(
    found: Sequence[Ranking], label_names: Sequence[str], path: str | Path, title: Sequence[str] = ()
) -> None:
    """Draws a precision-recall curve for each class.

    Args:
        found: What `textclf.evaluation.curves.rankings` gives, of one class at least.
        label_names: The names of all classes.
        path: The file to write.
        title: Lines of the title.
    """

    def draw(axes: Axes, ranking: Ranking, **style: Any) -> None:
        recall, precision = _thinned(ranking.recall, ranking.precision)
        axes.step(recall, precision, where="post", **style)  # recall descends
        axes.set(xlabel="recall", ylabel="precision")

    areas = {ranking.label: ranking.average_precision for ranking in found}
    _draw(found, areas, "AP", draw, label_names, path, title)


def draw_roc(found: Sequence[Ranking], label_names: Sequence[str], path: str | Path, title: Sequence[str] = ()) -> None:
    """Draws a ROC curve for each class.

    Args:
        found: What `textclf.evaluation.curves.rankings` gives, of one class at least.
        label_names: The names of all classes.
        path: The file to write.
        title: Lines of the title.
    """

    def draw(axes: Axes, ranking: Ranking, **style: Any) -> None:
        false, true = _thinned(ranking.false_positive_rate, ranking.true_positive_rate)
        axes.plot(false, true, **style)
        axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")

    areas = {ranking.label: ranking.auroc for ranking in found}
    _draw(found, areas, "AUROC", draw, label_names, path, title, chance=True)


def _draw(
    found: Sequence[Ranking],
    areas: dict[int, float],
    area: str,
    draw: Callable[..., None],
    label_names: Sequence[str],
    path: str | Path,
    title: Sequence[str],
    chance: bool = False,
) -> None:
    """Draws the classes with the smallest areas in colours, and the others in grey."""
    ordered = sorted(found, key=lambda ranking: areas[ranking.label])
    coloured = found if len(found) <= MOST_COLOURED else ordered[:MOST_COLOURED]
    names = {}
    for ranking in coloured:
        name = shortened_name(label_names[ranking.label])
        names[ranking.label] = f"{LEFT_TO_RIGHT}{name} ({ranking.rows:,} rows): {areas[ranking.label]:.3f}"
    others = [ranking for ranking in found if ranking.label not in names]
    mean = f"mean {area} {np.mean(list(areas.values())):.3f}"
    with drawing(path, 5.2 + name_width(list(names.values()), NAME_SIZE), 4.4, title) as figure:
        axes = figure.add_subplot()
        for place, ranking in enumerate(others):
            label = f"{len(others):,} other classes" if not place else None
            draw(axes, ranking, color=NEUTRAL, alpha=0.4, linewidth=0.7, label=label)
        for place, ranking in enumerate(coloured):
            style = {"color": COLOURS[place % len(COLOURS)], "linestyle": LINE_STYLES[place % len(LINE_STYLES)]}
            draw(axes, ranking, linewidth=1.5, label=names[ranking.label], **style)
        if chance:
            axes.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="chance")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.grid(alpha=0.3)
        heading = f"{area} of each class against the rest" if not others else f"smallest {area} first"
        options: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02), "frameon": False}
        options |= {"fontsize": NAME_SIZE, "title_fontsize": NAME_SIZE, "alignment": "left"}
        legend = axes.legend(title=f"{heading}\n{mean}", **options)
        unparsed(legend.get_texts())


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST_POINTS` points of a curve, the first and the last among them."""
    if len(x) <= MOST_POINTS:
        return x, y
    kept = np.linspace(0, len(x) - 1, MOST_POINTS).astype(int)
    return x[kept], y[kept]
