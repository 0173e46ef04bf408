import unicodedata

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from textclf.data.cleaning import DropUnknownLabels
from textclf.data.files import FilesDataModule
from textclf.data.labels import (
    distinct_labels,
    label_indexer,
    looks_like,
    normalized_name,
    normalized_names,
    say_alike,
)
from textclf.data.sets.nsmc import NSMCDataModule
from textclf.errors import UserError

NAMES = ("negative", "positive")
REMEDY = "name another column"
NAN = float("nan")


def indices(source, label_names=NAMES, keep_unknown=False):
    labels = source["label"][:]
    return label_indexer(source, "label", label_names, REMEDY, keep_unknown)(labels, list(range(len(labels))))


def nfd(text):
    return unicodedata.normalize("NFD", text)


def of(labels, names=None):
    rows = {"text": [f"text {i}" for i in range(len(labels))], "label": labels}
    if names is None:
        return Dataset.from_dict(rows)
    return Dataset.from_dict(rows, features=Features({"text": Value("string"), "label": ClassLabel(names=names)}))


@pytest.mark.parametrize(
    ("source", "label_names", "expected"),
    [
        (of(["positive", "negative"]), NAMES, [1, 0]),
        (of([1, 0, 1]), NAMES, [1, 0, 1]),
        (of(["1", "0"]), NAMES, [1, 0]),
        (of([1, 0], names=["negative", "positive"]), NAMES, [1, 0]),
        (of([1, 0], names=["positive", "negative"]), NAMES, [0, 1]),
        (of([1, 0], names=["neg", "pos"]), NAMES, [1, 0]),
        (of([2, 0], names=["negative", "neutral", "positive"]), NAMES, [1, 0]),
        (of([1, 5, 3]), ("1", "3", "5"), [0, 2, 1]),
        (of(["5", "1"]), ("1", "3", "5"), [2, 0]),
        (of([-1, 1]), ("-1", "1"), [0, 1]),
        (of([2.0, 1.0]), ("1.0", "2.0"), [1, 0]),
        (of([True, False]), ("True", "False"), [0, 1]),
        (of([True, False]), ("true", "false"), [0, 1]),
        (of([1.0, 0.0]), NAMES, [1, 0]),
        (of([1.0, 2.0]), ("1", "2"), [0, 1]),
        (of([1, 2]), ("1.0", "2.0"), [0, 1]),
        (of([nfd("긍정"), " 긍정 ", "\ufeff부정"]), ("부정", "긍정"), [1, 1, 0]),
        (of(["긍정", "부정"]), (nfd("부정"), nfd("긍정")), [1, 0]),
        (of([1, 0], names=[nfd("긍정"), "부정"]), ("부정", "긍정"), [0, 1]),
        (of(["cafe\u0301"]), ("café", "bar"), [0]),
        (of([1, 0], names=["0", "1"]), ("1", "0"), [0, 1]),
    ],
    ids=lambda value: "rows" if isinstance(value, Dataset) else str(value),
)
def test_labels_become_indices(source, label_names, expected):
    assert indices(source, label_names) == expected


