"""The tables of a comparison as cells of text, for every output format."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textclf.evaluation.sentences import p_value

Values = Mapping[str, Any]
TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "mcc": "MCC", "nll": "NLL", "brier": "Brier"}
"""The metrics as they are called in tables."""
SHARES = ("accuracy", "macro_f1")
"""Metrics that are shown in per cent."""
UNKNOWN = "-"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        header: A title for each column.
        alignment: For each column `<` (left) or `>` (right).
        rows: As many cells in each.
    """

    header: list[str]
    alignment: str
    rows: list[list[str]]

    def without_unknown(self) -> Table:
        """The table without the columns in which nothing is known."""
        kept = []
        for index in range(len(self.header)):
            if any(row[index] not in (UNKNOWN, "") for row in self.rows):
                kept.append(index)
        return Table(
            [self.header[index] for index in kept],
            "".join(self.alignment[index] for index in kept),
            [[row[index] for index in kept] for row in self.rows],
        )


# Cells


def number(value: float | None, digits: int) -> str:
    """A number with as many digits after the point."""
    if value is None:
        return UNKNOWN
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # + 0.0: no minus before a zero


def quantity(metric: str, value: float | None) -> str:
    """A metric: shares in per cent with one digit after the point, the others with three."""
    if value is not None and metric in SHARES:
        return number(100 * value, 1)
    return number(value, 3)


def with_interval(metric: str, entry: Values) -> str:
    """A metric and its interval: `82.8 [80.4, 84.9]`."""
    shown = quantity(metric, entry["value"])
    if entry["low"] is None:
        return shown
    return f"{shown} [{quantity(metric, entry['low'])}, {quantity(metric, entry['high'])}]"


def signed_interval(metric: str, entry: Values) -> str:
    """A difference and its interval: `+1.8 [+0.6, +3.0]`."""
    parts = []
    for bound in ("value", "low", "high"):
        shown = quantity(metric, entry[bound])
        is_signed = shown.startswith("-")  # or unknown
        parts.append(shown if is_signed else f"+{shown}")
    value, low, high = parts
    return value if entry["low"] is None else f"{value} [{low}, {high}]"


def p_cell(p: float | None) -> str:
    """A p-value without a sign of equality: `0.005`, `<0.001`."""
    if p is None:
        return UNKNOWN
    return p_value(p).replace("= ", "").replace("< ", "<")


def rate(value: float | None) -> str:
    """Texts per second, with three digits that count."""
    if value is None:
        return UNKNOWN
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def memory(mib: float | None) -> str:
    """MiB, from 1,024 on GiB."""
    if mib is None:
        return UNKNOWN
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


def count(value: float | None) -> str:
    """A number of parameters with three digits that count: `22.7M`."""
    if value is None:
        return UNKNOWN
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:  # rounded to three digits, it is as large
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def seeds_cell(run: Values, metric: str) -> str:
    """The number of seeds, with the standard deviation of the metric over them."""
    deviation = run["metrics"][metric].get("sd")
    if run["seeds"] == 1:
        return "1"
    return f"{run['seeds']} (sd {quantity(metric, deviation)})"


# Tables


def quality_table(result: Values, metric: str, brief: bool = False) -> Table:
    """Metrics and differences to the baseline, a row for each method, the best first.

    Args:
        result: The comparison on a data set.
        metric: What the methods are ordered by, and whose differences are shown.
        brief: Whether only `metric` has its intervals, and numbers of rows are left out where they do not belong to it.
    """
    shown = ["accuracy", "macro_f1", "nll", "brier"]
    if metric not in shown:
        shown.insert(2, metric)
    header = ["#", "group", "method", *(TITLES[name] for name in shown), "difference", "b/c", "p (Holm)"]
    rows = []
    for place, run in enumerate(result["runs"], 1):
        row = [str(place), str(run["group"]), run["name"]]
        for name in shown:
            entry = run["metrics"][name]
            wide = not brief or name == metric
            row.append(with_interval(name, entry) if wide else quantity(name, entry["value"]))
        rows.append(row + _difference_cells(run["difference"], metric, has_counts(metric, brief)))
    return Table(header, ">><" + ">" * (len(shown) + 3), rows).without_unknown()


def has_counts(metric: str, brief: bool) -> bool:
    """Whether a table has the numbers of rows that only one of two methods gets right: they belong to accuracy."""
    return metric == "accuracy" or not brief


def _difference_cells(difference: Values | None, metric: str, counted: bool) -> list[str]:
    if difference is None:
        return ["baseline", "", ""]
    of_metric, of_accuracy = difference[metric], difference["accuracy"]
    counts = UNKNOWN
    if counted and of_accuracy["wins"] is not None:
        counts = f"{of_accuracy['wins']:,}/{of_accuracy['losses']:,}"
    return [signed_interval(metric, of_metric), counts, p_cell(of_metric["p_holm"])]


