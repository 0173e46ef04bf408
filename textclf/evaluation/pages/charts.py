"""Charts of the pages: plain SVG, drawn by the template `charts.html` in the colours of the page's theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

WIDTH, HEIGHT = 400, 264
LEFT, RIGHT, TOP, BOTTOM = 50, 22, 26, 42
"""Margins around the area of the chart."""
TICKS = 5
"""Intervals between ticks, about."""
LETTER = 7
"""Width of a letter of a label."""
LABEL_SHIFTS = (0, -11, 11, -22, 22, -33, 33, -44, 44)
"""How far below its point a label may be."""
Box = tuple[float, float, float, float]
MOST_POINTS = 300
"""Points of a line, at most; a browser shows no more."""


@dataclass(frozen=True)
class Marks:
    """Points, a line, or bars of one kind.

    Attributes:
        name: What they show, for the legend.
        x: Places on the horizontal axis; of bars, the edges, one more than bars.
        y: Values.
        kind: How they are drawn.
        low: Lower bounds of the values; empty without intervals.
        high: Upper bounds.
        colour: Number of the colour, 0 to 6.
        labels: A short text beside each point.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: Literal["line", "dots", "bars"] = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int = 0
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Chart:
    """A chart with two axes.

    Attributes:
        title: What it shows.
        x_title: Title of the horizontal axis.
        y_title: Title of the vertical axis.
        marks: What is drawn, in this order.
        x_range: Least and greatest place on the horizontal axis.
        y_range: Least and greatest value.
        x_percent: Whether places are shares, which are written in per cent.
        y_percent: Whether values are shares.
        x_log: Whether the horizontal axis is logarithmic; its places are then positive.
        diagonal: Whether a dashed line marks equal x and y.
        note: A sentence below the chart.
    """

    title: str
    x_title: str
    y_title: str
    marks: Sequence[Marks]
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 1.0)
    x_percent: bool = True
    y_percent: bool = True
    x_log: bool = False
    diagonal: bool = False
    note: str = ""
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=LEFT, init=False)
    right: int = field(default=WIDTH - RIGHT, init=False)
    top: int = field(default=TOP, init=False)
    bottom: int = field(default=HEIGHT - BOTTOM, init=False)

    def x(self, value: float) -> float:
        """The place of a value on the horizontal axis, in units of the drawing."""
        if self.x_log:
            least, most = self.x_range
            return _placed(math.log(value), (math.log(least), math.log(most)), self.left, self.right)
        return _placed(value, self.x_range, self.left, self.right)

    def y(self, value: float) -> float:
        """The place of a value on the vertical axis, in units of the drawing."""
        return _placed(value, self.y_range, self.bottom, self.top)

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Ticks of the horizontal axis with their labels."""
        return _ticks(self.x_range, self.x_percent, self.x_log)

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Ticks of the vertical axis with their labels."""
        return _ticks(self.y_range, self.y_percent)

    def points(self, marks: Marks) -> str:
        """The points of a line, as SVG has them."""
        step = max(1, math.ceil(len(marks.x) / MOST_POINTS))
        places = [*range(0, len(marks.x), step)]
        if places and places[-1] != len(marks.x) - 1:
            places.append(len(marks.x) - 1)
        return " ".join(f"{self.x(marks.x[place])},{self.y(marks.y[place])}" for place in places)

    def labels(self) -> list[tuple[float, float, str]]:
        """Places of the labels of points: to the right of them or, where that covers another, on another side."""
        texts = [(self.x(x), self.y(y), text) for each in self.marks for x, y, text in _labelled(each)]
        taken = [(x - 4, y - 4, x + 4, y + 4) for x, y, _ in texts]
        placed = []
        for x, y, text in texts:
            width = LETTER * len(text)
            spots = [(x + 7, y + 4 + up) for up in LABEL_SHIFTS] + [(x - 7 - width, y + 4 + up) for up in LABEL_SHIFTS]
            boxes = [(left, base - 9, left + width, base) for left, base in spots]
            free = [box for box in boxes if not any(_overlap(box, other) for other in taken)]
            box = min(free, key=lambda each: abs(each[3] - y - 4), default=boxes[0])
            taken.append(box)
            placed.append((round(box[0], 1), round(box[3], 1), text))
        return placed

    def bars(self, marks: Marks) -> list[tuple[float, float, float, float]]:
        """Left edge, top, width and height of each bar; bars of several kinds stand side by side."""
        kinds = [each for each in self.marks if each.kind == "bars"]
        share = 1 / len(kinds)
        place = next(index for index, each in enumerate(kinds) if each is marks)
        found = []
        for start, end, value in zip(marks.x[:-1], marks.x[1:], marks.y, strict=True):
            width = (self.x(end) - self.x(start)) * 0.9 * share
            top = self.y(value)
            found.append((round(self.x(start) + place * width, 1), top, round(width, 1), round(self.bottom - top, 1)))
        return found

    def number(self, value: float, percent: bool) -> str:
        """A number of the chart as text."""
        return f"{100 * value:.1f} %" if percent else f"{value:,.4g}"


def _placed(value: float, span: tuple[float, float], start: float, end: float) -> float:
    least, most = span
    share = (min(max(value, least), most) - least) / ((most - least) or 1.0)
    return round(start + share * (end - start), 1)


def _labelled(marks: Marks) -> list[tuple[float, float, str]]:
    return list(zip(marks.x, marks.y, marks.labels, strict=True)) if marks.labels else []


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _ticks(span: tuple[float, float], percent: bool, log: bool = False) -> list[tuple[float, str]]:
    from matplotlib.ticker import LogLocator, MaxNLocator

    least, most = span
    few_decades = log and most / least < 100
    locator = LogLocator(subs=(1, 2, 5) if few_decades else (1,)) if log else MaxNLocator(nbins=TICKS)
    values = [float(value) for value in locator.tick_values(least, most)]
    slack = 1e-9 * (most - least)
    kept = [value for value in values if least - slack <= value <= most + slack]
    label: Callable[[float], str] = (lambda value: f"{100 * value:g} %") if percent else (lambda value: f"{value:,g}")
    return [(value, label(value)) for value in kept]
