"""What the page of a comparison shows beside its rows: tables of cells with values to sort by, and a chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from textclf.evaluation.compared_methods import Method
from textclf.evaluation.curves import accuracy_by_length
from textclf.evaluation.leaderboard_tables import (
    SHARES,
    TITLES,
    UNKNOWN,
    Table,
    Values,
    count,
    memory,
    number,
    p_cell,
    quantity,
    rate,
    seeds_cell,
    signed_interval,
    with_interval,
)
from textclf.evaluation.pages.charts import Chart, Marks

Cell = dict[str, Any]
Cells = dict[str, Any]
"""`columns` and `rows` for the macro `sortable`."""
MOST_ENSEMBLES = 20
MOST_LINES = 7
"""Methods in a chart of lines, at most."""


def cells_of(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[Cell]]) -> Cells:
    """A table for the macro `sortable`, without the columns in which nothing is known.

    Args:
        columns: Title of each column, and whether it is sorted as numbers.
        rows: A cell for each column.
    """
    kept = []
    for place, (title, _) in enumerate(columns):
        if not title or any(row[place].get("text") not in (UNKNOWN, "") for row in rows):
            kept.append(place)
    return {
        "columns": [{"title": columns[place][0], "numeric": columns[place][1]} for place in kept],
        "rows": [[row[place] for place in kept] for row in rows],
    }


def text_cells(table: Table) -> Cells:
    """A table of text; columns that are aligned to the right are sorted as numbers."""
    columns = [(title, side == ">") for title, side in zip(table.header, table.alignment, strict=True)]
    rows = []
    for row in table.rows:
        rows.append([_cell(text, "" if text == UNKNOWN else text.replace(",", "")) for text in row])
    return cells_of(columns, rows)


def quality_cells(result: Values, metric: str) -> Cells:
    """Metrics and differences to the baseline, a row for each method, the best first; two columns are drawn.

    Args:
        result: The comparison on a data set.
        metric: What the methods are ordered by, and whose differences are shown.
    """
    others = [name for name in TITLES if name != metric]
    columns = [("#", True), ("group", True), ("method", False), (_title(metric), True), ("", False)]
    columns += [("difference", True), ("", False), ("b", True), ("c", True), ("p (Holm)", True)]
    columns += [*((_title(name), True) for name in others), ("ECE", True)]
    scale = _scale([run["metrics"][metric] for run in result["runs"]])
    differences = [run["difference"][metric] for run in result["runs"] if run["difference"]]
    scale_of_differences = _scale(differences, with_zero=True)
    rows = []
    for place, run in enumerate(result["runs"], 1):
        row = [_cell(str(place), place), _cell(str(run["group"]), run["group"]), _cell(run["name"], run["name"])]
        row += [_metric_cell(run, metric), _drawn(run["metrics"][metric], scale)]
        row += _difference_cells(run["difference"], metric, scale_of_differences)
        row += [_metric_cell(run, name) for name in others]
        ece = run["metrics"]["ece"]["value"]
        rows.append([*row, _cell(number(ece, 3), ece)])
    return cells_of(columns, rows)


def _title(metric: str) -> str:
    return f"{TITLES[metric]} %" if metric in SHARES else TITLES[metric]


def _metric_cell(run: Values, metric: str) -> Cell:
    entry = run["metrics"][metric]
    return _cell(with_interval(metric, entry), entry["value"])


def _difference_cells(difference: Values | None, metric: str, scale: tuple[float, float]) -> list[Cell]:
    if difference is None:
        return [_cell("baseline", 0), {"interval": None, "value": "", "text": ""}, *[_cell("", "")] * 3]
    entry, of_accuracy = difference[metric], difference["accuracy"]
    return [
        _cell(signed_interval(metric, entry), entry["value"]),
        _drawn(entry, scale),
        _count_cell(of_accuracy["wins"]),
        _count_cell(of_accuracy["losses"]),
        _cell(p_cell(entry["p_holm"]), entry["p_holm"]),
    ]


def _count_cell(rows: int | None) -> Cell:
    return _cell(UNKNOWN if rows is None else f"{rows:,}", rows)


def _cell(text: str, value: object) -> Cell:
    return {"text": text, "value": "" if value is None else value}


def _drawn(entry: Values, scale: tuple[float, float]) -> Cell:
    """A cell with the drawing of a value and its interval."""
    drawing = None
    if entry["value"] is not None:
        drawing = (entry["value"], entry["low"], entry["high"], *scale)
    return {"interval": drawing, "value": "", "text": ""}


def _scale(entries: Sequence[Values], with_zero: bool = False) -> tuple[float, float]:
    """The least and the greatest of values and bounds."""
    known = [entry[name] for entry in entries for name in ("value", "low", "high") if entry[name] is not None]
    known += [0.0] if with_zero or not known else []
    return min(known), max(known)


def run_cells(result: Values, metric: str) -> Cells:
    """Seeds, invalid answers, speed, memory, size and cost, a row for each method.

    Args:
        result: The comparison on a data set.
        metric: Whose standard deviation over the seeds is shown.
    """
    columns = [("#", True), ("method", False), ("seeds", True), ("train rows", True), ("invalid", True)]
    columns += [("texts/s", True), ("memory", True), ("trained parameters", True), ("cost ($)", True)]
    columns += [("front", False), ("speed", False), ("device", False)]
    one_device = len({run["device"] for run in result["runs"]}) == 1
    rows = []
    for place, run in enumerate(result["runs"], 1):
        rows.append(
            [
                _cell(str(place), place),
                _cell(run["name"], run["name"]),
                _cell(seeds_cell(run, metric), run["seeds"]),
                _count_cell(run["train_rows"]),
                _count_cell(run["invalid"]),
                _cell(rate(run["examples_per_second"]), run["examples_per_second"]),
                _cell(memory(run["peak_memory_mib"]), run["peak_memory_mib"]),
                _cell(count(run["trained_parameters"]), run["trained_parameters"]),
                _cell(number(run["cost"], 2), run["cost"]),
                _cell("*" if run["pareto"] else "", "*" if run["pareto"] else ""),
                _cell(run["speed_note"] or "", run["speed_note"]),
                _cell(UNKNOWN if one_device else run["device"] or UNKNOWN, run["device"]),
            ]
        )
    return cells_of(columns, rows)


def agreement_cells(result: Values, data: int) -> Cells:
    """Numbers of rows that the method of a line gets right and that of a column wrong; a click opens the rows.

    Args:
        result: The comparison on a data set.
        data: The number of the data set on the page.
    """
    names = [run["name"] for run in result["runs"]]
    found = {}
    for pair in result["agreement"]:
        first, second = names.index(pair["first"]), names.index(pair["second"])
        found[first, second] = pair["only_first"]
        found[second, first] = pair["only_second"]
    rows = []
    for line, name in enumerate(names):
        row = [_cell(f"{line + 1} {name}", f"{line + 1} {name}")]
        for column in range(len(names)):
            if line == column:
                row.append(_cell("", ""))
                continue
            rows_of_pair = found[line, column]
            chosen = {"data": data, "right": str(line), "wrong": str(column)}
            row.append({"text": f"{rows_of_pair:,}", "value": rows_of_pair, "open": chosen})
        rows.append(row)
    return cells_of([("right", False), *((f"{place + 1} wrong", True) for place in range(len(names)))], rows)


def kappa_cells(result: Values) -> Cells:
    """Cohen's kappa of each pair of methods."""
    rows = []
    for pair in result["agreement"]:
        kappa = pair["kappa"]
        rows.append([_cell(pair["first"], pair["first"]), _cell(pair["second"], pair["second"])])
        rows[-1].append(_cell(number(kappa, 3), kappa))
    return cells_of([("method", False), ("other method", False), ("kappa", True)], rows)


