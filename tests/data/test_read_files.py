"""One reader for training and prediction: both give the same rows of a file, or refuse it with the same line."""

import csv
import json
import os
import re
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textclf.data import FilesDataModule
from textclf.data.labels import distinct_labels
from textclf.data.read_files import open_rows, read_file
from textclf.data.readers import delimited, parquet_rows
from textclf.data.standard import standard_columns
from textclf.errors import UserError
from textclf.run.prediction_inputs import read_texts


def trained_on(path, label="label", label_names=None):
    """Id, text and label of each row as training reads them."""
    source = read_file(path)
    names = label_names or (
        distinct_labels(source, label, "name another column") if label in source.column_names else ["a", "b"]
    )
    if label not in source.column_names:
        source = source.add_column("label", ["a"] * len(source))
    rows = standard_columns(source, text="text", text_pair=None, label=label, id_="id", label_names=names)
    return [(row["id"], row["text"], names[row["label"]]) for row in rows]


def predicted_on(path):
    return [(row["id"], row["text"]) for row in read_texts(None, str(path), "text").rows]


def both(path):
    """Id and text of each row, where training and prediction agree."""
    rows = [row[:2] for row in trained_on(path)]
    assert rows == predicted_on(path)
    return rows


def texts(path):
    return [text for _, text in both(path)]


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


TWO = ["a b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text,label\na b,x\nc,y\n", TWO),
        ("a.csv", "text,label\r\na b,x\r\nc,y\r\n", TWO),
        ("a.csv", "text,label\ra b,x\rc,y\r", TWO),
        ("a.csv", "text,label\na b,x\nc,y", TWO),
        ("a.csv", "\n\r\n  \ntext,label\na b,x\nc,y\n", TWO),
        ("a.csv", ",\ntext,label\na b,x\nc,y\n", TWO),
        ("a.csv", "text,label\n\na b,x\n \n\nc,y\n\n\n", TWO),
        ("a.csv", "\ufefftext,label\na b,x\nc,y\n", TWO),
        ("a.csv", "\ufeff\ufefftext,label\na b,x\nc,y\n", TWO),
        ("a.csv", '\ufeff"text","label"\n"a b","x"\nc,y\n', TWO),
        ("a.csv", ",text,label\n0,a b,x\n1,c,y\n", TWO),
        ("a.csv", ",,text,label\n0,u,a b,x\n1,v,c,y\n", TWO),
        ("a.csv", "text,label,\na b,x,\nc,y,\n", TWO),
        ("a.csv", "text,,label,,\na b,,x,,\nc,,y, ,\n", TWO),
        ("a.csv", 'text,label\n"a, b",x\n"c ""d""\ne",y\n', ["a, b", 'c "d"\ne']),
        ("a.csv", 'text,label\na "b" c,x\n5" tall,y\n', ['a "b" c', '5" tall']),
        ("a.csv", "text,label\na\0b,x\nc,y\n", ["a\0b", "c"]),
        ("a.csv", "text,label\nNA,x\n007,y\n,z\n2024-01-01,z\n", ["NA", "007", "", "2024-01-01"]),
        ("a.csv", "text;label\na, b;x\nc;y\n", ["a, b", "c"]),
        ("a.csv", 'text;label\n"a; b";x\nc;y\n', ["a; b", "c"]),
        ("a.csv", '"text";"label"\n"a; b";"x"\n"c";"y"\n', ["a; b", "c"]),
        ("a.csv", "text\tlabel\na, b\tx\nc\ty\n", ["a, b", "c"]),
        ("a.csv", '"text"\t"label"\n"a, ""b"""\t"x"\n"c"\t"y"\n', ['a, "b"', "c"]),
        ("a.csv", "sep=;\ntext;label\na, b;x\nc;y\n", ["a, b", "c"]),
        ("a.csv", "\ufeffsep=;\r\ntext;label\r\na, b;x\r\nc;y\r\n", ["a, b", "c"]),
        ("a.csv", '"sep=|"\ntext|label\na, b|x\nc|y\n', ["a, b", "c"]),
        ("a.csv", "sep=,\ntext,label\na b,x\nc,y\n", TWO),
        ("a.csv", 'text\n"a, b"\nc\n', ["a, b", "c"]),
        ("a.csv", "text\na, b\n\nc, d, e\nf\n", ["a, b", "c, d, e", "f"]),
        ("a.csv", 'text\nhe said "a, b", twice\n"a\n""b"", c"\nd\n', ['he said "a, b", twice', 'a\n"b", c', "d"]),
        ("a.csv", "text\r\na, b\r\nc\r\n", ["a, b", "c"]),
        ("a.tsv", 'text\tlabel\n"a" b\tx\n"c\ty\n', ['"a" b', '"c']),
        ("a.tsv", "text\tlabel\r\n\r\na b\tx\r\nc\ty\r\n", TWO),
        ("a.tsv", "\ttext\tlabel\n0\ta b\tx\n1\tc\ty\n", TWO),
        ("a.tsv", 'text\n"a", b\nc\n', ['"a", b', "c"]),
    ],
)
def test_delimited_files_are_read_as_meant(tmp_path, name, content, expected):
    assert texts(put(tmp_path, name, content)) == expected


