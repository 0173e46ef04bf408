"""The page of a report: `index.html`, made from the prediction table and the other files of the report.

Its rows can be saved as a CSV file (UTF-8 with a byte-order mark, all cells quoted) with the columns `id`, `text`,
`text_pair` (only of pairs), `label`, `prediction` and `relabel`: names of classes; `prediction` is empty for an answer
that fits no class, and `relabel` is empty unless a class was chosen in the page. So that a spreadsheet does not take a
cell for a formula, one that starts with `=`, `+`, `-`, `@`, `＝`, `＋`, `－`, `＠`, a tab or the end of a line, or with
quotes and one of these, has one more `'` before it; a reader takes that one away again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textclf.errors import UserError
from textclf.evaluation.pages.page import write_page
from textclf.evaluation.pages.report_parts import (
    cautions,
    class_table,
    confusions,
    further_metrics,
    groupings,
    metric_cards,
    report_charts,
)
from textclf.evaluation.pages.report_rows import attributed, confusion_cells, embedded_rows, rows_data
from textclf.evaluation.pages.training_parts import cartography_part, weight_lists
from textclf.evaluation.prediction_table import read_predictions
from textclf.parsing import parse_json

NAME = "index.html"
LISTS = {
    "mistakes": "most confident mistakes",
    "hits": "least certain hits",
    "near_misses": "mistakes whose label is in the top 3",
}
"""The lists of `shown_rows` in words."""
WITHOUT_PROBABILITIES = {"mistakes": "first mistakes"}
"""The same for a method without probabilities, whose mistakes are in the order of the split."""
FACTS = ("data", "method", "checkpoint", "train_rows", "seed", "time")
RUN_FACTS = ("device", "fit_seconds", "test_seconds", "parameters", "trained_parameters", "commit", "command")


def write_report_page(folder: str | Path) -> Path:
    """Writes the page of a report into its folder; no model is needed.

    Args:
        folder: A folder with `predictions.parquet` and `metrics.json`. Of `run.json`, `weights.json`,
            `cartography.parquet` and `attributions.json`, what is there is shown.

    Returns:
        The page.

    Raises:
        UserError: There is no report in the folder, one of its files cannot be read, or no space is left.
    """
    folder = Path(folder)
    table = read_predictions(folder / "predictions.parquet")
    if not len(table.labels):
        raise UserError(f"{folder}: the prediction table has no rows")
    metrics = _read_json(folder / "metrics.json")
    if metrics is None:
        raise UserError(f"{folder}: there is no metrics.json; give the folder report/ of a run")
    _check_numbers(metrics, folder / "metrics.json")
    split = metrics.get("split", "test")
    rows = embedded_rows(table)
    cells = confusion_cells(table)
    groups = groupings(table)
    titles = LISTS if table.has_probabilities else WITHOUT_PROBABILITIES
    data = rows_data(table, rows)
    data |= {
        "key": _key(folder, metrics),
        "titles": titles,
        "cells": cells,
        "groupings": groups_data(groups),
        "attributions": attributed(_read_json(folder / "attributions.json") or {}, rows, data["ids"]),
    }
    write_page(
        folder / NAME,
        "report.html",
        data,
        scripts=["matrix.js", "report.js"],
        title=f"{_short(metrics.get('method'))} on {_short(metrics.get('data'))}, {split}",
        cards=metric_cards(metrics, split),
        further=further_metrics(metrics, split),
        facts=_facts(metrics, _read_json(folder / "run.json") or {}),
        cautions=cautions(table),
        has_probabilities=table.has_probabilities,
        total=len(table.labels),
        embedded=len(rows),
        lists={name: title for name, title in titles.items() if data["lists"][name]},
        classes=class_table(table),
        confusions=confusions(cells, table.label_names),
        charts=report_charts(table),
        groupings=groups,
        weights=weight_lists(folder / "weights.json"),
        cartography=cartography_part(folder / "cartography.parquet"),
    )
    return folder / NAME


def groups_data(groupings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The groups of rows as the filters of the page need them."""
    found = []
    for grouping in groupings:
        groups = [{"name": group["name"], **group["members"]} for group in grouping["groups"]]
        found.append({"title": grouping["title"], "filter": grouping["filter"], "groups": groups})
    return found


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON that can be read ({error}); run the test again, or remove it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object; run the test again, or remove it")
    return content


def _check_numbers(metrics: Mapping[str, Any], path: Path) -> None:
    """Refuses metrics that are no numbers."""
    for name, value in metrics.items():
        if "/" in name and not isinstance(value, int | float | None):
            raise UserError(f"{path}: {name} is {value!r}, not a number; run the test again, or remove it")


def _key(folder: Path, metrics: Mapping[str, Any]) -> str:
    """A name for what the browser keeps of this page: the classes chosen in the column `relabel`."""
    text = f"{folder.resolve()} {metrics.get('time')}"
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:16]


def _short(value: Any) -> str:
    """The data and method of a report, without the parts in brackets."""
    return str(value or "unknown").partition(" (")[0]


def _facts(metrics: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, str]:
    values = {name: metrics.get(name) for name in FACTS} | {name: run.get(name) for name in RUN_FACTS}
    return {name.replace("_", " "): _fact(value) for name, value in values.items() if value is not None}


def _fact(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
