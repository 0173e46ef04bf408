import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textclf.data.read_files import open_rows
from textclf.errors import UserError
from textclf.run.prediction_outputs import OutputColumns, _ParquetSink, open_sink, reserved_names

ANSWERED = {"id": "0", "text": '좋다 "x"\n', "label": "높음", "score": 0.75, "scores": {"낮음": 0.25, "높음": 0.75}}
UNSURE = {"id": "1", "text": "b", "label": "낮음", "score": None, "scores": None}
NONE = {"id": "x", "text": "", "label": None, "score": None, "scores": None}
ROWS = [ANSWERED, UNSURE, NONE]
DECIDED = [
    {**ANSWERED, "label": "낮음", "decision": "thresholds", "thresholded_scores": {"낮음": 0.9, "높음": 0.1}},
    {**NONE, "decision": "thresholds", "thresholded_scores": None},
]


def read_output(path):
    if path.suffix in (".csv", ".tsv"):
        return [row.values for row in open_rows(path)]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = pq.read_table(path).to_pylist()
    return [{name: dict(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows]


@pytest.mark.parametrize("name", ["out.jsonl", "new/folder/out.parquet"])
@pytest.mark.parametrize(("rows", "thresholds"), [(ROWS, False), (DECIDED, True)])
def test_sink(tmp_path, name, rows, thresholds):
    path = tmp_path / name
    with open_sink(str(path), OutputColumns(("낮음", "높음"), thresholds)) as sink:
        sink(iter(rows[:1]))
        sink([])
        assert not path.exists()
        sink(rows[1:])
    assert read_output(path) == rows
    assert list(path.parent.iterdir()) == [path]


KEPT = {"n": pa.int64(), "input_label": pa.string(), "when": pa.date32(), "tags": pa.list_(pa.string())}
CARRIED = [
    {**ANSWERED, "n": 3, "input_label": "a,\t\r\nb", "when": date(2024, 1, 1), "tags": ["x", None]},
    {**NONE, "n": None, "input_label": None, "when": None, "tags": None},
]
COLUMNS = OutputColumns(("낮음", "높음"), kept=KEPT)


def written(path, rows, columns=COLUMNS):
    with open_sink(str(path), columns) as sink:
        sink(rows)
    return path


def test_columns_that_are_carried_along(tmp_path):
    lines = read_output(written(tmp_path / "out.jsonl", CARRIED))
    assert lines == [{**CARRIED[0], "when": "2024-01-01"}, CARRIED[1]]
    table = pq.read_table(written(tmp_path / "out.parquet", CARRIED))
    assert {name: table.schema.field(name).type for name in KEPT} == KEPT
    assert table.select(list(KEPT)).to_pylist() == [{name: row[name] for name in KEPT} for row in CARRIED]


def test_values_that_json_does_not_have(tmp_path):
    values = {"a": float("nan"), "b": float("inf"), "c": b"\xff", "d": {"e": float("nan")}, "f": Decimal("1.50")}
    columns = OutputColumns(kept=dict.fromkeys(values, pa.string()))
    (line,) = read_output(written(tmp_path / "out.jsonl", [{**NONE, **values}], columns))
    assert line == {**NONE, "a": None, "b": "inf", "c": "/w==", "d": {"e": None}, "f": "1.50"}


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_delimited_outputs_are_read_as_they_were_written(tmp_path, capsys, suffix):
    path = written(tmp_path / f"out{suffix}", CARRIED)
    first, second = (row.values for row in open_rows(path))
    assert list(first) == ["id", "text", "label", "score", "score_낮음", "score_높음", *KEPT]
    assert (first["label"], first["score"], first["score_낮음"]) == ("높음", "0.75", "0.25")
    assert (first["n"], first["when"], first["tags"]) == ("3", "2024-01-01", '["x", null]')
    assert second == {**dict.fromkeys(second, ""), "id": "x"}
    said = capsys.readouterr().err
    if suffix == ".csv":
        assert (first["text"], first["input_label"], said) == ('좋다 "x"\n', "a,\t\r\nb", "")
    else:
        assert (first["text"], first["input_label"]) == ('좋다 "x" ', "a,  b")
        assert "1 row has tabs or line breaks, which are written as spaces" in said


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_text_comes_back_from_csv(texts):
    with TemporaryDirectory() as folder:
        rows = [{**UNSURE, "id": f"n{i}", "text": text} for i, text in enumerate(texts)]
        path = written(Path(folder, "out.csv"), rows, OutputColumns(("낮음", "높음")))
        assert [row.values["text"] for row in open_rows(path)] == texts


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_thresholds_in_delimited_outputs(tmp_path, suffix):
    columns = OutputColumns(("낮음", "높음"), thresholds=True)
    first, second = (row.values for row in open_rows(written(tmp_path / f"out{suffix}", DECIDED, columns)))
    assert (first["decision"], first["thresholded_score_낮음"]) == ("thresholds", "0.9")
    assert (second["decision"], second["thresholded_score_낮음"]) == ("thresholds", "")


def test_reserved_names():
    assert {"id", "label", "scores", "score_a b", "thresholded_score_a b"} < {*reserved_names(["a b"])}


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


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out.csv", "out.tsv"])
def test_nothing_to_write_gives_an_empty_file(tmp_path, name):
    with open_sink(str(tmp_path / name)):
        pass
    assert read_output(tmp_path / name) == []


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out.csv", "out.tsv"])
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
        ("out.txt", r"out.txt': its suffix is none of .jsonl, .csv, .tsv, .parquet"),
        (".csv", r".csv': its suffix is none of"),
        ("file/out.jsonl", r"file/out.jsonl' cannot be written \(.*\): name another file"),
        ("folder.jsonl", r"folder.jsonl' is a folder: name a file"),
    ):
        with pytest.raises(UserError, match=message), open_sink(str(tmp_path / name)):
            pytest.fail("it was opened")