REFUSED = [
    ("a.csv", "text,label\na, b,x\nc,y\n", "line 2 has 3 fields, .* 2 columns .text, label.: put texts that"),
    ("a.csv", 'id,text\n1, "a, b"\n2,c\n', "line 2 has 3 fields, .*: no space may come before the quotation mark"),
    ("a.csv", "text,label\na,x\nb\n", "line 3 has 1 field, but .* 2 columns"),
    ("a.csv", 'text,label\n"a\nb",x\n\nc, d,x\n', "line 5 has 3 fields"),
    ("a.csv", "text,label\na,x,\nb,y,\n", "line 2 has 3 fields, .* delete a comma at the end of the row"),
    ("a.csv", "text,label\na,x,,\nb,y,,\n", "line 2 has 4 fields, .* delete a comma at the end of the row"),
    ("a.csv", "text,label\na, b,\nc, d,\n", "line 2 has 3 fields"),
    ("a.csv", "id,text\n1,a\n2,b\n\n\n3,c, d\n", "line 6 has 3 fields"),
    ("a.csv", "text,label,\na,x,\nb, c,y\n", "line 3 has 'y' in column 3, which has no name"),
    ("a.csv", ",text,label\n0,a, b\n1,b,x\n2,c, d,y\n", "line 4 has 4 fields"),
    ("a.csv", "text,text,label\na,b,x\n", "line 1 names the column 'text' 2 times"),
    ("a.csv", "text,note,note\na,b,x\n", "line 1 names the column 'note' 2 times"),
    ("a.csv", 'text,label\na,x\n"b,y\nc,x\n', "line 3 has a quotation mark that is never closed"),
    ("a.csv", 'text,label\n"a "b" c",x\n', "line 2 has a quotation mark inside a quoted field"),
    ("a.csv", 'text,label\n"a \\"b\\" c",x\n', "line 2 has a quotation mark inside a quoted field"),
    ("a.csv", 'text,label\n"a",x\ntext,label\nb,y\n', "line 3 is the header again"),
    ("a.csv", 'text\n"a", she said, "b"\n', "line 2 has 3 fields, but the header names 1 column"),
    ("a.csv", 'text\nb\n"a" she said\n', "line 3 has a quotation mark inside"),
    ("a.csv", "text;label\na; b;x\nc;y\n", "line 2 has 3 fields, .* put texts that contain a semicolon in"),
    ("a.csv", "a film,x\nb film,y\n", "a film"),
    ("a.tsv", "text\tlabel\na\tb\tx\n", "line 2 has 3 fields, .*: a .tsv file has no quoting.* rename it to .csv"),
    ("a.tsv", 'text\tlabel\na\tx\n"b\nc"\ty\n', "line 3 has 1 field, .*: a .tsv file has no quoting"),
    ("a.tsv", '"text"\t"label"\n"a"\t"x"\n', "line 1 has quotation marks around names"),
    ("a.jsonl", '{"text": "a"}\n{"text": "b"\n', "line 2 is not a JSON object .Expecting ',' delimiter"),
    ("a.jsonl", '[{"text": "a"},\n{"text": "b"}]\n', "line 1 begins a JSON list: write one object on each line"),
    ("a.jsonl", '[{"text": "a"}]\n', "line 1 is a list, not a JSON object"),
    ("a.jsonl", '{\n  "text": "a"\n}\n', "line 1 is not a JSON object"),
    ("a.jsonl", '{"text": "a"}\n\n"b"\n', "line 3 is 'b', not a JSON object"),
    ("a.jsonl", '{"text": "a", "text": "b"}\n', "line 1 is not a JSON object .the field 'text' occurs twice"),
    ("a.jsonl", '{"text": "a"} {"text": "b"}\n', "line 1 is not a JSON object .Extra data"),
    ("a.jsonl", '{"text": "a"}\n{"text": ["b"]}\n', "column 'text' holds "),
    ("a.jsonl", '{"text": "a"}\n{"text": {"b": 1}}\n', "column 'text' holds "),
    ("a.jsonl", '{"text": "a", "id": {"b": 1}}\n', "column 'id' holds "),
    ("a.jsonl", "[" * 10**5 + "\n", "line 1 begins a JSON list"),
    ("a.jsonl", '{"text": ' + "[" * 10**5 + "\n", "line 1 is not a JSON object"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), REFUSED)