@pytest.mark.parametrize(
    ("source", "label_names", "message"),
    [
        (of(["positive", "good"]), NAMES, "row 1 has the label 'good' in column 'label': known are 'negative', 'posi"),
        (of([0, 1, 2]), NAMES, "row 2 has the label 2"),
        (of([0, -1]), NAMES, "row 1 has the label -1"),
        (
            of(["positive", None]),
            NAMES,
            r"row 1 \(counted from 0\) has no label in column 'label': .* name another col",
        ),
        (of(["x", None]), ("x", "None"), "row 1 .* has no label"),
        (of(["positive", " "]), NAMES, "row 1 .* has no label"),
        (of([1.0, NAN]), NAMES, "row 1 .* has no label"),
        (of([NAN, 1.0]), ("nan", "1.0"), "row 0 .* has no label"),
        (of([1.5]), NAMES, "row 0 has the label 1.5"),
        (of(["Positive"]), NAMES, r"\('Positive' looks like 'positive', but is another name\); correct it"),
        (of(["positve"]), NAMES, r"\(did you mean 'positive'\?\)"),
        (of(["p\u043esitive"]), NAMES, r"\('p.sitive' \('p\\u043esitive'\) looks like 'positive', but"),
        (of(["１점"]), ("1점", "2점"), r"\('１점' \('\\uff11\\uc810'\) looks like '1점' \('1\\uc810'\), but"),
        (of([0, 1]), ("1", "3"), "row 0 has the label 0"),
        (of([0, 1], names=["negative", "neutral", "positive"]), NAMES, "row 1 has the label 1"),
    ],
    ids=lambda value: "rows" if isinstance(value, Dataset) else str(value)[:24],
)
def test_unknown_label_names_row_and_label(source, label_names, message):
    with pytest.raises(UserError, match=message):
        indices(source, label_names)


def test_unknown_and_missing_labels_may_be_kept():
    assert indices(of(["positive", None, "good", " "]), keep_unknown=True) == [1, -1, -1, -1]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (of(["b", "a", "b"]), ["a", "b"]),
        (of([10, 9, 10]), ["10", "9"]),
        (of([True, False]), ["false", "true"]),
        (of([2.0, 1.0]), ["1.0", "2.0"]),
        (of([0], names=["z", "a"]), ["z", "a"]),
        (of([0], names=[nfd("부정"), " 긍정"]), ["부정", "긍정"]),
        (of([nfd("긍정"), "긍정", "부정\n", " 부정"]), ["긍정", "부정"]),
    ],
)
def test_distinct_labels(source, names):
    assert distinct_labels(source, "label", REMEDY) == names


@pytest.mark.parametrize("missing", [None, "", " \n"])
def test_distinct_labels_without_some(missing):
    source = of([*["a", "b"] * 6000, missing])
    with pytest.raises(
        UserError, match=r"row 12000 \(counted from 0\) has no label in column 'label': .* name another"
    ):
        distinct_labels(source, "label", REMEDY)
    assert distinct_labels(source, "label", REMEDY, ignore_missing=True) == ["a", "b"]
    with pytest.raises(UserError, match=r"row 1 .* has no label"):
        distinct_labels(of([1.0, NAN]), "label", REMEDY)
    with pytest.raises(UserError, match="there is no label column 'y': the rows have text, label; name another column"):
        distinct_labels(source, "y", REMEDY)


def test_a_column_of_other_things_than_labels():
    names = [f"name {i:04}" for i in range(10_000)]
    assert distinct_labels(of(names[:1000] * 11), "label", REMEDY) == names[:1000]
    message = (
        "column 'label' has 10,000 values in its first 10,000 rows, such as 'name 0000' and 'name 0001': "
        "name another column, or give label_names if all of them are labels"
    )
    with pytest.raises(UserError, match=message):
        distinct_labels(of(names), "label", REMEDY)
    for values in ([["a"], ["b", "c"]], [b"a", b"b"]):
        with pytest.raises(UserError, match=r"column 'label' holds .*, not single labels: name another column"):
            distinct_labels(of(values), "label", REMEDY)


# Names


@given(st.text())
def test_a_name_has_one_spelling(name):
    tidy = normalized_name(name)
    assert tidy == normalized_name(tidy) == normalized_name(nfd(name)) == normalized_name(f" {name}\n")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["가", "가"], "label_names has '가' twice: give each name once"),
        (["가", nfd("가")], r"label_names has '가' twice \(spelt '\\uac00' and '\\u1100\\u1161'\): give each"),
        (["a", " a"], r"label_names has 'a' twice \(spelt 'a' and ' a'\)"),
        (["a", " "], "label_names has the empty name ' ': give each class a name"),
    ],
)
def test_names_that_are_one(names, message):
    with pytest.raises(UserError, match=message):
        normalized_names(names)


