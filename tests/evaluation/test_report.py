import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, classification_report, f1_score, matthews_corrcoef

from textclf.console import display_width
from textclf.errors import UserError
from textclf.evaluation.intervals import accuracy_interval, count_intervals, mean_interval
from textclf.evaluation.prediction_table import PredictionTable, write_predictions
from textclf.evaluation.provenance import Provenance
from textclf.evaluation.report import (
    classification_report_text,
    interval_fields,
    summarize,
    table_intervals,
    write_report,
)


def made_table(label_names, rows=60, invalid=0, has_probabilities=True, seed=0):
    random = np.random.default_rng(seed)
    num_classes = len(label_names)
    labels = random.integers(0, num_classes, rows)
    scores = random.normal(size=(rows, num_classes))
    scores[np.arange(rows), labels] += 1
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    predictions = scores.argmax(axis=1)
    predictions[:invalid] = -1
    scores[:invalid] = np.nan
    return PredictionTable(
        ids=[str(row) for row in range(rows)],
        texts=["text"] * rows,
        labels=labels,
        predictions=predictions,
        log_scores=scores if has_probabilities else np.full_like(scores, np.nan),
        label_names=tuple(label_names),
        has_probabilities=has_probabilities,
    )


def write_table(path, table):
    write_predictions(
        path,
        [{"id": table.ids, "text": table.texts, "label": table.labels}],
        predictions=table.predictions,
        log_scores=table.metric_scores,
        label_names=table.label_names,
        has_probabilities=table.has_probabilities,
        temperature=table.temperature,
        thresholds=table.thresholds,
    )


def report_text(table):
    return classification_report_text(table, table_intervals(table))


def test_summary_of_two_classes():
    table = made_table("ab", invalid=3)
    summary = summarize(table, examples_per_second=12.5)
    assert list(summary) == [
        "test/accuracy",
        "test/macro_f1",
        "test/weighted_f1",
        "test/macro_precision",
        "test/macro_recall",
        "test/precision",
        "test/recall",
        "test/f1",
        "test/mcc",
        "test/nll",
        "test/brier",
        "test/ece",
        "test/majority_accuracy",
        "test/invalid",
        "examples",
        "examples_per_second",
    ]
    assert summary["test/accuracy"] == pytest.approx(accuracy_score(table.labels, table.predictions))
    assert summary["test/mcc"] == pytest.approx(matthews_corrcoef(table.labels, table.predictions))
    f1 = f1_score(table.labels, table.predictions, labels=[1], average=None)[0]
    assert summary["test/f1"] == pytest.approx(f1)
    assert (summary["test/invalid"], summary["examples"]) == (3, 60)
    assert type(summary["test/invalid"]) is type(summary["examples"]) is int
    assert summary["examples_per_second"] == 12.5


def test_summary_without_probabilities_counts_from_the_predictions():
    with_probabilities = summarize(made_table("abc", invalid=3), split="val")
    without = summarize(made_table("abc", invalid=3, has_probabilities=False), split="val")
    assert without == with_probabilities | {"val/nll": None, "val/brier": None, "val/ece": None}
    assert "val/f1" not in without


def test_the_effect_of_a_temperature_is_reported(tmp_path):
    plain = made_table("abc", invalid=2)
    scaled = plain.log_scores / 2.5
    scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    write_table(tmp_path / "p.parquet", replace(plain, log_scores=scaled, temperature=2.5))
    metrics, before = write_report(tmp_path, tmp_path / "p.parquet"), summarize(plain)
    assert metrics["test/nll_uncalibrated"] == pytest.approx(before["test/nll"])
    assert metrics["test/ece_uncalibrated"] == pytest.approx(before["test/ece"], abs=1e-6)
    assert metrics["test/ece"] != pytest.approx(before["test/ece"], abs=1e-3)
    assert metrics["test/accuracy"] == before["test/accuracy"]
    line = (tmp_path / "report.txt").read_text().splitlines()[-1]
    nll, ece = before["test/nll"], before["test/ece"]
    assert line == f"temperature:             2.5000 (at 1: NLL {nll:.4f}, ECE {ece:.4f})"


def test_a_report_names_its_data_and_method(tmp_path):
    table = made_table("ab")
    write_table(tmp_path / "p.parquet", table)
    known = Provenance("validation", "Data", "Method", "best.ckpt", 7, 100, "2026-01-02T03:04:05+00:00")
    metrics = write_report(tmp_path, tmp_path / "p.parquet", known)
    assert metrics["validation/accuracy"] == summarize(table)["test/accuracy"]
    assert metrics["validation/mcc_low"] == table_intervals(table)["mcc"].low
    assert {name: metrics[name] for name in ("data", "method", "checkpoint", "seed", "train_rows", "split")} == {
        "data": "Data",
        "method": "Method",
        "checkpoint": "best.ckpt",
        "seed": 7,
        "train_rows": 100,
        "split": "validation",
    }
    head, _, rest = (tmp_path / "report.txt").read_text().partition("\n\n")
    assert head.splitlines() == known.lines(60)
    assert rest == report_text(table)


