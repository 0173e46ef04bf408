import gzip
import io
import json
import pickle
import re
import sys
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textclf.data.read_files import open_rows
from textclf.errors import UserError
from textclf.run.prediction_files import INPUTS, check_output_apart
from textclf.run.prediction_inputs import read_texts
from textclf.run.prediction_outputs import OUTPUTS, OutputColumns, open_sink

TEXTS = ["재미있다", "NA", 'say "hi"', "", "007", "a, b"]


def numbered(texts):
    return [{"id": str(i), "text": text} for i, text in enumerate(texts)]


def read(path, text_column="text", pair=None):
    return list(read_texts(None, str(path), text_column, pair).rows)


def test_texts_themselves():
    assert list(read_texts(["a", ""], None, "text").rows) == numbered(["a", ""])
    assert list(read_texts([], None, "text").rows) == []


@pytest.mark.parametrize(("texts", "source"), [(None, None), (["a"], "b.txt")])
def test_one_of_texts_and_input(texts, source):
    with pytest.raises(UserError, match=r"pass --texts .* or --input FILE .*, one of the two"):
        read_texts(texts, source, "text")


def write(path, mark=""):
    """Writes TEXTS as the kind of file that the suffix names."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"label": [0] * 6, "text": TEXTS}), path)
        return path
    content = {
        ".txt": "\n".join(TEXTS),
        ".csv": 'text,label\n재미있다,0\nNA,0\n"say ""hi""",0\n"",0\n007,0\n"a, b",0\n',
        ".tsv": "text\tlabel\n" + "".join(f"{text}\t0\n" for text in TEXTS),
        ".jsonl": "\n\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS),
    }[path.suffix]
    path.write_text(mark + content, encoding="utf-8")
    return path


def test_the_guide_to_configurations_names_all_kinds_of_files():
    text = (Path(__file__).parents[2] / "configs" / "README.md").read_text(encoding="utf-8")
    assert {*INPUTS, *OUTPUTS} <= {*re.findall(r"`(\.\w+)`", text)}


@pytest.mark.parametrize("suffix", INPUTS)
def test_all_kinds_of_files_give_the_same_rows(tmp_path, suffix):
    assert read(write(tmp_path / f"in{suffix}")) == numbered(TEXTS)
    assert read(write(tmp_path / f"in{suffix}", mark="\ufeff")) == numbered(TEXTS)


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
def test_other_encodings_are_detected_and_reported(tmp_path, capsys, suffix, encoding):
    path = write(tmp_path / f"in{suffix}")
    path.write_bytes(path.read_bytes().decode().encode(encoding))
    assert read(path) == numbered(TEXTS)
    assert f"in{suffix}': detected encoding {encoding};" in capsys.readouterr().err


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_standard_input(monkeypatch, mark):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{mark}좋다\n\n  b \r\nlast"))
    assert list(read_texts(None, "-", "text").rows) == numbered(["좋다", "", "  b ", "last"])


def test_standard_input_that_is_no_text(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("좋다\n".encode("cp949")), encoding="utf-8"))
    with pytest.raises(UserError, match=r"standard input cannot be read at row 1 .*utf-8"):
        list(read_texts(None, "-", "text").rows)