def ensemble_cells(result: Values) -> Cells:
    """What a majority vote and the mean log-probability of several methods would reach, the best first."""
    ways = {"vote": "majority vote", "mean_log_probability": "mean log-probability"}
    found = []
    for ensemble in result["ensembles"]:
        members = " + ".join(ensemble["of"])
        for key, way in ways.items():
            if (reached := ensemble[key]) is not None:
                found.append((members, way, reached))
    found.sort(key=lambda each: -each[2]["accuracy"])
    rows = []
    for members, way, reached in found[:MOST_ENSEMBLES]:
        shown = [_cell(quantity(name, reached[name]), reached[name]) for name in ("accuracy", "macro_f1")]
        rows.append([_cell(members, members), _cell(way, way), *shown])
    return cells_of([("methods", False), ("by", False), ("accuracy %", True), ("macro-F1 %", True)], rows)


def commands(result: Values) -> list[tuple[str, str, list[str]]]:
    """Name, command and run folders of each method."""
    return [(run["name"], run["command"] or "", run["runs"]) for run in result["runs"]]


def length_chart(methods: Sequence[Method], metric: str) -> Chart | None:
    """The accuracy of the best methods by the length of the text; None where all texts are equally long.

    Args:
        methods: The methods of a data set, the best first; of several seeds, the first counts.
        metric: What they are ordered by.
    """
    groups = [accuracy_by_length(method.runs[0].table) for method in methods[:MOST_LINES]]
    if len(groups[0]) < 2:
        return None
    marks = []
    for place, (method, of_method) in enumerate(zip(methods, groups, strict=False)):
        x = [math.sqrt(max(group.shortest, 1) * max(group.longest, 1)) for group in of_method]
        y, low, high = zip(*(group.accuracy for group in of_method), strict=True)
        marks.append(Marks(f"{place + 1} {method.name}", x, y, "line", low=low, high=high, colour=place))
    every = [value for each in marks for value in each.y]
    note = "Groups of rows of similar length; the table has the 95 % intervals."
    if len(methods) > MOST_LINES:
        note += f" The best {MOST_LINES} methods by {TITLES[metric]}."
    return Chart(
        "accuracy by length",
        "characters",
        "accuracy",
        marks,
        x_range=(marks[0].x[0] / 1.1, marks[0].x[-1] * 1.1),
        y_range=(max(0.0, min(every) - 0.05), min(1.0, max(every) + 0.05)),
        x_percent=False,
        x_log=True,
        note=note,
    )


