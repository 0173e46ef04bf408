import json
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from textclf.data.columns import TABLE_COLUMNS
from textclf.errors import UserError
from textclf.evaluation import prediction_table
from textclf.evaluation.metrics import ClassificationMetrics, predicted_classes
from textclf.evaluation.prediction_table import read_column, read_predictions, write_predictions
from textclf.evaluation.report import classification_report_text, table_intervals

NAN = np.nan
COLUMNS = {"id": ["7", "b", "9"], "text": ["재미있다", "so so", "two\nlines"], "label": [1, 0, 2]}
ROWS = {
    "rows": [COLUMNS],
    "predictions": np.array([1, -1, 1]),
    "log_scores": np.array([[-1.6, -0.4, -2.3], [NAN, NAN, NAN], [-np.inf, -0.7, -0.7]]),
    "label_names": ["부정", "긍정", 'a, "b"'],
}


def test_round_trip(tmp_path):
    path = tmp_path / "report" / "predictions.parquet"
    write_predictions(path, **ROWS)
    table = read_predictions(path)
    assert table.ids == COLUMNS["id"]
    assert table.texts == COLUMNS["text"]
    assert table.text_pairs is None
    assert table.labels.tolist() == [1, 0, 2]
    assert table.labels.dtype == np.int64
    assert table.predictions.tolist() == [1, -1, 1]
    assert table.predictions.dtype == np.int64
    np.testing.assert_array_equal(table.log_scores, ROWS["log_scores"])
    assert table.label_names == tuple(ROWS["label_names"])
    assert table.has_probabilities is True
    np.testing.assert_array_equal(table.metric_scores, ROWS["log_scores"])
    assert [file.name for file in path.parent.iterdir()] == ["predictions.parquet"]


def test_file_format(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(path, **(ROWS | {"rows": [COLUMNS | {"text_pair": ["x", "y", "z"]}]}))
    table = pq.read_table(path)
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string",
        "text": "string",
        "text_pair": "string",
        "label": "int64",
        "prediction": "int64",
        "label_name": "dictionary<values=string, indices=int32, ordered=0>",
        "prediction_name": "dictionary<values=string, indices=int32, ordered=0>",
        "scores": "list<element: double>",
    }
    assert table["label_name"].to_pylist() == ["긍정", "부정", 'a, "b"']
    assert table["prediction_name"].to_pylist() == ["긍정", None, "긍정"]
    assert table["scores"].to_pylist()[1] is None
    assert json.loads(table.schema.metadata[b"label_names"]) == ROWS["label_names"]
    assert json.loads(table.schema.metadata[b"has_probabilities"]) is True
    assert read_predictions(path).text_pairs == ["x", "y", "z"]


def test_a_table_without_names_and_thresholds_is_read(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(path, **ROWS)
    table = pq.read_table(path)
    metadata = {name: value for name, value in table.schema.metadata.items() if name != b"thresholds"}
    pq.write_table(table.drop_columns(["label_name", "prediction_name"]).replace_schema_metadata(metadata), path)
    old = read_predictions(path, np.array([2, 0]))
    assert (old.labels.tolist(), old.predictions.tolist(), old.thresholds) == ([2, 1], [1, 1], None)


def test_thresholds_are_kept_and_reported(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(path, **ROWS, thresholds={"부정": 0.2, "긍정": 0.3, 'a, "b"': 0.5})
    table = read_predictions(path)
    assert table.thresholds == {"부정": 0.2, "긍정": 0.3, 'a, "b"': 0.5}
    line = 'highest probability divided by its threshold (부정 0.2, 긍정 0.3, a, "b" 0.5)'
    intervals = table_intervals(table)
    assert line in classification_report_text(table, intervals)
    assert "decision" not in classification_report_text(replace(table, thresholds=None), intervals)


def test_a_row_with_one_nan_is_invalid(tmp_path):
    scores = np.array([[NAN, -0.1], [-0.1, -2.0]])
    write_predictions(
        tmp_path / "p.parquet",
        [{"id": ["0", "1"], "text": ["", ""], "label": [0, 0]}],
        predictions=predicted_classes(torch.tensor(scores)).numpy(),
        log_scores=scores,
        label_names=["a", "b"],
    )
    table = read_predictions(tmp_path / "p.parquet")
    assert table.predictions.tolist() == [-1, 0]
    assert np.isnan(table.log_scores[0]).all()


def test_without_probabilities_predictions_remain(tmp_path):
    write_predictions(tmp_path / "p.parquet", **ROWS, has_probabilities=False)
    assert pq.read_table(tmp_path / "p.parquet")["scores"].null_count == 3
    table = read_predictions(tmp_path / "p.parquet")
    assert table.has_probabilities is False
    assert table.predictions.tolist() == [1, -1, 1]
    assert np.isnan(table.log_scores).all()
    assert table.log_scores.shape == (3, 3)
    inf = np.inf
    np.testing.assert_array_equal(table.metric_scores, [[-inf, 0, -inf], [NAN, NAN, NAN], [-inf, 0, -inf]])
    metrics = ClassificationMetrics(3, has_probabilities=False)
    metrics.update(torch.tensor(table.metric_scores), torch.tensor(table.labels))
    assert metrics.confusion_matrix().tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 300, 2000])
