"""The page of an exploration: what there is in a data set, what is noticed in it, and the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from textclf.evaluation.pages.charts import Chart, Marks
from textclf.evaluation.pages.page import percent, write_page
from textclf.findings.finding import Exploration, Finding, Lengths

TITLES = {
    "empty": "Empty texts",
    "repeat": "Repeated rows",
    "near_repeat": "Nearly repeated rows",
    "conflict": "Equal texts with different labels",
    "overlap": "Texts in two splits",
    "near_overlap": "Nearly equal texts in two splits",
    "leak": "Something gives the label away",
    "pair_leak": "One of the two texts gives the label away",
    "label_error": "Suspected label errors",
    "class_overlap": "Classes that are confused",
    "odd_characters": "Odd characters",
    "markup": "Markup in texts",
    "imbalance": "Imbalanced classes",
    "few_rows": "Classes with few rows",
    "class_shift": "Classes differ between splits",
    "length_shift": "Lengths differ between splits",
    "cut": "Texts that are cut",
    "unknown_tokens": "Unknown tokens",
    "language": "Scripts and languages",
    "split_shift": "Splits can be told apart",
}
"""The kinds of findings in words."""
Cell = dict[str, Any]


def write_exploration_page(path: str | Path, exploration: Exploration) -> None:
    """Writes an exploration as one HTML file.

    Args:
        path: The file to write.
        exploration: What was found.

    Raises:
        UserError: No space is left.
    """
    write_page(
        path,
        "exploration.html",
        {"examples": [_examples(finding) for finding in exploration.findings], "name": exploration.name},
        scripts=["exploration.js"],
        title=f"Exploration of {exploration.name}",
        exploration=exploration,
        findings=[_shown(finding, exploration.recipe) for finding in exploration.findings],
        classes=_class_table(exploration),
        lengths=[_length_part(exploration.lengths, unit) for unit in _units(exploration.lengths)],
    )


def _examples(finding: Finding) -> dict[str, Any]:
    groups = [[asdict(row) for row in group] for group in finding.examples]
    return {"groups": groups, "rows": list(finding.rows), "kind": finding.kind}


def _shown(finding: Finding, recipe: Sequence[str]) -> dict[str, Any]:
    return {
        "title": TITLES[finding.kind],
        "kind": finding.kind,
        "split": finding.split,
        "count": finding.count,
        "detail": finding.detail,
        "remedy": finding.remedy,
        "mended": finding.mended,
        "in_recipe": finding.remedy in recipe,
        "examples": len(finding.examples),
        "ids": len(finding.rows),
    }


def _class_table(exploration: Exploration) -> dict[str, Any]:
    """Rows and shares of each class in each split."""
    columns: list[Cell] = [{"title": "class", "numeric": False}]
    for split in exploration.splits:
        columns.append({"title": split, "numeric": True})
        columns.append({"title": f"share of {split}", "numeric": True})
    rows = []
    for label in exploration.label_names:
        cells: list[Cell] = [{"text": label, "value": label}]
        for counts in exploration.splits.values():
            count = counts.get(label, 0)
            share = count / (sum(counts.values()) or 1)
            cells.append({"text": f"{count:,}", "value": count})
            cells.append({"text": percent(share), "value": share})
        rows.append(cells)
    return {"columns": columns, "rows": rows}


def _units(lengths: Iterable[Lengths]) -> list[str]:
    return list(dict.fromkeys(each.unit for each in lengths))


def _length_part(lengths: Sequence[Lengths], unit: str) -> dict[str, Any]:
    """The chart and the table of one unit."""
    of_unit = [each for each in lengths if each.unit == unit]
    longest = max((each.quantiles[5] for each in of_unit), default=1.0)
    return {"unit": unit, "charts": _length_charts(of_unit, unit), "rows": of_unit, "longest": longest or 1.0}


def _length_charts(lengths: Sequence[Lengths], unit: str) -> list[Chart]:
    """One chart of the splits, and one of the classes of the first split, where a chart can hold them."""
    charts = []
    whole = [each for each in lengths if each.label is None]
    if whole:
        charts.append(_length_chart(f"Lengths in {unit} by split", {each.split: each for each in whole}, unit))
        first = whole[0].split
        by_class = {each.label: each for each in lengths if each.label is not None and each.split == first}
        if 1 < len(by_class) <= 7:
            charts.append(_length_chart(f"Lengths in {unit} by class, {first}", by_class, unit))
    return charts


def _length_chart(title: str, lengths: Mapping[str, Lengths], unit: str) -> Chart:
    marks = []
    most = 0.0
    for place, (name, each) in enumerate(lengths.items()):
        shares = [count / (each.rows or 1) for count in each.histogram]
        most = max([most, *shares])
        edges = _finite_edges(each.edges)
        middles = [(start + end) / 2 for start, end in pairwise(edges)]
        marks.append(Marks(f"{name} ({each.rows:,} texts)", middles, shares, "line", colour=place % 7))
    edges = _finite_edges(next(iter(lengths.values())).edges)
    return Chart(
        title,
        unit,
        "share of the texts",
        marks,
        x_range=(edges[0], edges[-1]),
        y_range=(0.0, most * 1.05 or 1.0),
        x_percent=False,
        note="The last point has all longer texts.",
    )


def _finite_edges(edges: Sequence[float]) -> list[float]:
    """The edges of bins; an infinite last one is as far as the bin before is wide."""
    found = [float(edge) for edge in edges]
    if len(found) > 2 and found[-1] == float("inf"):
        found[-1] = 2 * found[-2] - found[-3]
    return found
