"""What the page of a report shows beside its rows: metrics, classes, groups of rows, and charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textclf.evaluation.curves import LENGTH_GROUPS, accuracy_by_length, calibration, risk_coverage
from textclf.evaluation.intervals import Interval, accuracy_interval, narrow_reasons
from textclf.evaluation.pages.charts import Chart, Marks
from textclf.evaluation.pages.page import digits, percent
from textclf.evaluation.pages.report_rows import plain
from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.readable_rows import confidences
from textclf.evaluation.report import TITLES, missing_classes, missing_note

Cell = dict[str, Any]
Group = dict[str, Any]
SHARES = ("accuracy", "majority_accuracy", "macro_f1")
MOST_GROUPS = 20
"""Groups of rows by a column, at most."""
SIZE_GROUPS = 4
"""Groups of classes by size, at most."""
HISTOGRAM_BINS = 20
MOST_PAIRS = 15
"""Pairs of classes in the list of confusions, at most."""


def metric_cards(metrics: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
    """The metrics of a report with their intervals.

    Args:
        metrics: The content of `metrics.json`.
        split: The split that was scored.
    """
    cards = []
    for key, title in TITLES.items():
        value = metrics.get(f"{split}/{key}")
        if value is None:
            continue
        low, high = (metrics.get(f"{split}/{key}_{bound}") for bound in ("low", "high"))
        shown = percent if key in SHARES else digits
        interval = "" if low is None or high is None else f"{shown(low)} to {shown(high)}"
        cards.append({"title": title, "value": shown(value), "interval": interval})
    return cards


def cautions(table: PredictionTable) -> list[str]:
    """What to keep in mind when reading the metrics.

    Args:
        table: The predictions.

    Returns:
        A sentence each: why intervals may be too narrow, classes without rows, answers that fit no class, and decision
        thresholds.
    """
    found = []
    if reasons := narrow_reasons(table.labels, table.predictions, len(table.label_names)):
        found.append(f"Intervals may be too narrow: {'; '.join(reasons)}.")
    if missing := missing_classes(table):
        found.append(f"Classes without rows: {missing_note(missing)}.")
    if invalid := int((table.predictions < 0).sum()):
        has_losses = table.has_probabilities and invalid < len(table.labels)
        of_answered = " NLL, Brier score and ECE are of the other rows." if has_losses else ""
        found.append(f"{invalid:,} answers fit no class and count as wrong.{of_answered}")
    if table.thresholds is not None:
        limits = ", ".join(f"{name} {limit:.4g}" for name, limit in table.thresholds.items())
        found.append(f"The prediction is the class with the highest probability divided by its threshold: {limits}.")
    return found


def further_metrics(metrics: Mapping[str, Any], split: str) -> dict[str, str]:
    """The numbers of a report that have no card."""
    found = {}
    for name, value in metrics.items():
        key = name.removeprefix(f"{split}/")
        is_number = isinstance(value, int | float)
        if (
            is_number
            and key not in TITLES
            and not key.endswith(("_low", "_high"))
            and name not in ("seed", "train_rows")
        ):
            found[name] = f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
    return found


# Classes


def class_table(table: PredictionTable) -> dict[str, Any]:
    """Precision, recall and F1 of each class, the most mistakes first."""
    classes = len(table.label_names)
    right = table.labels[table.predictions == table.labels]
    hits = np.bincount(right, minlength=classes).tolist()
    support = np.bincount(table.labels, minlength=classes).tolist()
    predicted = np.bincount(table.predictions[table.predictions >= 0], minlength=classes).tolist()
    columns = [
        _column("class", numeric=False),
        _column("rows"),
        _column("mistakes"),
        _column("predicted"),
        _column("recall"),
        _column("95 % interval of recall"),
        _column("", numeric=False),
        _column("precision"),
        _column("95 % interval of precision"),
        _column("F1"),
    ]
    rows: list[list[Cell]] = []
    for label in sorted(range(classes), key=lambda label: hits[label] - support[label]):
        recall = _share(hits[label], support[label])
        precision = _share(hits[label], predicted[label])
        total = support[label] + predicted[label]
        f1 = 2 * hits[label] / total if total else 0.0
        mistakes = support[label] - hits[label]
        rows.append(
            [
                {"text": table.label_names[label], "value": table.label_names[label], "open": {"label": label}},
                _count(support[label]),
                _count(mistakes) | {"open": {"label": label, "outcome": "wrong"}},
                _count(predicted[label]) | {"open": {"prediction": label}},
                *_interval_cells(recall),
                {"interval": recall, "text": "", "value": ""},
                *_interval_cells(precision),
                _number(f1),
            ]
        )
    return {"columns": columns, "rows": rows}


def confusions(cells: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    """The most frequent pairs of a true class and a wrong prediction.

    Args:
        cells: Those of `confusion_cells`.
        names: The classes' names.
    """
    columns = [
        _column("true class", numeric=False),
        _column("predicted", numeric=False),
        _column("rows"),
        _column("share of the true class"),
    ]
    support: dict[int, int] = {}
    for truth, _, count in cells:
        support[truth] = support.get(truth, 0) + count
    rows: list[list[Cell]] = []
    for truth, prediction, count in cells:
        if truth == prediction or len(rows) == MOST_PAIRS:
            continue
        answer = names[prediction] if prediction >= 0 else "(invalid)"
        rows.append(
            [
                {"text": names[truth], "value": names[truth]},
                {"text": answer, "value": answer},
                _count(count) | {"open": {"label": truth, "prediction": prediction}},
                _number(count / support[truth]),
            ]
        )
    return {"columns": columns, "rows": rows}


def _column(title: str, numeric: bool = True) -> Cell:
    return {"title": title, "numeric": numeric}


def _count(value: int) -> Cell:
    return {"text": f"{value:,}", "value": value}


def _number(share: float) -> Cell:
    return {"text": percent(share), "value": share}


def _share(part: int, whole: int) -> Interval | None:
    return accuracy_interval(part, whole) if whole else None


def _interval_cells(interval: Interval | None) -> list[Cell]:
    if interval is None:
        return [{"text": "–", "value": ""}, {"text": "", "value": ""}]
    bounds = f"{percent(interval.low)} to {percent(interval.high)}"
    return [_number(interval.value), {"text": bounds, "value": interval.low}]


# Groups of rows


def groupings(table: PredictionTable) -> list[dict[str, Any]]:
    """The accuracy of groups of rows: by length, by size of the class, and by each column that was kept.

    Args:
        table: Predictions, read with their texts.

    Returns:
        For each `title`, `filter` (the name of the filter that opens a group) and `groups`.
    """
    found = [{"title": "By length in characters", "filter": "length", "groups": length_groups(table)}]
    if groups := _size_groups(table):
        found.append({"title": "By number of rows of the true class", "filter": "size", "groups": groups})
    for name, values in table.kept.items():
        groups = column_groups(table, [plain(value) for value in values])
        left_out = len(values) - sum(group["rows"] for group in groups)
        note = f" ({left_out:,} rows in no group)" if left_out else ""
        if len(groups) > 1:
            found.append({"title": f"By {name}{note}", "filter": f"kept:{name}", "groups": groups})
    return found


def length_groups(table: PredictionTable) -> list[Group]:
    """Groups of rows of similar length."""
    groups = []
    for group in accuracy_by_length(table):
        name = _span(group.shortest, group.longest)
        groups.append(_group(name, group.rows, group.accuracy, least=group.shortest, most=group.longest))
    return groups


def _size_groups(table: PredictionTable) -> list[Group]:
    """Groups of classes of similar size; none with few classes, or if all have the same size."""
    support = np.bincount(table.labels, minlength=len(table.label_names))
    if len(table.label_names) < 2 * SIZE_GROUPS or len(np.unique(support)) < 2:
        return []
    group_of_class = _places(support, SIZE_GROUPS)
    group_of_row = group_of_class[table.labels]
    right = table.predictions == table.labels
    groups = []
    for place in np.unique(group_of_row):
        members = group_of_row == place
        classes = np.flatnonzero(group_of_class == place)
        accuracy = accuracy_interval(int(right[members].sum()), int(members.sum()))
        name = f"{_span(int(support[classes].min()), int(support[classes].max()))} ({len(classes)} classes)"
        groups.append(_group(name, int(members.sum()), accuracy, labels=classes.tolist()))
    return groups


def _places(values: np.ndarray, number: int) -> np.ndarray:
    """Groups of about equal size, `number` at most, by ascending values: the group of each value."""
    limits = np.unique(np.quantile(values, np.linspace(0, 1, number + 1)[1:], method="inverted_cdf"))
    places: np.ndarray = np.searchsorted(limits, values)
    return places


def column_groups(table: PredictionTable, values: Sequence[str | float | int | None]) -> list[Group]:
    """Groups of rows by the values of a column.

    Args:
        table: The predictions.
        values: One for each row.

    Returns:
        Of numbers with many values, groups of equal size; else one group for each of the most frequent values.
    """
    numbers = [value for value in values if isinstance(value, int | float)]
    known = [value for value in values if value is not None]
    if len(numbers) == len(known) and len(set(numbers)) > MOST_GROUPS:
        return _number_groups(table, values)
    right = (table.predictions == table.labels).tolist()
    hits = Counter(value for value, is_right in zip(values, right, strict=True) if is_right)
    groups = []
    largest = sorted(Counter(values).items(), key=lambda each: (-each[1], _value_name(each[0])))[:MOST_GROUPS]
    for value, rows in largest:
        groups.append(_group(_value_name(value), rows, accuracy_interval(hits[value], rows), value=value))
    return groups


def _value_name(value: str | float | int | None) -> str:
    if value is None:
        return "(missing)"
    if value == "":
        return "(empty)"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _number_groups(table: PredictionTable, values: Sequence[Any]) -> list[Group]:
    known = np.flatnonzero([value is not None for value in values])
    column = np.array([values[row] for row in known.tolist()], dtype=float)
    right = (table.predictions == table.labels)[known]
    places = _places(column, LENGTH_GROUPS)
    groups = []
    for place in np.unique(places):
        members = places == place
        least, most = float(column[members].min()), float(column[members].max())
        accuracy = accuracy_interval(int(right[members].sum()), int(members.sum()))
        groups.append(_group(_span(least, most), int(members.sum()), accuracy, least=least, most=most))
    return groups


def _span(least: float, most: float) -> str:
    """A range of numbers; only whole numbers have separators, since a column of years is read as one of floats."""
    low, high = (f"{value:,}" if isinstance(value, int) else f"{value:.6g}" for value in (least, most))
    return low if low == high else f"{low} to {high}"


def _group(name: str, rows: int, accuracy: Interval, **members: Any) -> Group:
    return {"name": name, "rows": rows, "accuracy": accuracy, "members": members}


# Charts


def report_charts(table: PredictionTable) -> list[Chart]:
    """The charts of a report; none without probabilities."""
    if not table.has_probabilities or not (table.predictions >= 0).any():
        return []
    return [reliability_chart(table), risk_chart(table), confidence_chart(table)]


def reliability_chart(table: PredictionTable) -> Chart:
    """Accuracy by confidence: calibrated probabilities are on the diagonal."""
    found = calibration(table)
    used = np.flatnonzero(found.rows)
    accuracies = [found.accuracy[place] for place in used.tolist()]
    dots = Marks(
        "accuracy of the rows of a bin, with its 95 % interval",
        [float(found.confidence[place]) for place in used],
        [each.value for each in accuracies],
        "dots",
        low=[each.low for each in accuracies],
        high=[each.high for each in accuracies],
    )
    return Chart(
        "Reliability",
        "mean confidence of the bin",
        "accuracy",
        [dots],
        diagonal=True,
        note=f"Calibrated probabilities are on the dashed line. ECE {found.ece:.4f} (15 bins of equal width).",
    )


def risk_chart(table: PredictionTable) -> Chart:
    """The share of mistakes among the most confident rows."""
    found = risk_coverage(table)
    lines = [
        Marks("this method", found.coverage.tolist(), found.risk.tolist()),
        Marks("best possible order of the same answers", found.coverage.tolist(), found.best.tolist(), colour=1),
    ]
    most = float(max(found.risk.max(), found.best.max()))
    return Chart(
        "Risk and coverage",
        "share of the rows that are answered, the most confident first",
        "share of mistakes among them",
        lines,
        y_range=(0.0, most * 1.05 or 1.0),
        note=f"Mean risk (AURC) {found.area:.4f}; best possible {found.best_area:.4f}.",
    )


def confidence_chart(table: PredictionTable) -> Chart:
    """How confident right and wrong answers are."""
    values = confidences(table)
    right = table.predictions == table.labels
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    marks = []
    most = 0.0
    for colour, (name, members) in enumerate({"right": right, "wrong": ~right & np.isfinite(values)}.items()):
        counts, _ = np.histogram(values[members], edges)
        shares = counts / max(1, counts.sum())
        most = max(most, float(shares.max()))
        marks.append(Marks(f"{name} ({counts.sum():,} rows)", edges.tolist(), shares.tolist(), "bars", colour=colour))
    return Chart(
        "Confidence of right and wrong answers",
        "probability of the prediction",
        "share of the right, of the wrong",
        marks,
        y_range=(0.0, most * 1.05 or 1.0),
    )
