"""The report of an evaluation, metrics.json and report.txt, made from a prediction table."""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from textclf.console import align_right, display_width
from textclf.errors import UserError
from textclf.evaluation.answers import Answers, Rows
from textclf.evaluation.intervals import ASSUMED_DISAGREEMENT, Interval, narrow_reasons, smallest_visible
from textclf.evaluation.method_intervals import method_intervals
from textclf.evaluation.metrics import KEYS, ClassificationMetrics
from textclf.evaluation.prediction_table import PredictionTable, read_predictions
from textclf.evaluation.provenance import Provenance
from textclf.files import atomic_path

WINDOW = 65_536  # rows counted at once
Metrics = dict[str, float | int | str | list[str] | None]
OF_PROBABILITIES = ("nll", "brier", "ece")
TITLES = {
    "accuracy": "accuracy",
    "majority_accuracy": "majority class accuracy",
    "macro_f1": "macro F1",
    "mcc": "Matthews correlation",
    "nll": "NLL (nats)",
    "brier": "Brier score (0 to 2)",
    "ece": "ECE (15 bins)",
}
"""The metrics of report.txt below the table, in its order, in words."""
COLUMN = 25


def write_report(
    folder: str | Path,
    table_path: str | Path,
    provenance: Provenance | None = None,
    examples_per_second: float | None = None,
    figures: Mapping[str, float] | None = None,
    extra_metrics: Mapping[str, float] | None = None,
) -> Metrics:
    """Writes metrics.json and report.txt.

    Args:
        folder: Where to write; created if it does not exist.
        table_path: The prediction table.
        provenance: What was evaluated; by default a test of unknown origin.
        examples_per_second: Speed of the run, if it was measured.
        figures: Further numbers of the method, for metrics.json.
        extra_metrics: Further metrics of the same rows by name, for metrics.json and report.txt.

    Returns:
        The contents of metrics.json: the results of `summarize` and `interval_fields`, `missing_classes`, `figures`,
        and the fields of `provenance`.

    Raises:
        UserError: There is no prediction table at `table_path`, it has no rows, or `figures` has the name of a metric
            of the report.
    """
    folder = Path(folder)
    provenance = provenance or Provenance()
    table = read_predictions(table_path, texts=False)
    if not len(table.labels):
        raise UserError(f"{table_path}: the prediction table has no rows; test on a split that has some")
    intervals = table_intervals(table)
    metrics: Metrics = {
        **summarize(table, provenance.split, examples_per_second),
        **interval_fields(intervals, len(table.labels), provenance.split),
        **{f"{provenance.split}/{name}": _finite(value) for name, value in (extra_metrics or {}).items()},
        "missing_classes": missing_classes(table),
    }
    facts = asdict(provenance)
    for name, value in (figures or {}).items():
        if name in metrics or name in facts:
            raise UserError(f"figures() gave {name!r}, which the report has already: give it another name")
        metrics[name] = _finite(value)
    metrics |= facts
    fitted = calibrator_names(table)
    if table.temperature != 1:
        fitted.insert(0, "temperature")
    if table.thresholds is not None:
        fitted.insert(0, "thresholds")
    head = provenance.lines(len(table.labels))
    if fitted and provenance.split == "validation":
        head.append(f"note:       {' and '.join(fitted)} fitted to validation rows: these figures are optimistic")
    if metrics.get("batch_effect/rows"):
        head.append(_batch_effect_line(metrics))
    with atomic_path(folder / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with atomic_path(folder / "report.txt") as path:
        text = classification_report_text(table, intervals, extra_metrics)
        path.write_text("\n".join([*head, "", text]), encoding="utf-8")
    return metrics


def _batch_effect_line(metrics: Mapping[str, Any]) -> str:
    """How many predictions depend on the batch size, for the head of report.txt."""
    changed, rows = metrics["batch_effect/changed_predictions"], metrics["batch_effect/rows"]
    return (
        f"batch size: in this 16-bit precision, {changed} of {rows} sampled rows are predicted otherwise if scored "
        f"alone (log-scores differ by up to {metrics['batch_effect/largest_difference_nats']:.2g} nats)"
    )


def summarize(
    table: PredictionTable, split: str = "test", examples_per_second: float | None = None
) -> dict[str, float | int | None]:
    """Computes the metrics of a prediction table.

    Args:
        table: The predictions.
        split: The prefix of the metrics' names.
        examples_per_second: Speed of the run, where it was measured.

    Returns:
        The metrics of `ClassificationMetrics` under `<split>/<key>`, `nll_uncalibrated` and `ece_uncalibrated` where a
        temperature was applied, and `examples` and `examples_per_second`, ready for strict JSON: a value that is
        missing, not a number, or infinite is None.
    """
    scores = _scores(table)
    summary: dict[str, float | int | None] = {
        f"{split}/{key}": _finite(scores.get(key)) for key in KEYS if key in scores or key in OF_PROBABILITIES
    }
    summary[f"{split}/invalid"] = int(scores["invalid"])
    return summary | {
        "examples": int(scores["examples"]),
        "examples_per_second": _finite(examples_per_second),
    }


def table_intervals(table: PredictionTable) -> dict[str, Interval]:
    """The 95 % intervals of accuracy, macro-F1, MCC, NLL and Brier score, by `textclf.evaluation.answers.METRICS`.

    Args:
        table: The predictions, of one row at least.
    """
    nll, brier = table.row_losses
    answers = Answers(table.predictions[None], nll[None], brier[None])
    return method_intervals(answers, Rows(table.labels, len(table.label_names)))


def interval_fields(intervals: Mapping[str, Interval], rows: int, split: str = "test") -> dict[str, float | None]:
    """The intervals for strict JSON, and the smallest difference that so many rows can show.

    Args:
        intervals: Those of `table_intervals`.
        rows: Number of rows.
        split: The prefix of the metrics' names.

    Returns:
        `<split>/<metric>_low` and `<split>/<metric>_high`, None where they are unknown, and `smallest_visible`, a
        difference in accuracy between two methods, exactly one of which is assumed to be right on
        `ASSUMED_DISAGREEMENT` of the rows.
    """
    fields = {}
    for metric, interval in intervals.items():
        fields[f"{split}/{metric}_low"] = _finite(interval.low)
        fields[f"{split}/{metric}_high"] = _finite(interval.high)
    return fields | {"smallest_visible": smallest_visible(rows, ASSUMED_DISAGREEMENT * rows)}


def classification_report_text(
    table: PredictionTable, intervals: Mapping[str, Interval], extra_metrics: Mapping[str, float] | None = None
) -> str:
    """Writes precision, recall, F1 and support per class, in scikit-learn's layout, and a few lines below it.

    Args:
        table: The predictions.
        intervals: Those of `table_intervals`.
        extra_metrics: Further metrics of the same rows by name.

    Returns:
        Several lines. Names in wide characters such as Hangul are aligned by their width on a terminal.
    """
    scores = _scores(table)
    lines = [*_table_lines(table, scores["accuracy"]), "", *_metric_lines(scores, intervals)]
    if reasons := narrow_reasons(table.labels, table.predictions, len(table.label_names)):
        lines.append(_line("", f"intervals may be too narrow: {'; '.join(reasons)}"))
    lines.append(_line("examples:", f"{scores['examples']:.0f}"))
    lines.append(_line("invalid answers:", f"{scores['invalid']:.0f}"))
    lines += _visible_lines(len(table.labels))
    for name, extra in (extra_metrics or {}).items():
        note = " (of the answered rows)" if scores["invalid"] else ""
        lines.append(f"{name + ':':<{COLUMN - 1}} {extra:.4f}{note}")
    return "\n".join([*lines, *_decision_lines(table, scores)]) + "\n"


def _line(title: str, value: str) -> str:
    return f"{title:<{COLUMN}}{value}"


def _metric_lines(scores: Mapping[str, float], intervals: Mapping[str, Interval]) -> list[str]:
    lines = [_line("", f"{'':<9}95 % interval")]
    for key, title in TITLES.items():
        value = f"{scores[key]:.4f}" if key in scores else "no probabilities"
        interval = intervals.get(key)
        if interval is not None and math.isfinite(interval.low):
            value = f"{value:<9}{interval.low:.4f} to {interval.high:.4f}"
        lines.append(_line(f"{title}:", value))
    return lines


def _visible_lines(rows: int) -> list[str]:
    """The smallest difference that so many rows can show, in words."""
    visible = 100 * smallest_visible(rows, ASSUMED_DISAGREEMENT * rows)
    share = f"{100 * ASSUMED_DISAGREEMENT:.0f} %"
    return [
        _line(
            "smallest difference:", f"{visible:.1f} points of accuracy between two methods are found in four of five"
        ),
        _line("", f"paired tests at 5 %, if exactly one of the two is right on {share} of the rows (assumed)"),
    ]


def _decision_lines(table: PredictionTable, scores: Mapping[str, float]) -> list[str]:
    """Classes without rows, and what was done to scores and predictions."""
    lines = []
    if missing := missing_classes(table):
        lines.append(_line("classes without rows:", missing_note(missing)))
    if "ece_uncalibrated" in scores:
        before = f"at 1: NLL {scores['nll_uncalibrated']:.4f}, ECE {scores['ece_uncalibrated']:.4f}"
        lines.append(_line("temperature:", f"{table.temperature:.4f} ({before})"))
    if names := calibrator_names(table):
        lines.append(_line("calibrated by:", ", ".join(names)))
    if table.thresholds is not None:
        limits = ", ".join(f"{name} {limit:.4g}" for name, limit in table.thresholds.items())
        lines.append(_line("decision:", f"highest probability divided by its threshold ({limits})"))
    return lines


def calibrator_names(table: PredictionTable) -> list[str]:
    """Class names of the calibrators that changed a table's scores or predictions, temperature and thresholds aside."""
    return [calibrator["class_path"].rpartition(".")[2] for calibrator in table.calibrators]


def missing_classes(table: PredictionTable) -> list[str]:
    """Names of the classes that no row of the table has as its label, in the order of the classes."""
    present = set(np.unique(table.labels).tolist())
    return [name for index, name in enumerate(table.label_names) if index not in present]


def missing_note(missing: Sequence[str]) -> str:
    """Names classes without rows, and their effect on the metrics."""
    return f"{', '.join(missing)} (each counts 0 in the macro averages)"


def _accumulate(table: PredictionTable) -> ClassificationMetrics:
    # Only one process writes a report: gathering the metrics would wait for the other processes forever.
    metrics = ClassificationMetrics(len(table.label_names), table.has_probabilities, sync_on_compute=False)
    scores = table.metric_scores
    for start in range(0, len(scores), WINDOW):
        window = slice(start, start + WINDOW)
        # `torch.tensor` copies: arrays of a file are read-only, which `torch.from_numpy` does not support.
        metrics.update(
            torch.tensor(scores[window]), torch.tensor(table.labels[window]), torch.tensor(table.predictions[window])
        )
    return metrics


def _scores(table: PredictionTable) -> dict[str, float]:
    """All metrics; if a temperature was applied, `nll` and `ece` without it as well."""
    scores = {key: score.item() for key, score in _accumulate(table).compute().items()}
    if table.has_probabilities and table.temperature != 1:
        own = torch.from_numpy(table.log_scores * table.temperature).log_softmax(dim=1).numpy()
        before = _scores(replace(table, log_scores=own, temperature=1.0))
        scores |= {f"{key}_uncalibrated": before[key] for key in ("nll", "ece")}
    return scores


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _table_lines(table: PredictionTable, accuracy: float) -> list[str]:
    from sklearn.metrics import classification_report  # takes a second to import

    classes = range(len(table.label_names))
    with warnings.catch_warnings():
        # scikit-learn takes a small split with many classes for a regression problem.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        scores = classification_report(
            table.labels, table.predictions, labels=classes, zero_division=0, output_dict=True
        )
    total = len(table.labels)
    width = max(map(display_width, (*table.label_names, "weighted avg")))

    def line(name: str, row: dict[str, float]) -> str:
        numbers = "".join(f" {row[key]:>9.4f}" for key in ("precision", "recall", "f1-score"))
        return f"{align_right(name, width)} {numbers} {row['support']:>9.0f}"

    return [
        " " * width + " " + "".join(f" {name:>9}" for name in ("precision", "recall", "f1-score", "support")),
        "",
        *(line(name, scores[str(index)]) for index, name in enumerate(table.label_names)),
        "",
        f"{align_right('accuracy', width)} {'':>10}{'':>10} {accuracy:>9.4f} {total:>9}",
        line("macro avg", scores["macro avg"]),
        line("weighted avg", scores["weighted avg"]),
    ]