@pytest.mark.parametrize("read", [trained_on, predicted_on])
def test_what_does_not_fit_is_refused_with_its_line(tmp_path, name, content, message, read):
    path = put(tmp_path, name, content)
    with pytest.raises(UserError, match=message) as raised:
        read(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text;label\na;x\n", "is read with a semicolon between fields, since its header has no comma"),
        ("a.csv", "text\tlabel\na\tx\n", "is read with a tab between fields"),
        ("a.csv", "text\na\nb, c\nd, e\n", "a.csv' line 3 has a comma outside quotation marks: .* are read whole"),
        ("a.tsv", 'text\tlabel\n"a ""b"""\tx\n"c" d\ty\n"""e"" f"\ty\n', "2 of its first 3 fields that begin"),
        ("a.tsv", 'text\tlabel\n"a ""b"""\tx\n"c" d\ty\n', None),
        ("a.tsv", 'text\tlabel\n"a"\tx\n""b""\ty\n', None),
        ("a.csv", 'text,label\n"a ""b""",x\n"c; d",y\n', None),
        ("a.csv", 'text\n"a, b"\nc\n', None),
        ("a.csv", "sep=;\ntext;label\na;x\n", None),
    ],
)
def test_what_was_not_plain_is_said_once(tmp_path, capsys, name, content, said):
    path = put(tmp_path, name, content)
    both(path)
    both(path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (said is not None)
    assert said is None or re.search(said, lines[0])


@pytest.mark.parametrize(("lines", "said"), [(2, False), (3, True)])
def test_the_first_lines_tell_whether_a_file_is_quoted(tmp_path, capsys, monkeypatch, lines, said):
    monkeypatch.setattr(delimited, "SAMPLE", lines)
    both(put(tmp_path, "a.tsv", 'text\tlabel\na\tx\n"b ""c"""\ty\n'))
    assert ("is read as it is, without quoting" in capsys.readouterr().err) == said


JSON = [
    ([{"text": "2024-01-01"}, {"text": "007"}], ["0 2024-01-01", "1 007"]),
    ([{"text": "a", "id": "2024-01-01"}, {"text": "b", "id": "007"}], ["2024-01-01 a", "007 b"]),
    ([{"text": "a", "id": 7}, {"text": "b", "id": 8}], ["7 a", "8 b"]),
    ([{"text": "a", "id": 7}, {"text": "b", "id": "x"}, {"text": "c", "id": 1.5}], ["7 a", "x b", "1.5 c"]),
    ([{"text": "a", "id": 2**63}, {"text": "b", "id": 10**30}], [f"{2**63} a", f"{10**30} b"]),
    ([{"text": "a", "id": 1}, {"text": "b", "id": 2.0}], ["1 a", "2.0 b"]),
    ([{"text": "a", "id": True}, {"text": "b", "id": False}], ["true a", "false b"]),
    ([{"text": "a", "id": None}, {"text": "b", "id": float("nan")}, {"text": "c"}], ["0 a", "1 b", "2 c"]),
    ([{"text": "a", "id": ""}, {"text": "b", "id": "z"}], ["0 a", "z b"]),
    ([{"text": "a"}, {"text": 5}, {"text": "b", "more": 1}], ["0 a", "1 5", "2 b"]),
    ([{"text": "a", "label": "x"}, {"label": "y"}, {"text": None, "label": "y"}], ["0 a", "1 ", "2 "]),
    ([{"type": "chat", "message": {"to": 1}, "text": "a"}, {"type": 1, "message": "x", "text": "b"}], ["0 a", "1 b"]),
    ([{"text": "a", "tags": ["x", 1, None]}, {"text": "b", "tags": "none"}], ["0 a", "1 b"]),
    ([*[{"text": "a"}] * 11_000, {"text": "b", "late": {"x": 1}}], [*(f"{i} a" for i in range(11_000)), "11000 b"]),
]


@pytest.mark.parametrize(("rows", "expected"), JSON, ids=range(len(JSON)))
def test_json_lines_keep_their_values(tmp_path, rows, expected):
    path = put(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [f"{id_} {text}" for id_, text in both(path)] == expected


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (pa.array([1, 2], pa.uint64()), ["1", "2"]),
        (pa.array([1.0, float("nan")]), ["1.0", "1"]),
        (pa.array([True, None]), ["true", "1"]),
        (pa.array([date(2024, 1, 1), date(2024, 1, 2)]), ["2024-01-01", "2024-01-02"]),
        (pa.array([datetime(2024, 1, 1), None], pa.timestamp("ns")), ["2024-01-01T00:00:00", "1"]),
        (pa.array([datetime(2024, 1, 1, 9, 30)] * 2, pa.timestamp("us")), ["2024-01-01T09:30:00"] * 2),
        (pa.array([Decimal("1.10"), Decimal("2.00")]), ["1.10", "2.00"]),
        (pa.array(["007", "x"]).dictionary_encode(), ["007", "x"]),
        (pa.array([date(2024, 1, 1)] * 2).dictionary_encode(), ["2024-01-01"] * 2),
        (pa.array(["007", "x"], pa.large_string()), ["007", "x"]),
        (pa.array([None, None], pa.null()), ["0", "1"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_parquet_ids_and_labels_of_all_types(tmp_path, column, ids):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "id": column}), path)
    assert both(path) == [(ids[0], "a"), (ids[1], "b")]
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": pa.concat_arrays([column, column[:1]])}), path)
    if column.null_count or "1" in ids[1:]:
        with pytest.raises(UserError, match=r"row .* has no label in column 'label'"):
            trained_on(path)
    else:
        assert [label for _, _, label in trained_on(path)] == [*ids, ids[0]]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"a", b"b"]),
        pa.array([b"a", b"b"], pa.large_binary()),
        pa.array([b"aa", b"bb"], pa.binary(2)),
        pa.array([["a"], ["b"]]),
        pa.array([{"a": 1}] * 2),
        pa.array([[("a", 1.0)]] * 2, pa.map_(pa.string(), pa.float64())),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("name", ["text", "id"])
