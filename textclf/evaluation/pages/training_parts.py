"""What a method has left for the page of a report: weights of its features, and the course of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from textclf.evaluation.pages.charts import Chart, Marks
from textclf.hub import loading
from textclf.parsing import parse_json

REMEDY = "run fit again, or remove the file"
MOST_POINTS = 2_000
"""Rows in the map of a training, at most."""
HARDEST = 50
"""Rows in the list of the hardest ones, at most."""
SHORTENED = 500
"""Characters of a text in this list, at most."""
THIRDS = ((0.0, 1 / 3, "seldom right"), (1 / 3, 2 / 3, "sometimes right"), (2 / 3, 1.01, "mostly right"))


def weight_lists(path: Path) -> dict[str, Any] | None:
    """The features with the largest weights of each class; None where there is no such file.

    Args:
        path: `weights.json` of a report.

    Raises:
        UserError: It is damaged.
    """
    if not path.is_file():
        return None
    with loading("file", str(path), REMEDY):
        content = parse_json(path.read_text(encoding="utf-8"))
        kind = str(content["kind"])
        weights: dict[str, list[tuple[str, float]]] = {}
        for name, pairs in content["classes"].items():
            weights[name] = [(str(feature).replace(" ", "␣"), float(weight)) for feature, weight in pairs]
    most = max((abs(weight) for pairs in weights.values() for _, weight in pairs), default=1.0) or 1.0
    classes = []
    for name, pairs in weights.items():
        features = [{"name": feature, "weight": weight, "share": abs(weight) / most} for feature, weight in pairs]
        classes.append({"name": name, "features": features})
    return {"kind": kind, "classes": classes}


def cartography_part(path: Path) -> dict[str, Any] | None:
    """The map of a training and its hardest rows; None where there is no such file.

    Source: Swayamdipta et al., 2020, https://arxiv.org/abs/2009.10795.

    Args:
        path: `cartography.parquet` of a report.

    Raises:
        UserError: It is damaged.
    """
    if not path.is_file():
        return None
    with loading("file", str(path), REMEDY):
        table = _map_table(path)
    metadata = table.schema.metadata or {}
    mean = np.asarray(table["mean"].to_numpy(), dtype=float)
    order = np.argsort(mean, kind="stable")[:HARDEST]
    hardest = []
    for row in table.take(order).to_pylist():
        text = row["text"]
        row["text"] = text if len(text) <= SHORTENED else f"{text[:SHORTENED]}…"
        hardest.append(row)
    return {
        "epochs": metadata.get(b"epochs", b"?").decode(errors="replace"),
        "rows": len(mean),
        "chart": _map(table, mean),
        "hardest": hardest,
    }


def _map_table(path: Path) -> Any:
    """The columns of a map: texts, and numbers without a missing one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = {"id": pa.string(), "text": pa.string(), "label_name": pa.string()}
    types = names | dict.fromkeys(("mean", "spread", "correctness"), pa.float64())
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])
    table = pq.read_table(path, columns=list(types))
    found = table.select(list(types)).cast(schema.with_metadata(table.schema.metadata))
    found.validate(full=True)
    return found


def _map(table: Any, mean: np.ndarray) -> Chart:
    spread = np.asarray(table["spread"].to_numpy(), dtype=float)
    correctness = np.asarray(table["correctness"].to_numpy(), dtype=float)
    drawn = np.arange(len(mean))
    if len(mean) > MOST_POINTS:
        drawn = np.sort(np.random.default_rng(0).choice(len(mean), MOST_POINTS, replace=False))
    marks = []
    for colour, (least, most, name) in enumerate(THIRDS):
        members = drawn[(correctness[drawn] >= least) & (correctness[drawn] < most)]
        marks.append(Marks(name, spread[members].tolist(), mean[members].tolist(), "dots", colour=2 - colour))
    note = "Top left: easy to learn; right: ambiguous; bottom left: hard to learn, where label errors gather."
    if len(mean) > MOST_POINTS:
        note += f" {MOST_POINTS:,} of {len(mean):,} rows are drawn."
    return Chart(
        "Map of the training rows",
        "spread over the epochs",
        "mean probability of the label",
        marks,
        x_range=(0.0, max(0.05, 1.05 * float(spread.max(initial=0.0)))),
        x_percent=False,
        note=note,
    )