def test_columns(tmp_path):
    path = tmp_path / "in.jsonl"
    rows = [{"id": 7, "q": "a", "p": "b"}, {"id": None, "q": 0, "p": None}, {"q": None, "p": "c"}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read(path, "q", "p") == [
        {"id": "7", "text": "a", "text_pair": "b"},
        {"id": "1", "text": "0", "text_pair": ""},
        {"id": "2", "text": "", "text_pair": "c"},
    ]
    for columns, wanted in ((("text",), "text"), (("body",), "body"), (("q", "other"), "other")):
        with pytest.raises(UserError, match=f"in.jsonl' has no column '{wanted}': it has id, q, p"):
            read(path, *columns)


def test_column_of_texts_may_be_called_text(tmp_path):
    (tmp_path / "in.csv").write_text("id,text\nx,a\n", encoding="utf-8")
    assert read(tmp_path / "in.csv", "document") == [{"id": "x", "text": "a"}]


def test_line_breaks_in_quotes(tmp_path):
    (tmp_path / "in.csv").write_bytes(b'text\r\n"a\nb"\r\n"c\r\nd"\r\n')
    assert read(tmp_path / "in.csv") == numbered(["a\nb", "c\r\nd"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": "b"}\n{"text": \n', "a.jsonl' line 3 is not a JSON object"),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n', "a.jsonl' line 2 is a list, not a JSON object"),
        ("a.jsonl", b'{"text": "a"}\n5\n', "a.jsonl' line 2 is 5, not a JSON object"),
        ("a.jsonl", b'{"txt": "a"}\n{"id": 1}\n', "a.jsonl' has no column 'text': it has txt, id"),
        ("a.csv", b'text,label\na,0\n"no end,0\nb,1\n', "a.csv' line 3 has a quotation mark that is never closed"),
        ("a.txt", "나쁘다\n".encode("cp949") + "좋아요\n".encode(), "a.txt' mixes encodings: line 2 is not cp949"),
        ("a.parquet", b"PAR1 cut off", "cannot load the file '.*a.parquet'"),
        ("a.xlsx", b"x", r"the suffix '.xlsx' is not one of .txt, .parquet, .csv, .tsv, .jsonl"),
        ("a.txt", None, "a.txt' does not exist: give a file that does, or - for standard input"),
    ],
)
def test_inputs_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        read(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_rows_before_a_broken_one_are_given(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,0\nb,0\nc, d,0\n", encoding="utf-8")
    rows = read_texts(None, str(tmp_path / "a.csv"), "text").rows
    assert [next(rows), next(rows)] == numbered(["a", "b"])
    with pytest.raises(UserError, match="line 4"):
        next(rows)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
def test_empty_input(tmp_path, suffix):
    (tmp_path / f"in{suffix}").touch()
    assert read(tmp_path / f"in{suffix}") == []


# Columns that are carried along

TABLE = "id,text,author,label,score_a,input_label\n7,좋다,kim,x,1,y\n"
RESERVED = ("id", "text", "label", "score", "score_a")


def kept(path, keep, text_column="text"):
    inputs = read_texts(None, str(path), text_column, keep=keep, reserved=RESERVED)
    rows = [row.get("kept", {}) for row in inputs.rows]
    assert all({*row} == {*inputs.kept} for row in rows)
    return rows, inputs.kept


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("all", {"author": "kim", "input_input_label": "x", "input_score_a": "1", "input_label": "y"}),
        (["label", "author"], {"input_label": "x", "author": "kim"}),
        (["id", "text"], {"input_id": "7", "input_text": "좋다"}),
        (["author", "author"], {"author": "kim"}),
        ([], {}),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_columns_are_kept(tmp_path, suffix, keep, expected):
    path = tmp_path / f"in{suffix}"
    path.write_text(TABLE.replace(",", "\t") if suffix == ".tsv" else TABLE, encoding="utf-8")
    assert kept(path, keep) == ([expected], dict.fromkeys(expected, pa.string()))


def test_kept_columns_have_the_types_of_the_input(tmp_path):
    types = {"n": pa.int32(), "when": pa.timestamp("us"), "tags": pa.list_(pa.string()), "raw": pa.binary()}
    row = {"n": 3, "when": datetime(2024, 1, 1), "tags": ["x"], "raw": b"b"}
    schema = pa.schema([("text", pa.string()), *types.items()])
    pq.write_table(pa.Table.from_pylist([{"text": "a", **row}], schema), tmp_path / "in.parquet")
    assert kept(tmp_path / "in.parquet", "all") == ([row], types)
    values = {"n": 3, "mixed": 1, "tags": ["x"], "about": {"a": 1}}
    lines = [{"text": "a", **values}, {"text": "b", "mixed": "x"}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows, found = kept(tmp_path / "in.jsonl", "all")
    assert rows == [values, {"n": None, "mixed": "x", "tags": None, "about": None}]
    assert found == {"n": pa.int64(), "mixed": pa.string(), "tags": pa.string(), "about": pa.string()}


MAP = pa.map_(pa.string(), pa.int64())


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        (pa.array([[("가", 1), ("b", None)], None], MAP), ['{"가": 1, "b": null}', ""]),
        (pa.array([[(7, "x")], []], pa.map_(pa.int64(), pa.string())), ['{"7": "x"}', "{}"]),
        (pa.array([[("d", date(2024, 1, 2))], []], pa.map_(pa.string(), pa.date32())), ['{"d": "2024-01-02"}', "{}"]),
        (pa.array([[[("a", 1)]], []], pa.list_(MAP)), ['[{"a": 1}]', "[]"]),
        (pa.array([{"m": [("a", 1)]}, None], pa.struct([("m", MAP)])), ['{"m": {"a": 1}}', ""]),
        (pa.array([{"x": "가"}, None]), ['{"x": "가"}', ""]),
        (pa.array([["가"], []]), ['["가"]', "[]"]),
        (pa.array([["가"], []], pa.list_view(pa.string())), ['["가"]', "[]"]),
        (pa.array([UUID(int=1).bytes, None], pa.uuid()), [str(UUID(int=1)), ""]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_lists_and_objects_of_parquet_are_written_as_json(tmp_path, column, cells):
    pq.write_table(pa.table({"text": ["a", "b"], "more": column}), tmp_path / "in.parquet")
    rows, types = kept(tmp_path / "in.parquet", ["more"])
    with open_sink(str(tmp_path / "out.csv"), OutputColumns(kept=types)) as sink:
        sink({"id": "", "text": "", "label": "", "score": 0, "scores": None, **row} for row in rows)
    assert [row.values["more"] for row in open_rows(tmp_path / "out.csv")] == cells


def test_columns_of_another_name_for_texts(tmp_path):
    (tmp_path / "in.csv").write_text("document,text\na b,c\n")
    assert kept(tmp_path / "in.csv", "all", "document")[0] == [{"input_text": "c"}]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("in.csv", r"--keep: .*in.csv' has no column 'autor': it has id, text, author"),
        ("in.txt", r"--input .*in.txt' has no columns to keep: leave --keep and --keep_all out"),
        ("-", "standard input has no columns to keep"),
        (None, "--texts has no columns to keep"),
    ],
)
def test_columns_that_cannot_be_kept(tmp_path, monkeypatch, source, message):
    (tmp_path / "in.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "in.txt").write_text("a\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        read_texts(None if source else ["a"], source, "text", keep=["autor"])


@pytest.mark.parametrize("content", ["", "text,author\n"])
def test_nothing_to_keep(tmp_path, content):
    (tmp_path / "in.csv").write_text(content)
    assert kept(tmp_path / "in.csv", "all")[0] == []


def test_the_remedy_for_a_column_that_is_not_there(tmp_path):
    (tmp_path / "in.csv").write_text("a,b\n1,x\n")
    with pytest.raises(UserError, match=r"has no column 'q': it has a, b; call the column of texts 'text'$"):
        read_texts(None, str(tmp_path / "in.csv"), "q")
    options = {"text": "--data.text_column", "text_pair": "--data.text_pair_column"}
    with pytest.raises(UserError, match=r"'text', or name it with --data.text_column$"):
        read_texts(None, str(tmp_path / "in.csv"), "q", options=options)
    with pytest.raises(UserError, match=r"call the column of texts 'p', or name it with --data.text_pair_column$"):
        read_texts(None, str(tmp_path / "in.csv"), "b", "p", options=options)


# Several files


@pytest.fixture
def corpus(tmp_path):
    """A folder with files of all kinds, six rows each, and what is not read of it."""
    for name in ("part-10.csv", "part-2.jsonl", "part-1.parquet", "part-11.txt"):
        write(tmp_path / name)
    plain = write(tmp_path / "part-3.tsv")
    (tmp_path / "part-3.tsv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "notes.md").touch()
    (tmp_path / ".part-0.csv").write_text("text\nhidden\n")
    (tmp_path / "empty.csv").touch()
    return tmp_path


def test_a_folder_is_read_in_natural_order(corpus, capsys):
    assert read(corpus) == numbered(TEXTS * 5)
    assert f"{str(corpus)!r}: 6 files, from '{corpus}/empty.csv' to '{corpus}/part-11.txt'" in capsys.readouterr().err
    assert read(f"{corpus}/") == numbered(TEXTS * 5)


@pytest.mark.parametrize(
    ("pattern", "number"), [("part-1*", 3), ("*.csv", 1), ("part-[23]*", 2), ("**/*.parquet", 2), ("*/*.parquet", 1)]
)
def test_a_pattern(corpus, pattern, number):
    (corpus / "inner").mkdir()
    write(corpus / "inner" / "a.parquet")
    assert read(f"{corpus}/{pattern}") == numbered(TEXTS * number)


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    assert read(write(tmp_path / "a[1].csv")) == numbered(TEXTS)


def test_files_in_folders_inside_the_folder_are_named(corpus, capsys):
    (corpus / "inner").mkdir()
    write(corpus / "inner" / "a.parquet")
    read(corpus)
    assert f"1 files in folders inside it are not read; '{corpus}/**/*.parquet' would" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing-*.csv", r"nothing-\*.csv' matches no file"),
        ("*", r"notes.md': the suffix '.md' is not one of .txt, .parquet"),
        ("inner", r"inner' is a folder without a file of texts: give files with .txt, .parquet"),
        ("outer", r"outer' is a folder without a file of texts: give a pattern such as '.*outer/\*\*/\*.csv'"),
    ],
)
def test_inputs_without_files(corpus, source, message):
    (corpus / "inner").mkdir()
    (corpus / "outer" / "more").mkdir(parents=True)
    write(corpus / "outer" / "more" / "a.csv")
    (corpus / "_SUCCESS").unlink()
    with pytest.raises(UserError, match=message):
        read(corpus / source)


def test_an_empty_name_is_not_the_current_folder(corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    with pytest.raises(UserError, match="--input '' is empty: give a file, a folder, a pattern, or -"):
        read_texts(None, "", "text")


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("in/a.csv", "in/a.csv", "is a file of the input: name another file"),
        ("in/a.csv", "in/../in/a.csv", "is a file of the input"),
        ("in/a.csv", "link/a.csv", "is a file of the input"),
        ("in", "in/b.jsonl", "is a file of the input"),
        ("in/*", "in/b.jsonl", "is a file of the input"),
        ("in", "in/", "the input has 'in/a.csv', which is in that folder"),
        ("in/inner/*.csv", "in/", "the input has 'in/inner/c.csv', which is in that folder"),
        ("in", ".", "which is in that folder"),
        ("in", "in/c.jsonl", None),
        ("in", "in/inner/", None),
        ("in/inner/*.csv", "in/inner/d.csv", None),
        ("in", "inn/", None),
        ("in", None, None),
        (None, "in/a.csv", None),
    ],
)
def test_an_output_that_is_in_the_input_is_refused(tmp_path, monkeypatch, source, output, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "in" / "a.csv").write_text("text\na\n")
    (tmp_path / "in" / "b.jsonl").write_text('{"text": "b"}\n')
    (tmp_path / "in" / "inner" / "c.csv").write_text("text\nc\n")
    inputs = read_texts(["a"] if source is None else None, source, "text")
    if message is None:
        check_output_apart(output, inputs.files)
        return
    with pytest.raises(UserError, match=re.escape(message)):
        check_output_apart(output, inputs.files)


def test_ids_are_row_numbers_over_all_files_where_a_file_has_none(tmp_path):
    (tmp_path / "1.csv").write_text("text,id\na,x\nb,\n")
    (tmp_path / "2.csv").write_text("text\nc\n")
    assert [row["id"] for row in read(tmp_path)] == ["x", "1", "2"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=10))
