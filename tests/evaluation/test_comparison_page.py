"""What the page of a comparison holds."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from tests.evaluation.invented_comparison import comparison
from tests.evaluation.run_folders import write_run
from textclf.evaluation.comparison import compare_methods
from textclf.evaluation.pages.charts import Chart, Marks
from textclf.evaluation.pages.comparison_page import held_rows, rows_data, write_comparison_page
from textclf.evaluation.pages.comparison_parts import agreement_cells, quality_cells, speed_chart
from textclf.evaluation.run_records import find_runs


def compared(folder, *methods, rows=60, **options):
    """Compares invented runs, each of an accuracy."""
    for place, accuracy in enumerate(methods):
        write_run(folder / f"m{place}", f"M{place}", accuracy=accuracy, seed=place, rows=rows, **options)
    return compare_methods(find_runs([str(folder / "m*")]))


def held_data(path):
    packed = re.search(r'id="data">([^<]*)<', path.read_text(encoding="utf-8"))[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_all_rows_and_answers_are_in_the_page(tmp_path):
    values, methods = compared(tmp_path, 0.6, 0.9, 0.7)
    write_comparison_page(tmp_path / "c.html", values, methods)
    (data,) = held_data(tmp_path / "c.html")
    assert [method["name"] for method in data["methods"]] == ["M1", "M2", "M0"]
    for method, found in zip(methods["Toy"], data["methods"], strict=True):
        assert found["predictions"] == method.answers.predictions[0].tolist()
        best = np.exp(method.runs[0].table.log_scores.max(axis=1))
        assert found["confidences"] == pytest.approx(best, abs=0.001)
    assert data["ids"] == [f"row {row}" for row in range(60)]
    assert data["texts"][3] == "text of row 3"


def test_of_too_many_rows_those_that_methods_differ_on_are_kept(tmp_path):
    values, methods = compared(tmp_path, 0.7, 0.8, rows=300)
    answers = np.stack([method.answers.predictions[0] for method in methods["Toy"]])
    differing = np.flatnonzero(answers[0] != answers[1])
    rows = held_rows(methods["Toy"], len(differing) + 10, 10**9)
    assert len(rows) == len(differing) + 10
    assert set(differing) < set(rows)
    assert (np.diff(rows) > 0).all()
    few = held_rows(methods["Toy"], 300, 200)
    texts = methods["Toy"][0].runs[0].table.texts
    assert 0 < sum(len(texts[row]) for row in few) <= 200
    assert set(few) <= set(differing)
    write_comparison_page(tmp_path / "c.html", values, methods, most_rows=50)
    assert "This page holds 50 of 300 rows" in (tmp_path / "c.html").read_text(encoding="utf-8")


def test_invalid_answers_and_methods_without_probabilities(tmp_path):
    def unanswered(predictions, log_scores):
        predictions[0] = -1
        log_scores[0] = np.nan

    write_run(tmp_path / "m0", "M0", accuracy=0.9, change=unanswered)
    write_run(tmp_path / "m1", "M1", accuracy=0.5, has_probabilities=False)
    values, methods = compare_methods(find_runs([str(tmp_path / "m*")]))
    data = rows_data("Toy", methods["Toy"], np.arange(2))
    assert [method["confidences"] is None for method in data["methods"]] == [False, True]
    assert data["methods"][0]["predictions"][0] == -1
    assert data["methods"][0]["confidences"][0] is None
    write_comparison_page(tmp_path / "c.html", values, methods)
    assert held_data(tmp_path / "c.html")[0]["methods"][1]["confidences"] is None


def titles(cells):
    return [column["title"] for column in cells["columns"]]


@pytest.mark.parametrize("metric", ["accuracy", "nll"])
def test_the_leaderboard_has_the_metric_and_its_difference_first(metric):
    result = comparison(3)["data_sets"]["Toy"]
    cells = quality_cells(result, metric)
    wanted = {"accuracy": "accuracy %", "nll": "NLL"}[metric]
    assert titles(cells)[:7] == ["#", "group", "method", wanted, "", "difference", ""]
    assert [row[2]["text"] for row in cells["rows"]] == ["M0", "M1", "M2"]
    assert cells["rows"][0][5]["text"] == "baseline"
    value, low, high, least, most = cells["rows"][1][6]["interval"]
    assert least <= low < value < high <= most
    assert most >= 0  # the baseline


def test_columns_of_which_nothing_is_known_are_left_out():
    result = comparison(2)["data_sets"]["Toy"]
    for run in result["runs"]:
        run["metrics"]["brier"] = {"value": None, "low": None, "high": None}
    assert "Brier" not in titles(quality_cells(result, "accuracy"))


def test_cells_of_the_agreement_open_their_rows():
    result = comparison(3)["data_sets"]["Toy"]
    rows = agreement_cells(result, 4)["rows"]
    assert rows[0][3] == {"text": "31", "value": 31, "open": {"data": 4, "right": "0", "wrong": "2"}}
    assert rows[2][1] == {"text": "1,200", "value": 1200, "open": {"data": 4, "right": "2", "wrong": "0"}}
    assert rows[1][2]["text"] == ""


def test_no_chart_of_speeds_without_speeds():
    result = comparison(3)["data_sets"]["Toy"]
    assert [marks.name for marks in speed_chart(result, "accuracy").marks][:3] == ["1 M0", "2 M1", "3 M2"]
    for run in result["runs"]:
        run["speed_note"] = "not measured"
    assert speed_chart(result, "accuracy") is None


def test_a_logarithmic_axis():
    chart = Chart("t", "x", "y", [], x_range=(1.0, 100.0), x_percent=False, x_log=True)
    assert chart.x(10.0) == pytest.approx((chart.left + chart.right) / 2)
    assert [label for _, label in chart.x_ticks] == ["1", "10", "100"]


@pytest.mark.parametrize("points", [2, 5, 9])
def test_labels_of_near_points_cover_no_other(points):
    marks = [Marks(str(n), [0.5 + 0.001 * n], [0.5 + 0.01 * n], "dots", labels=[str(n)]) for n in range(points)]
    labels = Chart("t", "x", "y", marks).labels()
    assert [text for _, _, text in labels] == [str(n) for n in range(points)]
    for place, (x, y, _) in enumerate(labels):
        assert not any(abs(x - other) < 7 and abs(y - above) < 9 for other, above, _ in labels[:place])
