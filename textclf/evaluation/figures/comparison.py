"""Figures of a comparison: intervals as a forest plot, and quality against speed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes  # noqa: TID253 - imported late itself
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: TID253 - imported late itself
from matplotlib.transforms import Bbox  # noqa: TID253 - imported late itself

from textclf.console import display_width
from textclf.evaluation.answers import LOWER_IS_BETTER
from textclf.evaluation.figures.style import COLOURS, drawing, unparsed
from textclf.evaluation.leaderboard import shortened
from textclf.evaluation.leaderboard_tables import SHARES, TITLES, rate

Values = Mapping[str, Any]
LONGEST_NAME = 60
"""Columns of a method's name, two for each wide character."""
LONGEST_STEM = 60
"""Characters of a data set's name in a file name, which may have 255 bytes."""
NAME_SIZE = 9
"""Font size of names, in points."""
LABEL_SPOTS = [(side, up) for up in sorted(range(-96, 101, 10), key=abs) for side in (1, -1)]
"""Where the number of a point may be, in the order of preference: to its right or left, and points above it."""


def draw_comparison(values: Values, folder: str | Path) -> list[Path]:
    """Draws two figures for each data set, `<data set>-intervals.png` and `<data set>-speed.png`.

    Args:
        values: What `textclf.evaluation.comparison.compare` gives.
        folder: Where to write; created if it does not exist.

    Returns:
        The files. There is none of speed where no method has one that can be compared.
    """
    written = []
    stems = file_stems(list(values["data_sets"]))
    for (name, result), stem in zip(values["data_sets"].items(), stems, strict=True):
        for kind, draw in (("intervals", draw_intervals), ("speed", draw_speed)):
            path = Path(folder) / f"{stem}-{kind}.png"
            if draw(name, result, values["metric"], path):
                written.append(path)
    return written


def file_stems(names: Sequence[str]) -> list[str]:
    """Beginnings of file names for data sets, each another one.

    Args:
        names: The data sets.
    """
    stems: list[str] = []
    for name in names:
        stem = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:LONGEST_STEM].strip("-.") or "data"
        number = 1
        numbered = stem
        while numbered.lower() in map(str.lower, stems):  # some file systems do not tell A from a
            number += 1
            numbered = f"{stem}-{number}"
        stems.append(numbered)
    return stems


def draw_intervals(name: str, result: Values, metric: str, path: str | Path) -> bool:
    """Draws the metric of each method and its interval, and its difference to the baseline.

    Args:
        name: The data set.
        result: The comparison on it.
        metric: The metric.
        path: A PNG file.

    Returns:
        Whether there was anything to draw.
    """
    runs = [run for run in result["runs"] if run["metrics"][metric]["value"] is not None]
    if not runs:
        return False
    names = [_name_of(place, run) for place, run in enumerate(runs, 1)]
    height = 1.0 + 0.32 * len(runs)
    panels = 2 if len(runs) > 1 else 1
    with drawing(path, 1 + _width_of(names) + 3.3 * panels, height, _title(name, result)) as figure:
        axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        _forest(axes[0], [run["metrics"][metric] for run in runs], runs, metric)
        axes[0].set_xlabel(f"{_axis_title(metric)}, 95 % interval")
        axes[0].set_yticks(range(len(runs)), names, fontsize=NAME_SIZE, parse_math=False)
        axes[0].set_ylim(len(runs) - 0.5, -0.5)
        if panels == 2:
            differences = [(run["difference"] or {}).get(metric) for run in runs]
            _forest(axes[1], differences, runs, metric)
            axes[1].axvline(0, color="grey", linewidth=1, linestyle="--")
            unit = "points" if metric in SHARES else TITLES[metric]
            axes[1].set_xlabel(f"difference to the baseline, {unit}")
            _mark_baseline(axes[1], runs, result["baseline"])
    return True


def _mark_baseline(axes: Axes, runs: Sequence[Values], baseline: str) -> None:
    """Writes `baseline` beside the zero of its row, on the side with more room."""
    left, right = axes.get_xlim()
    side = "left" if right > -left else "right"
    for place, run in enumerate(runs):
        if run["name"] == baseline:
            axes.text(0, place, " baseline ", va="center", ha=side, fontsize=8, color="grey")
            axes.plot([0], [place], marker="|", color="grey")


def _forest(axes: Axes, entries: Sequence[Values | None], runs: Sequence[Values], metric: str) -> None:
    """Points with their intervals, one below the other; the colour is that of the group."""
    scale = 100 if metric in SHARES else 1
    for place, (entry, run) in enumerate(zip(entries, runs, strict=True)):
        if entry is None or entry["value"] is None:
            continue
        colour = COLOURS[(run["group"] - 1) % len(COLOURS)]
        if entry["low"] is not None:
            axes.plot([scale * entry["low"], scale * entry["high"]], [place, place], color=colour, linewidth=2)
        axes.plot([scale * entry["value"]], [place], marker="o", color=colour)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="y", length=0)