def runs_table(result: Values, metric: str, commands: bool = False) -> Table:
    """Seeds, invalid answers, speed, memory, size and cost, a row for each method, the best first.

    Args:
        result: The comparison on a data set.
        metric: Whose standard deviation over the seeds is shown.
        commands: Whether the last column has the command of each method.
    """
    several_seeds = any(run["seeds"] > 1 for run in result["runs"])
    rows = []
    for place, run in enumerate(result["runs"], 1):
        cells = {
            "seeds": seeds_cell(run, metric) if several_seeds else UNKNOWN,
            "train rows": UNKNOWN if run["train_rows"] is None else f"{run['train_rows']:,}",
            "invalid": f"{run['invalid']:,}" if run["invalid"] else UNKNOWN,
            "texts/s": rate(run["examples_per_second"]),
            "memory": memory(run["peak_memory_mib"]),
            "trained": count(run["trained_parameters"]),
            "cost ($)": number(run["cost"], 2),
            "front": "*" if run["pareto"] else "",
            "speed": run["speed_note"] or "",
            "command": f"`{run['command']}`" if run["command"] and commands else UNKNOWN,
        }
        rows.append([str(place), run["name"], *cells.values()])
    return Table(["#", "method", *cells], "><" + "<" + ">" * 6 + "<<<", rows).without_unknown()


def ranks_table(ranks: Values) -> Table:
    """Mean ranks, and the rank on each data set, a row for each method, the best first."""
    header = ["method", "mean rank", *ranks["data_sets"]]
    rows = []
    for method in ranks["methods"]:
        of_sets = [number(method["ranks"][name], 1) for name in ranks["data_sets"]]
        rows.append([method["name"], number(method["mean_rank"], 2), *of_sets])
    return Table(header, "<" + ">" * (len(header) - 1), rows)


def agreement_table(result: Values, kind: str) -> Table:
    """A square of numbers between the methods, which are given by their places.

    Args:
        result: The comparison on a data set.
        kind: `kappa`, or `only` for the numbers of rows that the method of the line gets right and that of the column
            does not.
    """
    names = [run["name"] for run in result["runs"]]
    cells = {}
    for pair in result["agreement"]:
        places = names.index(pair["first"]), names.index(pair["second"])
        if kind == "kappa":
            cells[places] = cells[places[::-1]] = number(pair["kappa"], 2)
        else:
            cells[places] = f"{pair['only_first']:,}"
            cells[places[::-1]] = f"{pair['only_second']:,}"
    places_of_all = range(len(names))
    rows = []
    for line in places_of_all:
        rows.append([str(line + 1), *(cells.get((line, column), "") for column in places_of_all)])
    title = "kappa" if kind == "kappa" else "only"
    return Table([title, *(str(place + 1) for place in places_of_all)], ">" * (len(names) + 1), rows)


# What is chosen for reading


def chosen_pairs(result: Values, most: int) -> list[Values]:
    """The pairs whose difference is put into words: all, or where there are many, those that decide.

    These are the best method with the next one and with the baseline, and the first of each group with the best of the
    group above it, which it is significantly worse than.

    Args:
        result: The comparison on a data set.
        most: With more pairs, some are chosen.
    """
    pairs: list[Values] = list(result["pairs"])
    if len(pairs) <= most:
        return pairs
    runs = result["runs"]
    leaders = [next(group)["name"] for _, group in itertools.groupby(runs, key=lambda run: run["group"])]
    wanted = {frozenset((runs[0]["name"], runs[1]["name"])), frozenset((runs[0]["name"], result["baseline"]))}
    wanted |= {frozenset(neighbours) for neighbours in itertools.pairwise(leaders)}
    return [pair for pair in pairs if frozenset((pair["first"], pair["second"])) in wanted][:most]


def good_ensembles(result: Values, most: int) -> list[tuple[Values, str, Values]]:
    """The ensembles with a higher accuracy than every method, the best first.

    Args:
        result: The comparison on a data set.
        most: How many at most.

    Returns:
        For each the ensemble, the better of its two ways in words, and its metrics.
    """
    best = max(run["metrics"]["accuracy"]["value"] for run in result["runs"])
    found = []
    for ensemble in result["ensembles"]:
        way, reached = "majority vote", ensemble["vote"]
        mean = ensemble["mean_log_probability"]
        if mean is not None and mean["accuracy"] >= reached["accuracy"]:
            way, reached = "mean log-probability", mean
        if reached["accuracy"] > best:
            found.append((ensemble, way, reached))
    found.sort(key=lambda each: (-each[2]["accuracy"], len(each[0]["of"])))
    return found[:most]


def reasons(runs: Sequence[Values]) -> list[tuple[str, list[int]]]:
    """Each warning with the places of the methods that it is about."""
    found: dict[str, list[int]] = {}
    for place, run in enumerate(runs, 1):
        for warning in run["warnings"]:
            found.setdefault(warning, []).append(place)
    return list(found.items())
