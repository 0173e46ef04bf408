"""Invented runs for the tests of comparisons."""

import json

import numpy as np
import pyarrow.parquet as pq
import yaml

from textclf.evaluation.prediction_table import write_predictions

NAMES = ("부정", "neutral", "긍정")


def invented_predictions(labels, accuracy, seed=0, num_classes=3):
    """Predictions, of which about a share is right, and their log-probabilities, shape (rows, classes)."""
    draw = np.random.default_rng(seed)
    right = draw.random(len(labels)) < accuracy
    predictions = np.where(right, labels, (labels + 1) % num_classes)
    confidence = draw.uniform(0.5, 0.95, size=len(labels))
    log_scores = np.tile(np.log((1 - confidence) / (num_classes - 1))[:, None], num_classes)
    log_scores[np.arange(len(labels)), predictions] = np.log(confidence)
    return predictions, log_scores


def invented_labels(rows, num_classes=3):
    return np.random.default_rng(7).integers(num_classes, size=rows)


def write_table(path, *, rows=60, accuracy=0.8, seed=0, names=NAMES, ids=None, texts=None, labels=None, **options):
    """Writes a prediction table.

    Further options: `kept` has more columns, `change` may change predictions and log-probabilities, and the others are
    those of `write_predictions`.
    """
    kept, change = options.pop("kept", {}), options.pop("change", None)
    labels = invented_labels(rows) if labels is None else np.asarray(labels, dtype=np.int64)
    predictions, log_scores = invented_predictions(labels, accuracy, seed)
    if change is not None:
        change(predictions, log_scores)
    ids = [f"row {row}" for row in range(len(labels))] if ids is None else ids
    texts = [f"text of {name}" for name in ids] if texts is None else texts
    window = {"id": ids, "text": texts, "label": labels.tolist()}
    write_predictions(path, [window], predictions=predictions, log_scores=log_scores, label_names=names, **options)
    if kept:
        table = pq.read_table(path)
        for name, values in kept.items():
            table = table.append_column(name, [values])
        pq.write_table(table, path)
    return path


def write_run(folder, method="Method", *, data="Toy", config=None, facts=None, metrics=None, **table):
    """Writes a run folder: `config` has nested values, `facts` those of run.json."""
    write_table(folder / "report" / "predictions.parquet", **table)
    content = {"data": data, "method": method, "train_rows": 10, "examples_per_second": 100.0, **(metrics or {})}
    (folder / "report" / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    if facts is not None:
        (folder / "report" / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def configuration(seed=0, data_seed=42, folds=None, fold=None, **model):
    data = {"class_path": "Toy", "init_args": {"seed": data_seed, "folds": folds, "fold": fold}}
    return {"seed_everything": seed, "data": data, "model": {"class_path": "my.Method", "init_args": model}}
