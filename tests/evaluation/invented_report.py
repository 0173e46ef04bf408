"""A folder with the files of a report, for the tests of its page."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from textclf.evaluation.prediction_table import write_predictions
from textclf.evaluation.provenance import Provenance
from textclf.evaluation.report import write_report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
TEXTS = (
    HOSTILE,
    "=HYPERLINK(1)",
    "끝에 빈칸이 있는 글 ",
    "مرحبا بالعالم",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\x07bell",
    "a long one, " * 200,
    "",
)


def report_folder(
    folder, rows=200, classes=3, has_probabilities=True, pairs=False, invalid=0, names=None, columns=None, **files
):
    """Writes predictions.parquet and metrics.json; `files` are further files of JSON by their stem."""
    draw = np.random.default_rng(0)
    names = names or tuple(f"분류 {place}" if place % 2 else f"class {place}" for place in range(classes))
    labels = draw.integers(classes, size=rows)
    scores = draw.normal(size=(rows, classes))
    scores[np.arange(rows), labels] += 1.5
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    predictions = scores.argmax(axis=1)
    predictions[:invalid] = -1
    scores[:invalid] = np.nan
    texts = [f"text {row} " + "word " * int(draw.integers(1, 30)) for row in range(rows)]
    texts[: len(TEXTS)] = TEXTS[:rows]
    window = {"id": [str(row) for row in range(rows)], "text": texts, "label": labels.tolist()}
    if pairs:
        window["text_pair"] = [f"second {row}" for row in range(rows)]
    kept = {name: pa.array(values).type for name, values in (columns or {}).items()}
    path = folder / "predictions.parquet"
    write_predictions(
        path,
        [window | (columns or {})],
        predictions=predictions,
        log_scores=scores,
        label_names=names,
        has_probabilities=has_probabilities,
        kept=kept,
    )
    write_report(folder, path, Provenance(data="Invented", method="None", seed=0, train_rows=7))
    for stem, content in files.items():
        (folder / f"{stem}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_cartography(folder, rows=80):
    """Writes cartography.parquet."""
    draw = np.random.default_rng(0)
    columns = {
        "id": [str(row) for row in range(rows)],
        "text": [f"{HOSTILE} {row}" for row in range(rows)],
        "label_name": ["class 0"] * rows,
        "mean": draw.random(rows),
        "spread": draw.random(rows) / 2,
        "correctness": draw.random(rows),
    }
    table = pa.table(columns).replace_schema_metadata({"epochs": "3"})
    pq.write_table(table, folder / "cartography.parquet")