@pytest.mark.parametrize(
    ("split", "changes", "note"),
    [
        ("validation", {"temperature": 2.0}, "temperature fitted"),
        ("validation", {"thresholds": {"a": 0.2, "b": 0.8}}, "thresholds fitted"),
        ("validation", {"temperature": 2.0, "thresholds": {"a": 0.2, "b": 0.8}}, "thresholds and temperature fitted"),
        ("validation", {}, None),
        ("test", {"temperature": 2.0}, None),
    ],
)
def test_figures_on_the_rows_that_something_was_fitted_to_are_marked(split, changes, note, tmp_path):
    write_table(tmp_path / "p.parquet", replace(made_table("ab"), **changes))
    write_report(tmp_path, tmp_path / "p.parquet", Provenance(split))
    notes = [line for line in (tmp_path / "report.txt").read_text().splitlines() if line.startswith("note:")]
    assert notes == ([f"note:       {note} to validation rows: these figures are optimistic"] if note else [])


@pytest.mark.parametrize("name", ["test/accuracy", "test/extra", "missing_classes", "examples", "seed"])
def test_further_numbers_do_not_replace_those_of_the_report(name, tmp_path):
    write_table(tmp_path / "p.parquet", made_table("ab"))
    with pytest.raises(UserError, match=f"figures.. gave '{name}', which the report has already"):
        write_report(tmp_path, tmp_path / "p.parquet", figures={name: 1.0}, extra_metrics={"extra": 0.5})


def test_metrics_json_is_strict(tmp_path):
    table = made_table("ab")
    table.log_scores[0] = np.where(np.arange(2) == table.labels[0], -np.inf, 0.0)  # infinite NLL
    write_table(tmp_path / "p.parquet", table)
    metrics = write_report(tmp_path / "report", tmp_path / "p.parquet", examples_per_second=float("nan"))

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "report" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=refuse) == metrics
    assert metrics["test/nll"] is None
    assert metrics["examples_per_second"] is None
    assert metrics["test/nll_low"] is None
    assert metrics["test/brier_low"] < metrics["test/brier"] < metrics["test/brier_high"]
    assert metrics["test/ece"] is not None
    assert text.startswith('{\n  "test/accuracy"')


@pytest.mark.parametrize(
    "label_names", [["negative", "positive"], ["accuracy", "macro avg", "x" * 30, "World", "never"]]
)
def test_the_table_is_that_of_scikit_learn(label_names):
    table = made_table(label_names)
    table.labels[table.labels == 4] = 0  # leaves a class without support
    expected = classification_report(
        table.labels,
        table.predictions,
        labels=range(len(label_names)),
        target_names=label_names,
        digits=4,
        zero_division=0,
    )
    assert report_text(table).startswith(expected.rstrip("\n") + "\n\n")


@pytest.mark.parametrize(
    ("rows_of", "missing"),
    [
        ("abcd", []),
        ("abd", ["c"]),
        ("b", ["a", "c", "d"]),
    ],
)
def test_classes_without_rows_are_marked(tmp_path, rows_of, missing):
    table = made_table("abcd")
    table = replace(table, labels=np.array([table.label_names.index(name) for name in rows_of * 60])[:60])
    write_table(tmp_path / "p.parquet", table)
    metrics = write_report(tmp_path, tmp_path / "p.parquet")
    assert (
        metrics["missing_classes"] == json.loads((tmp_path / "metrics.json").read_text())["missing_classes"] == missing
    )
    marks = [line for line in (tmp_path / "report.txt").read_text().splitlines() if line.startswith("classes without")]
    expected = f"classes without rows:    {', '.join(missing)} (each counts 0 in the macro averages)"
    assert marks == ([expected] if missing else [])
    # What the mark says: scikit-learn's mean over all classes, with 0 for those without rows.
    f1 = f1_score(table.labels, table.predictions, labels=range(4), average="macro", zero_division=0)
    assert metrics["test/macro_f1"] == pytest.approx(f1)


def test_invalid_answers_leave_the_accuracy_line():
    table = made_table(["negative", "positive"], invalid=5)
    lines = report_text(table).splitlines()
    accuracy = accuracy_score(table.labels, table.predictions)
    assert [line.split() for line in lines if line.strip().startswith("accuracy ")] == [
        ["accuracy", f"{accuracy:.4f}", "60"]
    ]
    assert "invalid answers:         5" in lines
    assert "examples:                60" in lines