def test_parquet_columns_that_hold_no_single_values(tmp_path, column, name):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", "y"], "other": column}), path)
    assert texts(path) == ["a", "b"]
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", "y"]} | {name: column}), path)
    for read in (trained_on, predicted_on):
        with pytest.raises(UserError, match=f"column '{name}' holds "):
            read(path)


def test_parquet_is_decoded_in_parts_that_fit_into_memory(tmp_path, monkeypatch):
    """A text that is stored once may be that of any number of rows: 1 MB here, 1 GB in memory."""
    monkeypatch.setattr(parquet_rows, "DECODED_BYTES", 4_000_000)
    texts = ["x" * 1_000_000, "y"]
    places = [0] * 990 + [1] * 10
    column = pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(texts))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": column, "label": ["a", None] * 500}), path)
    assert path.stat().st_size < 200_000
    rows = open_rows(path)
    read = []
    for batch in rows.batches():
        assert batch.num_rows == 1 or batch["text"].nbytes < 5_000_000
        read += zip(map(len, batch["text"].to_pylist()), batch["label"].to_pylist(), strict=True)
    assert read == [(len(texts[place]), ["a", None][row % 2]) for row, place in enumerate(places)]
    cursor = rows.cursor()
    assert cursor.skip(985) == 985
    assert [(row.number, len(row.values["text"])) for row in cursor] == [
        (number, len(texts[places[number - 1]])) for number in range(986, 1001)
    ]


def test_parquet_with_two_columns_of_one_name(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), path)
    for read in (trained_on, predicted_on):
        with pytest.raises(UserError, match="several columns 'text'"):
            read(path)


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["2023-01-01", "2024-01-01"], None, ["2023-01-01", "2024-01-01"]),
        (["2023-01-01", "2024-01-01"], ["2024-01-01", "2023-01-01"], ["2023-01-01", "2024-01-01"]),
        ([1, 0], ["no", "yes"], ["yes", "no"]),
        ([1.0, 0.0], ["no", "yes"], ["yes", "no"]),
        ([1.0, 0.0], None, ["1.0", "0.0"]),
        ([True, False], None, ["true", "false"]),
        ([True, False], ["False", "True"], ["True", "False"]),
        ([1, "x"], None, ["1", "x"]),
        (["007", "7"], None, ["007", "7"]),
    ],
)
def test_labels_of_json_lines_and_parquet(tmp_path, labels, names, expected):
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
    path = put(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [label for _, _, label in trained_on(path, label_names=names)] == expected
    if len({type(label) for label in labels}) == 1:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        assert [label for _, _, label in trained_on(tmp_path / "a.parquet", label_names=names)] == expected


@pytest.mark.parametrize("label", ["NaN", "null", None])
def test_a_label_that_is_not_there(tmp_path, label):
    last = "" if label is None else f', "label": {label}'
    path = put(
        tmp_path, "a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n{"text": "c"' + last + "}\n"
    )
    with pytest.raises(UserError, match=r"row 2 .* has no label in column 'label'"):
        trained_on(path)
    with pytest.raises(UserError, match=r"row 2 .* has no label"):
        trained_on(path, label_names=["x", "y"])