def test_many_rows_in_several_windows(tmp_path, size):
    random = np.random.default_rng(0)
    scores = random.normal(size=(2000, 4))
    scores[::7] = NAN
    labels = random.integers(0, 4, 2000)
    texts = [str(number) for number in range(2000)]
    path = tmp_path / "p.parquet"
    predictions = predicted_classes(torch.tensor(scores)).numpy()
    windows = (
        {"id": texts[a : a + size], "text": texts[a : a + size], "label": labels[a : a + size]}
        for a in range(0, 2000, size)
    )
    write_predictions(path, windows, predictions=predictions, log_scores=scores, label_names="abcd")
    table = read_predictions(path)
    np.testing.assert_array_equal(table.predictions, predictions)
    np.testing.assert_array_equal(table.log_scores, scores)
    np.testing.assert_array_equal(table.labels, labels)
    assert table.ids == table.texts == texts
    numbers = read_predictions(path, texts=False)
    assert (numbers.ids, numbers.texts) == ([], [])
    np.testing.assert_array_equal(numbers.log_scores, scores)
    picked = read_predictions(path, np.array([1999, 0, 301, 300]))
    assert picked.texts == ["1999", "0", "301", "300"]
    np.testing.assert_array_equal(picked.log_scores, scores[[1999, 0, 301, 300]])


@pytest.mark.parametrize("change", [{"log_scores": np.zeros((2, 3))}, {"label_names": ["a", "b"]}])
def test_scores_of_another_shape_are_an_error(tmp_path, change):
    with pytest.raises(ValueError, match="one row per prediction, one score per label name"):
        write_predictions(tmp_path / "p.parquet", **(ROWS | change))
    assert not list(tmp_path.iterdir())


def test_columns_of_unequal_length_leave_the_file_unchanged(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(path, **ROWS)
    with pytest.raises(ValueError):
        write_predictions(path, **(ROWS | {"rows": [COLUMNS | {"text": ["one"]}]}))
    with pytest.raises(ValueError, match="there are 0 rows, and 3 predictions"):
        write_predictions(path, **(ROWS | {"rows": []}))
    assert read_predictions(path).texts == COLUMNS["text"]
    assert [file.name for file in tmp_path.iterdir()] == ["p.parquet"]


def test_columns_of_the_source_are_kept_with_their_types(tmp_path):
    columns = {
        "author": ["A", None, "가"],
        "stars": [None, 4, 5],
        "share": [0.5, None, NAN],
        "seen": [True, None, False],
    }
    columns |= {"day": [date(2024, 1, 2), None, date(2024, 1, 3)], "nothing": [None, None, None]}
    kinds = [pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.null()]
    windows = []
    for row in range(3):  # alone, a window of missing values would have another type
        windows.append({name: values[row : row + 1] for name, values in (COLUMNS | columns).items()})
    path = tmp_path / "p.parquet"
    write_predictions(path, **(ROWS | {"rows": windows}), kept=dict(zip(columns, kinds, strict=True)))
    table = read_predictions(path)
    assert list(table.kept) == list(columns)
    for name in ("author", "stars", "seen", "day", "nothing"):
        assert table.kept[name] == read_column(path, name) == columns[name]
    assert table.kept["share"][:2] == [0.5, None]
    frame = table.to_pandas()
    assert list(frame)[-6:] == list(columns)
    assert frame["author"].isna().tolist() == [False, True, False]
    assert read_predictions(path, np.array([2, 0])).kept["author"] == ["가", "A"]
    assert read_predictions(path, texts=False).kept == {}
    with pytest.raises(
        UserError, match=r"no column 'writer' \(kept: author, stars, .*\): run with --data.keep_columns"
    ):
        read_column(path, "writer")


def test_the_names_that_kept_columns_cannot_have():
    assert {*prediction_table.COLUMNS, *prediction_table.NAMES, *prediction_table.TEXTS} == {*TABLE_COLUMNS}


@pytest.mark.parametrize(
    ("version", "message"), [("2", "version 2, and this textclf reads version 1"), ("x", "version x")]
)
def test_a_table_of_a_later_version_is_refused(version, message, tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(path, **ROWS)
    table = pq.read_table(path)
    assert table.schema.metadata[b"version"] == b"1"
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"version": version}), path)
    with pytest.raises(UserError, match=message):
        read_predictions(path)
    without = {key: value for key, value in table.schema.metadata.items() if key != b"version"}
    pq.write_table(table.replace_schema_metadata(without), path)
    assert read_predictions(path).ids == COLUMNS["id"]


def replaced(path, column, values):
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), path)


def with_metadata(path, key, value):
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, key: value}), path)


def test_ids_may_be_whole_numbers(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(path, **ROWS)
    replaced(path, "id", [7, 8, 9])
    assert read_predictions(path).ids == ["7", "8", "9"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_text("id,text\n"), "not a Parquet file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "not a Parquet file"),
        (lambda path: pq.write_table(pa.table({"id": ["1"], "text": ["a"]}), path), "no label, prediction"),
        (lambda path: pq.write_table(pq.read_table(path).replace_schema_metadata(), path), "no label_names"),
        (lambda path: with_metadata(path, b"has_probabilities", "yes"), "not a whole prediction table"),
        (lambda path: with_metadata(path, b"label_names", "3"), "not a whole prediction table"),
        (lambda path: replaced(path, "scores", [[0.5], [0.5], [0.5]]), "3 numbers in each row"),
        (lambda path: replaced(path, "label", [0, 1, 3]), "below 3"),
        (lambda path: replaced(path, "label", ["a", "b", "c"]), "not a whole prediction table"),
        (lambda path: replaced(path, "prediction", [0, None, 1]), "nulls"),
    ],
)
def test_user_errors_are_one_line_with_path_and_remedy(tmp_path, spoil, says):
    path = tmp_path / "p.parquet"
    write_predictions(path, **ROWS)
    spoil(path)
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    message = str(caught.value)
    assert says in message
    assert str(path) in message
    assert "report/predictions.parquet" in message
    assert "\n" not in message