@pytest.mark.parametrize(
    ("name", "other", "alike"),
    [
        ("Positive", "positive", True),
        ("very good", "verygood", True),
        ("a\u00a0b", "a b", True),
        ("１점", "1점", True),
        ("a\u200b", "a", True),
        ("p\u043esitive", "positive", True),  # a Cyrillic letter
        ("positive", "negative", False),
        ("긍정", "부정", False),
        ("긍정", "긍정적", False),
        ("A급", "가급", False),
        ("\u2764\ufe0f", "\u2764", True),  # a heart as emoji and as text
        ("\U0001fae8", "\U0001fae9", False),  # younger than some tables of characters
        ("😀", "😁", False),
        ("1", "가", False),
    ],
)
def test_looks_like(name, other, alike):
    assert looks_like(name, other) is looks_like(other, name) is alike


def test_names_that_look_alike_are_reported(capsys):
    say_alike(["good", "bad", "Good", "g ood", "나쁨"])
    line = "the labels 'good' and 'Good' and 'g ood' differ in case, width, spaces or invisible characters alone"
    assert line in capsys.readouterr().err
    say_alike(["good", "bad", "goods"])
    assert capsys.readouterr().err == ""


# Data modules


def files(folder, rows, **arguments):
    lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    (folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return FilesDataModule(str(folder), val_size=0, **arguments)


MIXED = [("one", "긍정"), ("two", nfd("부정")), ("three", nfd("긍정")), ("four", "부정 ")]


def test_decomposed_names_are_composed(tmp_path, capsys):
    data = files(tmp_path, MIXED)
    assert data.label_names == ("긍정", "부정")
    assert data.rows("train")["label"][:] == [0, 1, 0, 1]
    given = files(tmp_path, MIXED, label_names=[nfd("부정"), "긍정"])
    assert given.label_names == ("부정", "긍정")
    assert given.rows("train")["label"][:] == [1, 0, 1, 0]
    assert "alone, and are" not in capsys.readouterr().err


def test_names_that_differ_in_case_are_two_classes(tmp_path, capsys):
    assert files(tmp_path, [("one", "Good"), ("two", "good")]).label_names == ("Good", "good")
    assert "'Good' and 'good' differ in case" in capsys.readouterr().err


def test_rows_without_a_label_are_dropped_where_the_recipe_says_so(tmp_path):
    rows = [("one", "a"), ("two", ""), ("three", "b"), ("four", " ")]
    with pytest.raises(UserError, match=r"row 1 .* has no label .*, name another column with --data\.label_column"):
        assert files(tmp_path, rows).label_names
    data = files(tmp_path, rows, cleaning=[DropUnknownLabels()])
    assert data.rows("train")["text"][:] == ["one", "three"]


class Own(NSMCDataModule):
    label_names = (nfd("부정"), nfd("긍정"))
    hub_fingerprints = {}

    def load_split(self, split):
        return Dataset(pa.table({"document": ["one", "two"], "label": ["긍정", "부정"]}))


def test_a_data_set_in_code_may_have_decomposed_names():
    data = Own(val_size=0, cleaning=[])
    assert data.label_names == ("부정", "긍정")
    assert data.rows("train")["label"][:] == [1, 0]


@pytest.mark.parametrize(
    ("data", "role", "remedy"),
    [
        (FilesDataModule("x"), "label", "name another column with --data.label_column"),
        (FilesDataModule("x"), "text_pair", "name another column with --data.text_pair_column"),
        (NSMCDataModule("x"), "label", "read them with --data FilesDataModule --data.label_column"),
        (Own(), "label", "set label_column in Own"),
    ],
)
def test_the_remedy_for_a_wrong_column(data, role, remedy):
    assert data._column_remedy(role).endswith(remedy)


def test_the_options_that_name_columns():
    assert FilesDataModule("x").column_option("text") == "--data.text_column"
    assert NSMCDataModule().column_option("label") is None