def test_text_has_the_other_metrics():
    table = made_table("abc")
    text = report_text(table)
    summary = summarize(table)
    intervals = table_intervals(table)
    for name, key in (
        ("accuracy:", "accuracy"),
        ("macro F1:", "macro_f1"),
        ("majority class accuracy:", "majority_accuracy"),
        ("Matthews correlation:", "mcc"),
        ("NLL (nats):", "nll"),
        ("Brier score (0 to 2):", "brier"),
        ("ECE (15 bins):", "ece"),
    ):
        line = f"{name:<25}{summary[f'test/{key}']:.4f}"
        if key in intervals:
            line += f"   {intervals[key].low:.4f} to {intervals[key].high:.4f}"
        assert f"{line}\n" in text
    text = report_text(made_table("abc", has_probabilities=False))
    assert text.count("no probabilities") == 3


@pytest.mark.parametrize(
    ("table", "unknown"),
    [
        (made_table("ab", rows=200), []),
        (made_table([str(index) for index in range(150)], rows=900, invalid=3), []),
        (made_table(["부정", "긍정", "중립"], rows=150, invalid=40), []),
        (made_table("abc", rows=7, invalid=2), []),
        (made_table("abc", has_probabilities=False), ["nll", "brier"]),
        (made_table("ab", rows=9, invalid=9), ["nll", "brier"]),
        (made_table("ab", rows=1), ["nll", "brier"]),
        (replace(made_table("ab", rows=300), temperature=2.0), []),
    ],
)
def test_intervals_of_a_table(table, unknown):
    rows, num_classes = table.log_scores.shape
    fields = interval_fields(table_intervals(table), rows)
    matrix = np.zeros((num_classes, num_classes + 1), dtype=int)
    for label, prediction in zip(table.labels, table.predictions, strict=True):
        matrix[label, prediction] += 1  # -1 is the last column
    nll, brier = (losses[table.predictions >= 0] for losses in table.row_losses)
    expected = {
        "accuracy": accuracy_interval(int(matrix.trace()), rows),
        **count_intervals(matrix),
        "nll": mean_interval(nll),
        "brier": mean_interval(brier),
    }
    for name, interval in expected.items():
        found = [fields[f"test/{key}"] for key in (f"{name}_low", f"{name}_high")]
        assert found == ([None, None] if name in unknown else pytest.approx(interval[1:])), name
    assert fields["smallest_visible"] == pytest.approx(2.8016 * np.sqrt(0.1 / rows), rel=1e-4)


def test_the_smallest_difference_in_words():
    lines = report_text(made_table("abc", rows=1066)).splitlines()
    assert "smallest difference:     2.7 points of accuracy between two methods are found in four of five" in lines
    assert f"{'':<25}paired tests at 5 %, if exactly one of the two is right on 10 % of the rows (assumed)" in lines


@pytest.mark.parametrize(("rows", "warned"), [(60, True), (1_000, False)])
def test_intervals_that_may_be_too_narrow_are_marked(rows, warned):
    line = f"{'':<25}intervals may be too narrow: {rows} rows are fewer than 300"
    assert (line in report_text(made_table("ab", rows=rows))) == warned


def test_hangul_names_are_aligned():
    names = ["부정", "매우 긍정적인 반응", "mixed"]
    lines = report_text(made_table(names)).splitlines()
    rows = [line for line in lines if line.strip().startswith((*names, "macro avg", "accuracy "))]
    assert len(rows) == 5
    assert len({display_width(line) for line in rows}) == 1


def test_more_classes_than_half_the_rows_gives_no_warning(recwarn):
    report_text(made_table([str(index) for index in range(40)], rows=30))
    assert not recwarn.list


def test_report_leaves_no_other_files(tmp_path):
    write_table(tmp_path / "p.parquet", made_table(["부정", "긍정"], invalid=2))
    for _ in range(2):
        write_report(str(tmp_path / "report"), str(tmp_path / "p.parquet"))
    names = sorted(file.name for file in (tmp_path / "report").iterdir())
    assert names == ["metrics.json", "report.txt"]
    assert "긍정" in (tmp_path / "report" / "report.txt").read_text(encoding="utf-8")


def test_table_without_rows_is_a_user_error(tmp_path):
    write_table(tmp_path / "p.parquet", made_table("ab", rows=0))
    with pytest.raises(UserError, match=r"p\.parquet.*no rows"):
        write_report(tmp_path / "report", tmp_path / "p.parquet")
    assert not (tmp_path / "report").exists()