def draw_speed(name: str, result: Values, metric: str, path: str | Path) -> bool:
    """Draws the metric against texts per second, with the line of the methods that no other one beats in both.

    Args:
        name: The data set.
        result: The comparison on it.
        metric: The metric.
        path: A PNG file.

    Returns:
        Whether there was anything to draw: methods whose speeds can be compared.
    """
    runs = []
    for place, run in enumerate(result["runs"], 1):
        comparable = run["speed_note"] is None and run["examples_per_second"]
        if comparable and run["metrics"][metric]["value"] is not None:
            runs.append((place, run))
    if not runs:
        return False
    names = [_name_of(place, run) for place, run in runs]
    left_out = len(result["runs"]) - len(runs)
    title = _title(name, result)
    if left_out:
        title.append(f"{left_out} left out: speed unknown, or not comparable")
    height = max(3.6, 0.8 + 0.24 * len(runs))
    with drawing(path, 5 + _width_of(names), height, title) as figure:
        axes = figure.add_subplot()
        _speed_points(axes, runs, names, metric)
        _front(axes, [run for _, run in runs], metric)
        _speed_axis(axes, [run["examples_per_second"] for _, run in runs])
        axes.set_ylabel(f"{_axis_title(metric)}, 95 % interval")
        if metric in LOWER_IS_BETTER:
            axes.invert_yaxis()  # better is higher up
        axes.grid(alpha=0.3)
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), fontsize=NAME_SIZE, frameon=False)
        unparsed(legend.get_texts())
        figure.draw_without_rendering()  # for the places of the points
        _number_points(axes, runs, metric)
    return True


def _speed_points(axes: Axes, runs: Sequence[tuple[int, Values]], names: Sequence[str], metric: str) -> None:
    scale = 100 if metric in SHARES else 1
    for (_, run), label in zip(runs, names, strict=True):
        entry = run["metrics"][metric]
        colour = COLOURS[(run["group"] - 1) % len(COLOURS)]
        spot = run["examples_per_second"], scale * entry["value"]
        if entry["low"] is not None:
            axes.plot([spot[0], spot[0]], [scale * entry["low"], scale * entry["high"]], color=colour, alpha=0.6)
        axes.plot(*spot, marker="o" if run["pareto"] else "s", color=colour, linestyle="none", label=label)


def _number_points(axes: Axes, runs: Sequence[tuple[int, Values]], metric: str) -> None:
    """Writes the number of each method beside its point, where it covers no other number and no point."""
    scale = 100 if metric in SHARES else 1
    spots = [(run["examples_per_second"], scale * run["metrics"][metric]["value"]) for _, run in runs]
    pixels = axes.transData.transform(spots)
    size = NAME_SIZE / 72 * axes.figure.dpi
    taken = [Bbox.from_bounds(x - size / 3, y - size / 3, size / 1.5, size / 1.5) for x, y in pixels]
    for (place, _), spot in zip(runs, spots, strict=True):
        number = axes.annotate(str(place), spot, (0, 0), textcoords="offset points", fontsize=NAME_SIZE)
        number.set_in_layout(False)
        for side, up in LABEL_SPOTS:
            number.set_position((6 * side, up))
            number.set_horizontalalignment("left" if side > 0 else "right")
            box = number.get_window_extent()
            is_inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if is_inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box.padded(3))  # saving lays the axes out again, a little differently


def _front(axes: Axes, runs: Sequence[Values], metric: str) -> None:
    """The Pareto front as steps: at each speed, the best metric of the methods that are as fast."""
    front = sorted((run["examples_per_second"], run["metrics"][metric]["value"]) for run in runs if run["pareto"])
    if len(front) > 1:
        scale = 100 if metric in SHARES else 1
        speeds, values = zip(*front, strict=True)
        label = "Pareto front (round marks)"
        axes.step(speeds, scale * np.array(values), where="pre", color="grey", linestyle="--", zorder=0, label=label)


def _speed_axis(axes: Axes, speeds: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(speeds) / 1.6, max(speeds) * 1.6)
    few_decades = max(speeds) / min(speeds) < 30
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda speed, _: rate(speed)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("texts per second")


def _name_of(place: int, run: Values) -> str:
    return f"{place} {shortened(' '.join(run['name'].split()), LONGEST_NAME)}"


def _width_of(names: Sequence[str]) -> float:
    """The width of the longest name in inches, roughly."""
    return max(map(display_width, names)) * NAME_SIZE * 0.56 / 72


def _axis_title(metric: str) -> str:
    unit = " %" if metric in SHARES else ""
    direction = " (lower is better)" if metric in LOWER_IS_BETTER else ""
    return f"{TITLES[metric]}{unit}{direction}"


def _title(name: str, result: Values) -> list[str]:
    colours = "one colour for each group of ties"
    if max(run["group"] for run in result["runs"]) > len(COLOURS):
        colours += f", repeated after {len(COLOURS)}"
    return [name, f"{result['rows']:,} rows, {len(result['runs'])} methods; {colours}"]
