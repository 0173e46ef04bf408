"""What the page of a report holds: rows, groups, classes, and figures that agree with the report."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.evaluation.invented_report import report_folder, write_cartography
from tests.evaluation.test_page import unpacked
from textclf.errors import UserError
from textclf.evaluation.pages.report_page import write_report_page
from textclf.evaluation.pages.report_parts import cautions, class_table, column_groups, groupings
from textclf.evaluation.pages.report_rows import attributed, confusion_cells, embedded_rows, plain, rows_data
from textclf.evaluation.prediction_table import PredictionTable, read_predictions
from textclf.evaluation.shown_rows import shown_rows


def table(labels, predictions, classes=3, texts=None, **options):
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    scores = np.full((len(labels), classes), np.log(0.1 / (classes - 1)))
    scores[np.arange(len(labels)), predictions] = np.log(0.9)
    scores[predictions < 0] = np.nan
    texts = texts or [f"text {row}" for row in range(len(labels))]
    ids = [str(row) for row in range(len(labels))]
    return PredictionTable(ids, texts, labels, predictions, scores, tuple("abcdefghij"[:classes]), True, **options)


def data_of(page):
    return unpacked(re.search(r'id="data">([^<]*)<', page.read_text(encoding="utf-8"))[1])


def test_the_page_has_the_rows_and_figures_of_the_table(tmp_path):
    page = write_report_page(report_folder(tmp_path, rows=60, invalid=1))
    data = data_of(page)
    found = read_predictions(tmp_path / "predictions.parquet")
    assert page.name == "index.html"
    assert data["texts"] == found.texts
    assert data["predictions"] == found.predictions.tolist()
    assert data["confidences"][0] is None
    assert data["top"][0] == []
    row = np.exp(found.log_scores[5])
    assert data["top"][5][::2] == np.argsort(-row).tolist()
    assert data["top"][5][1::2] == pytest.approx(np.sort(row)[::-1], abs=1e-4)
    accuracy = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["test/accuracy"]
    assert f"{100 * accuracy:.1f} %" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["predictions.parquet", "metrics.json"])
def test_without_a_report_there_is_no_page(name, tmp_path):
    report_folder(tmp_path, rows=10)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=name):
        write_report_page(tmp_path)


def test_what_a_method_has_left_is_shown(tmp_path):
    weights = {"kind": "n-grams", "classes": {"class 0": [["best of", 2.0]]}}
    folder = report_folder(tmp_path, rows=30, weights=weights)
    assert "Training rows" not in write_report_page(folder).read_text(encoding="utf-8")
    write_cartography(folder)
    page = write_report_page(folder).read_text(encoding="utf-8")
    assert "best␣of" in page
    assert "over 3 epochs, 80 rows" in page


def test_a_page_with_too_many_rows_has_the_mistakes_first():
    labels = np.zeros(1000, dtype=int)
    predictions = np.where(np.arange(1000) % 10 == 0, 1, 0)
    found = table(labels, predictions)
    assert embedded_rows(found).tolist() == list(range(1000))
    rows = embedded_rows(found, most_rows=300)
    assert len(rows) == 300
    assert rows.tolist() == sorted(rows)
    assert set(np.flatnonzero(predictions == 1)) <= set(rows.tolist())
    assert set(shown_rows(found)["hits"]) <= set(rows.tolist())


def test_a_page_without_some_rows_says_so(tmp_path, monkeypatch):
    folder = report_folder(tmp_path, rows=40)
    monkeypatch.setattr("textclf.evaluation.pages.report_page.embedded_rows", lambda table: embedded_rows(table, 30))
    page = write_report_page(folder)
    assert "This page holds 30 of 40 rows" in page.read_text(encoding="utf-8")
    assert len(data_of(page)["ids"]) == 30


def test_a_file_that_is_not_json_is_named(tmp_path):
    folder = report_folder(tmp_path, rows=10)
    (folder / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json: not JSON"):
        write_report_page(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights.json", "{"),
        ("weights.json", "[]"),
        ("weights.json", '{"kind": "x"}'),
        ("weights.json", '{"kind": "x", "classes": []}'),
        ("weights.json", '{"kind": "x", "classes": {"a": [["b"]]}}'),
        ("weights.json", '{"kind": "x", "classes": {"a": [["b", "c"]]}}'),
        ("weights.json", "[" * 5000),
        ("weights.json", "\udcff"),
        ("attributions.json", "7"),
        ("attributions.json", "[" * 5000),
        ("metrics.json", "null"),
        ("metrics.json", "[]"),
        ("metrics.json", '{"test/accuracy": "x"}'),
        ("metrics.json", '{"test/accuracy_low": {}}'),
        ("run.json", "[1]"),
        ("cartography.parquet", ""),
        ("cartography.parquet", "PAR1"),
    ],
)
def test_a_damaged_file_of_a_report_is_named(name, content, tmp_path):
    folder = report_folder(tmp_path, rows=10)
    (folder / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UserError, match=f"{re.escape(name)}.*(run the test again|run fit again)"):
        write_report_page(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns("mean"),
        lambda table: table.drop_columns("text"),
        lambda table: table.set_column(3, "mean", [["x"] * len(table)]),
        lambda table: table.set_column(1, "text", [[None] * len(table)]),
        lambda table: table.set_column(4, "spread", [[None] * len(table)]),
    ],
)
def test_a_damaged_map_of_a_training_is_named(change, tmp_path):
    folder = report_folder(tmp_path, rows=10)
    write_cartography(folder)
    path = folder / "cartography.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(UserError, match=r"cartography\.parquet.*run fit again"):
        write_report_page(folder)


def test_a_page_with_too_many_characters_has_fewer_rows():
    found = table([0] * 100, [0] * 100, texts=["x" * 1000] * 100)
    assert len(embedded_rows(found, most_characters=25_000)) == 25
    data = rows_data(found, embedded_rows(found, most_characters=25_000))
    assert len(data["texts"]) == 25
    assert all(0 <= place < 25 for rows in data["lists"].values() for place in rows)


def test_cells_of_the_confusion_matrix():
    found = table([0, 0, 0, 1, 2, 2], [0, 0, 1, 1, -1, -1])
    cells = {(truth, prediction): count for truth, prediction, count in confusion_cells(found)}
    assert cells == {(0, 0): 2, (0, 1): 1, (1, 1): 1, (2, -1): 2}


def test_classes_are_sorted_by_mistakes():
    found = class_table(table([0, 0, 0, 1, 2, 2], [0, 1, 0, 1, 0, -1]))
    cells = [[cell["text"] for cell in row] for row in found["rows"]]
    assert [(row[0], row[1], row[2], row[3]) for row in cells] == [
        ("c", "2", "2", "0"),
        ("a", "3", "1", "3"),
        ("b", "1", "0", "2"),
    ]
    assert [row[9] for row in cells] == ["0.0 %", "66.7 %", "66.7 %"]


def test_groups_by_size_of_the_class():
    sizes = [1, 1, 2, 2, 30, 30, 60, 60]
    labels = np.repeat(np.arange(8), sizes)
    found = {grouping["filter"]: grouping["groups"] for grouping in groupings(table(labels, labels, classes=8))}
    assert [(group["name"], group["rows"], group["members"]["labels"]) for group in found["size"]] == [
        ("1 (2 classes)", 2, [0, 1]),
        ("2 (2 classes)", 4, [2, 3]),
        ("30 (2 classes)", 60, [4, 5]),
        ("60 (2 classes)", 120, [6, 7]),
    ]
    assert sum(group["rows"] for group in found["length"]) == 186


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["x", "y", "x", None], [("x", 2), ("(missing)", 1), ("y", 1)]),
        ([1, 2, 1, 1], [("1", 3), ("2", 1)]),
        ([True, False, True, True], [("true", 3), ("false", 1)]),
        ([None] * 4, [("(missing)", 4)]),
        (["", None, "", "a"], [("(empty)", 2), ("(missing)", 1), ("a", 1)]),
        (["a\0", "a", "a", "a"], [("a", 3), ("a\0", 1)]),
        ([2019.0, 2020.0, 2019.0, None], [("2019", 2), ("(missing)", 1), ("2020", 1)]),
        ([2**60, 2**60 + 1, 2**60, 1e-5], [(str(2**60), 2), (str(2**60 + 1), 1), ("1e-05", 1)]),
    ],
)
def test_groups_by_a_column(values, expected):
    groups = column_groups(table([0] * 4, [0] * 4), [plain(value) for value in values])
    assert [(group["name"], group["rows"]) for group in groups] == expected


def test_groups_by_a_column_of_many_numbers():
    values = [float(number) for number in range(80)]
    groups = column_groups(table([0] * 80, [0] * 80), values)
    assert [group["rows"] for group in groups] == [10] * 8
    assert (groups[0]["members"]["least"], groups[-1]["members"]["most"]) == (0.0, 79.0)


def test_groups_of_a_column_that_are_left_out_are_counted():
    kept = {"author": [f"author {row // 2}" for row in range(60)], "year": [2019.0] * 30 + [2020.0] * 30}
    found = groupings(table([0] * 60, [0] * 60, kept=kept))
    assert [grouping["title"] for grouping in found[1:]] == ["By author (20 rows in no group)", "By year"]


def test_a_text_longer_than_a_page_leaves_room_for_the_others():
    texts = ["x" * 100, "a", "b", "c" * 8]
    assert embedded_rows(table([0] * 4, [1, 1, 0, 0], texts=texts), most_characters=9).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"predictions": [0] * 219 + [1] * 181}, ["Intervals may be too narrow: 19 wrong rows are fewer than 20."]),
        (
            {"predictions": [-1] * 30 + [0] * 170 + [1] * 200},
            ["30 answers fit no class and count as wrong. NLL, Brier score and ECE are of the other rows."],
        ),
        ({"predictions": [-1] * 400}, ["400 answers fit no class and count as wrong."]),
        (
            {"thresholds": {"a": 0.25, "b": 0.75}},
            ["The prediction is the class with the highest probability divided by its threshold: a 0.25, b 0.75."],
        ),
        (
            {"classes": 3},
            [
                "Intervals may be too narrow: 0 rows of the rarest class are fewer than 20.",
                "Classes without rows: c (each counts 0 in the macro averages).",
            ],
        ),
    ],
)
def test_cautions(options, expected):
    options = {"labels": [0] * 200 + [1] * 200, "predictions": [0] * 220 + [1] * 180, "classes": 2} | options
    assert cautions(table(**options)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (2, 2),
        (2**53 + 1, str(2**53 + 1)),
        ("a", "a"),
        ([1], "[1]"),
        (b"x", "b'x'"),
    ],
)
def test_values_of_a_column_are_plain(value, expected):
    assert plain(value) == expected


def test_attributions_belong_to_rows_even_if_ids_occur_twice():
    attributions = {"2": {"id": "same", "tokens": ["x"]}, "5": {"id": "of another test", "tokens": ["y"]}}
    found = attributed(attributions, np.array([1, 2, 5]), ["same", "same", "last"])
    assert found == {"1": {"id": "same", "tokens": ["x"]}}