def test_rows_that_another_process_reads_are_skipped(steps):
    with TemporaryDirectory() as folder:
        for name in ("1.csv", "2.parquet", "3.jsonl", "4.txt"):
            write(Path(folder, name))
        inputs = read_texts(None, folder, "text")
        reader, expected = inputs.reader(), numbered(TEXTS * 4)
        for skips, number in steps:
            wanted = expected[reader.position : reader.position + number]
            if skips:
                assert reader.skip(number) == len(wanted)
            else:
                assert list(reader.take(number)) == wanted
        rest = expected[reader.position :]
        assert list(reader.take(100)) == rest


def test_inputs_are_sent_to_other_processes(corpus):
    inputs = read_texts(None, f"{corpus}/part-*", "text")
    assert list(pickle.loads(pickle.dumps(inputs)).rows) == numbered(TEXTS * 5)
    assert [entry["path"] for entry in inputs.content] == [
        str(corpus / f"part-{name}") for name in ("1.parquet", "2.jsonl", "3.tsv.gz", "10.csv", "11.txt")
    ]


def test_columns_are_kept_from_several_files(tmp_path):
    (tmp_path / "1.csv").write_text("text,n,more\na,1,x\n")
    pq.write_table(pa.table({"more": [None], "text": ["b"], "n": [2]}), tmp_path / "2.parquet")
    assert kept(tmp_path, "all") == (
        [{"n": "1", "more": "x"}, {"more": None, "n": 2}],
        dict.fromkeys(["n", "more"], pa.string()),
    )
    pq.write_table(pa.table({"text": ["b"], "n": [2]}), tmp_path / "3.parquet")
    assert kept(tmp_path, ["n"])[0] == [{"n": "1"}, {"n": 2}, {"n": 2}]
    with pytest.raises(
        UserError, match=r"3.parquet' has the columns n to keep, but .*1.csv' has n, more: name columns"
    ):
        kept(tmp_path, "all")
    (tmp_path / "4.txt").touch()
    with pytest.raises(UserError, match=r"4.txt' has no columns to keep"):
        kept(tmp_path, ["n"])