TABLE = {
    "id": ["007", "2024-01-01", "c"],
    "text": ['say "hi", twice', "2024-01-01", "재미있다"],
    "label": ["1", "0", "1"],
    "more": ["x", "1", ""],
}


def test_one_table_in_all_kinds_of_files(tmp_path):
    lines = list(zip(*TABLE.values(), strict=True))
    quoted = (",".join('"' + value.replace('"', '""') + '"' for value in line) for line in [tuple(TABLE), *lines])
    put(tmp_path, "a.csv", "\r\n".join(quoted))
    put(tmp_path, "a.tsv", "\n".join("\t".join(line) for line in [tuple(TABLE), *lines]))
    put(tmp_path, "a.jsonl", "\n".join(json.dumps(dict(zip(TABLE, line, strict=True))) for line in lines))
    pq.write_table(pa.table(TABLE), tmp_path / "a.parquet")
    for suffix in ("csv", "tsv", "jsonl", "parquet"):
        assert both(tmp_path / f"a.{suffix}") == list(zip(TABLE["id"], TABLE["text"], strict=True)), suffix


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@settings(max_examples=60)
@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=5), st.sampled_from([",", ";", "\t"]))
def test_whatever_is_written_with_quoting_is_read_back(tmp_path_factory, rows, delimiter):
    rows = [*rows, ("", "a")]  # texts that are all numbers are refused
    path = tmp_path_factory.mktemp("any") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("note", "text"), *rows])
    assert texts(path) == [text for _, text in rows]


@settings(max_examples=60)
@given(st.lists(ANY, min_size=1, max_size=5))
def test_whatever_is_written_as_json_or_as_one_column_is_read_back(tmp_path_factory, written):
    written = [*written, "a"]
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in written), encoding="utf-8"
    )
    assert texts(path) == written
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text",), *((text,) for text in written)])
    assert [text for _, text in predicted_on(path.with_suffix(".csv"))] == written


def test_rows_tell_where_they_are(tmp_path):
    path = put(tmp_path, "a.csv", '\ntext,label\n"a\nb",x\n\nc,y\n')
    assert [(row.number, row.values) for row in open_rows(path)] == [
        (3, {"text": "a\nb", "label": "x"}),
        (6, {"text": "c", "label": "y"}),
    ]
    path = put(tmp_path, "b.csv", 'text\n"a\nb"\n\nc, d\n"e"\n')
    assert [row.number for row in open_rows(path)] == [2, 5, 6]
    path = put(tmp_path, "c.jsonl", '\n{"text": "a"}\n\n{"text": "b"}\n')
    assert [row.number for row in open_rows(path)] == [2, 4]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_file_replaced_by_one_of_the_same_size_and_time_is_read_again(tmp_path, suffix):
    found = []
    for text in ("warm", "cold"):
        path = tmp_path / f"train.{suffix}"
        separator = {"csv": ",", "tsv": "\t"}.get(suffix)
        if separator:
            path.write_text(f"text{separator}label\n{text}{separator}x\nother{separator}y\n")
        elif suffix == "jsonl":
            path.write_text(f'{{"text": "{text}", "label": "x"}}\n{{"text": "other", "label": "y"}}\n')
        else:
            pq.write_table(pa.table({"text": [text, "other"], "label": ["x", "y"]}), path, compression="none")
        os.utime(path, (315532800, 315532800))
        rows = FilesDataModule(str(tmp_path), val_size=0).rows("train")
        found.append((path.stat().st_size, path.stat().st_mtime_ns, rows["text"][0], texts(path)[0]))
    assert found[0][:2] == found[1][:2]
    assert [row[2:] for row in found] == [("warm", "warm"), ("cold", "cold")]


def test_an_encoding_is_detected_again_where_size_and_time_are_the_same(tmp_path):
    path = tmp_path / "a.csv"
    read = []
    for content in ("text,label\n가나다,x\nb,y\n".encode(), "text,label\n가나다abc,x\nb,y\n".encode("cp949")):
        path.write_bytes(content)
        os.utime(path, (315532800, 315532800))
        read.append((path.stat().st_size, texts(path)))
    assert read == [(read[0][0], ["가나다", "b"]), (read[0][0], ["가나다abc", "b"])]
