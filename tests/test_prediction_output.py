import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textclf.errors import UserError
from textclf.prediction_output import _ParquetSink, open_sink

ANSWERED = {"id": "0", "text": '좋다 "x"\n', "label": "높음", "score": 0.75, "scores": {"낮음": 0.25, "높음": 0.75}}
UNSURE = {"id": "1", "text": "b", "label": "낮음", "score": None, "scores": None}
NONE = {"id": "x", "text": "", "label": None, "score": None, "scores": None}
ROWS = [ANSWERED, UNSURE, NONE]
DECIDED = [
    {**ANSWERED, "label": "낮음", "decision": "thresholds", "thresholded_scores": {"낮음": 0.9, "높음": 0.1}},
    {**NONE, "decision": "thresholds", "thresholded_scores": None},
]


def read_output(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = pq.read_table(path).to_pylist()
    return [{name: dict(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows]


@pytest.mark.parametrize("name", ["out.jsonl", "new/folder/out.parquet"])
@pytest.mark.parametrize(("rows", "thresholds"), [(ROWS, False), (DECIDED, True)])
def test_sink(tmp_path, name, rows, thresholds):
    path = tmp_path / name
    with open_sink(str(path), thresholds) as sink:
        sink(iter(rows[:1]))
        sink([])
        assert not path.exists()
        sink(rows[1:])
    assert read_output(path) == rows
    assert list(path.parent.iterdir()) == [path]


def test_hangul_is_written_as_it_is(tmp_path):
    with open_sink(str(tmp_path / "out.jsonl")) as sink:
        sink([ANSWERED])
    assert "좋다" in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_parquet_in_several_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(_ParquetSink, "ROWS", 4)
    path = tmp_path / "out.parquet"
    rows = [{**ANSWERED, "id": str(i)} for i in range(11)]
    with open_sink(str(path)) as sink:
        for i in range(0, 11, 3):
            sink(rows[i : i + 3])
    assert read_output(path) == rows
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [6, 5]
    assert file.schema_arrow.names == ["id", "text", "label", "score", "scores"]


def test_standard_output(capsys):
    with open_sink(None) as sink:
        sink(ROWS)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_nothing_to_write_gives_an_empty_file(tmp_path, name):
    with open_sink(str(tmp_path / name)):
        pass
    assert read_output(tmp_path / name) == []


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind_after_an_exception(tmp_path, name, error):
    with pytest.raises(error), open_sink(str(tmp_path / name)) as sink:
        sink(ROWS)
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_after_an_exception(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), open_sink(str(path)) as sink:
        sink({**row, "score": 1 / 0} for row in ROWS)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_row_that_does_not_fit_parquet_keeps_its_own_error(tmp_path):
    with pytest.raises(pa.ArrowInvalid) as raised, open_sink(str(tmp_path / "out.parquet")) as sink:
        sink([{**UNSURE, "score": "high"}] * _ParquetSink.ROWS)
    assert raised.value.__context__ is None
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.jsonl").mkdir()
    for name, message in (
        ("out.csv", r"out.csv': its suffix is neither .jsonl nor .parquet"),
        ("file/out.jsonl", r"file/out.jsonl' cannot be written \(.*\): name another file"),
        ("folder.jsonl", r"folder.jsonl' is a folder: name a file"),
    ):
        with pytest.raises(UserError, match=message), open_sink(str(tmp_path / name)):
            pytest.fail("it was opened")