def speed_chart(result: Values, metric: str) -> Chart | None:
    """The metric against texts per second, with the Pareto front; None where no speeds can be compared.

    Args:
        result: The comparison on a data set.
        metric: The metric.
    """
    points = []
    for place, run in enumerate(result["runs"], 1):
        comparable = run["speed_note"] is None and run["examples_per_second"]
        if comparable and run["metrics"][metric]["value"] is not None:
            points.append((place, run))
    if not points:
        return None
    marks = []
    for place, run in points:
        entry, speed = run["metrics"][metric], run["examples_per_second"]
        bounds = {} if entry["low"] is None else {"low": [entry["low"]], "high": [entry["high"]]}
        colour = (run["group"] - 1) % 7
        name = f"{place} {run['name']}"
        marks.append(Marks(name, [speed], [entry["value"]], "dots", colour=colour, labels=[str(place)], **bounds))
    front = sorted((run["examples_per_second"], run["metrics"][metric]["value"]) for _, run in points if run["pareto"])
    if len(front) > 1:
        x, y = zip(*front, strict=True)
        marks.append(Marks("Pareto front: no other method is better and faster", x, y, "line", colour=6))
    speeds = [run["examples_per_second"] for _, run in points]
    least, most = _scale([run["metrics"][metric] for _, run in points])
    margin = 0.05 * (most - least) or 0.01
    left_out = len(result["runs"]) - len(points)
    note = "One colour for each group of ties."
    if left_out:
        note += f" {left_out} left out: speed unknown, or not comparable."
    return Chart(
        f"{TITLES[metric]} against speed",
        "texts per second",
        TITLES[metric],
        marks,
        x_range=(min(speeds) / 1.6, max(speeds) * 1.6),
        y_range=(least - margin, most + margin),
        x_percent=False,
        x_log=True,
        y_percent=metric in SHARES,
        note=note,
    )
