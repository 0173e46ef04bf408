"""The rule for values among texts that are not text: the same wherever texts are read."""

import datetime
import json
from contextlib import contextmanager
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from textclf.data import FilesDataModule, read_files
from textclf.data.base import TextDataModule
from textclf.data.read_files import read_file
from textclf.data.text_values import as_text, mended, mended_column
from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.models.base import TextClassifier
from textclf.models.streaming import StreamedBatches
from textclf.run.prediction_inputs import read_texts

HALF, EMOJI = "\ud83d", "\U0001f600"
NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("NaN", "NaN"),
        (np.str_("a"), "a"),
        (None, None),
        (NAN, None),
        (np.float32("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (Decimal("NaN"), None),
        (7, "7"),
        (np.int64(7), "7"),
        (1.5, "1.5"),
        (Decimal("1.50"), "1.50"),
        (True, "true"),
        (np.False_, "false"),
        (datetime.date(2024, 1, 1), "2024-01-01"),
    ],
)
def test_values_as_text(value, text):
    assert as_text(value) == text
    assert type(as_text(value)) in (str, type(None))


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"a", ("a",), np.array(["a"]), object()])
def test_values_that_are_no_text(value):
    with pytest.raises(ValueError, match="not a text"):
        as_text(value)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("plain", "plain"),
        (f"a {HALF}b", "a \ufffdb"),
        ("\ude00", "\ufffd"),
        ("\ud83d\ude00", EMOJI),
        (f"{HALF}{HALF}\ude00 가", f"\ufffd{EMOJI} 가"),
        ("\udcb0\udca1", "\ufffd\ufffd"),
    ],
)
def test_halves_of_characters(text, valid):
    assert mended(text) == valid


@given(st.text(st.characters()))  # surrogates included
def test_any_text_is_valid_afterwards(text):
    valid = mended(text)
    assert valid.encode("utf-8").decode("utf-8") == mended(valid) == valid
    assert valid == text or any("\ud800" <= character <= "\udfff" for character in text)


def invalid(values):
    """A column of strings whose bytes are not all UTF-8."""
    array = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(array), array.buffers()[1], array.buffers()[2], array.buffers()[0])


BYTES = [b"fine", b"a \xed\xa0\xbd", None, b"\xb0\xa1", b"\xed\xa0\xbd\xed\xb8\x80"]
READ = ["fine", "a \ufffd", None, "\ufffd\ufffd", EMOJI]


def test_columns_that_are_not_utf8():
    column = pa.array(["a", None, EMOJI])
    assert mended_column(column) is column
    assert mended_column(invalid(BYTES)).to_pylist() == READ


# The same rows by every way in

VALUES = ["a film", None, HALF, 7, True, 1.5]
EXPECTED = ["a film", "", "\ufffd", "7", "true", "1.5"]
NOTICE = "invalid characters, such as half of an emoji, in 1 row are read as U+FFFD"


class Seen(TextClassifier):
    """Notes the texts that it is given."""

    def __init__(self):
        super().__init__(2, ("no", "yes"))
        self.seen, self.pairs = [], []

    def log_scores(self, batch):
        self.seen += batch["text"]
        self.pairs += batch.get("text_pair", [])
        return torch.full((len(batch["text"]), 2), 0.5).log()


@pytest.mark.parametrize("kind", [list, iter, pd.Series, lambda values: np.array(values, dtype=object)])
def test_classify(kind, capsys):
    model = Seen()
    assert len(model.classify(kind(VALUES), kind(VALUES[::-1]))) == len(VALUES)
    assert sorted(zip(model.seen, model.pairs, strict=True)) == sorted(zip(EXPECTED, EXPECTED[::-1], strict=True))
    assert "texts: invalid characters, such as half of an emoji, in 2 rows are" in capsys.readouterr().err


def test_classify_strings_of_numpy():
    model = Seen()
    model.classify(np.array(["a", "b"]))
    assert sorted(model.seen) == ["a", "b"]
    assert model.classify([]) == model.classify(np.array([])) == []


@pytest.mark.parametrize(
    ("texts", "pairs", "message"),
    [
        (None, None, "texts is of type NoneType: give a list of texts"),
        ("one", None, r"write classify\(\['one'\]\)"),
        (b"one", None, "texts is of type bytes"),
        (7, None, "texts is of type int"),
        ({"text": "a"}, None, "texts is of type dict"),
        (pd.DataFrame({"text": ["a"]}), None, "texts has 2 dimensions: give one column of texts"),
        (np.array("a"), None, "texts has 0 dimensions"),
        (["a"], "b", "not one text"),
        (["a"], 7, "text_pairs is of type int"),
        (["a", ["b"]], None, r"text 1 \(counted from 0\) is a list, not a text: give strings"),
        (["a", b"b"], None, "text 1 .* is bytes, not a text"),
        ([{"text": "a"}], None, "text 0 .* is an object, not a text"),
        (["a"], [["b"]], "text_pair 0 .* is a list, not a text"),
    ],
)
def test_what_classify_refuses(texts, pairs, message):
    with pytest.raises(UserError, match=message):
        Seen().classify(texts, pairs)


def json_lines(path, values, key="text"):
    rows = [{key: value, "label": ["a", "b"][i % 2]} for i, value in enumerate(values)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def predicted(source=None, texts=None):
    model, rows = Seen(), list(read_texts(texts, source and str(source), "text").rows)
    batches = StreamedBatches(model, rows)
    for batch in batches:
        model.log_scores(batch)
    batches.report_replaced()
    return model.seen


def trained_on(folder, **arguments):
    return FilesDataModule(str(folder), val_size=0, cleaning=[], **arguments).rows("train")["text"][:]


def test_json_lines(tmp_path, capsys):
    path = json_lines(tmp_path / "train.jsonl", VALUES)
    for read in (lambda: trained_on(tmp_path), lambda: predicted(path)):
        assert sorted(read()) == sorted(EXPECTED)
        assert f"{str(path)!r}: {NOTICE}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "notice"),
    [
        ("train.jsonl", json.dumps({"text": HALF, "label": "x"}) + '\n{"text": "a", "label": "y"}\n', NOTICE),
        ("train.csv", "label\nx\ny, z\n", "line 3 has a comma outside quotation marks"),
    ],
)
def test_the_notice_comes_with_the_copy_of_an_earlier_command(tmp_path, capsys, monkeypatch, name, content, notice):
    (tmp_path / name).write_text(content)
    read_file(tmp_path / name)
    assert capsys.readouterr().err.count(notice) == 1
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / name).rename(moved / name)
    monkeypatch.setattr(read_files, "_write_copy", None)
    for _ in range(2):
        read_file(moved / name)
    assert capsys.readouterr().err.count(notice) == 1


@pytest.mark.parametrize("suffix", [".json", ".arrow"])
def test_a_notice_survives_a_command_that_is_killed(tmp_path, capsys, monkeypatch, suffix):
    path = json_lines(tmp_path / "train.jsonl", [HALF, "killed"])

    @contextmanager
    def killed(target):
        with atomic_path(target) as unfinished:
            yield unfinished
            if target.suffix == suffix:
                raise KeyboardInterrupt

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    with monkeypatch.context() as patched:
        patched.setattr(read_files, "atomic_path", killed)
        with pytest.raises(KeyboardInterrupt):
            read_file(path)
    assert capsys.readouterr().err == ""
    read_file(path)
    assert NOTICE in capsys.readouterr().err


def test_texts_of_the_command_line(capsys):
    assert sorted(predicted(texts=VALUES)) == sorted(EXPECTED)
    assert f"texts: {NOTICE}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "fit", "predict"),
    [
        (
            [1, 2],
            "column 'text' holds int64, not text: name another",
            "column 'text' holds int64, not text: call the column of texts 'text'",
        ),
        ([1.5, None], "holds (float64|double), not text", "holds double, not text"),
        ([True, False], "holds bool, not text", "holds bool, not text"),
        (["1", "2.5%"], "holds numbers only, such as '1'", "holds numbers only, such as '1'"),
        (
            ["a", ["b"]],
            r"holds lists, objects or bytes, first in row 1 \(counted",
            "line 2: column 'text' holds a list",
        ),
        (["a", {"b": 1}], "lists, objects or bytes, first in row 1", "line 2: column 'text' holds an object"),
    ],
)
def test_columns_that_are_no_texts(tmp_path, values, fit, predict):
    path = json_lines(tmp_path / "train.jsonl", values)
    with pytest.raises(UserError, match=fit):
        trained_on(tmp_path)
    with pytest.raises(UserError, match=predict):
        predicted(path)


def test_parquet(tmp_path, capsys):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"text": invalid(BYTES), "label": list("ababa")}), path)
    for read in (lambda: trained_on(tmp_path), lambda: predicted(path)):
        assert sorted(read()) == sorted(text or "" for text in READ)
        assert "in 3 rows are read as U+FFFD" in capsys.readouterr().err
    pq.write_table(pa.table({"text": [b"a", b"b"], "label": ["a", "b"]}), path)
    with pytest.raises(UserError, match="row 1: column 'text' holds bytes"):
        predicted(path)


class Own(TextDataModule):
    """A source in code."""

    label_names = ("a", "b")

    def __init__(self, make, **arguments):
        super().__init__(val_size=0, cleaning=[], **arguments)
        self.make = make

    def source_splits(self):
        return ("train",)

    def load_split(self, split):
        return Dataset(self.make()) if callable(self.make) else Dataset.from_dict(self.make)


def test_a_source_in_code(capsys):
    data = Own(lambda: pa.table({"text": invalid(BYTES), "label": list("ababa")}))
    assert data.rows("train")["text"][:] == [text or "" for text in READ]
    assert "the train split: invalid characters, such as half of an emoji, in 3 rows" in capsys.readouterr().err
    missing = Own({"text": [None, "x"], "label": ["a", "b"]})
    assert missing.rows("train")["text"][:] == ["", "x"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"text": [HALF, "x"], "label": ["a", "b"]},
            r"Own.load_split\('train'\) gives invalid characters.*mended first",
        ),
        ({"text": [["x"], ["y"]], "label": ["a", "b"]}, "column 'text' holds List.*, not text: set text_column in Own"),
        ({"text": [b"x", b"y"], "label": ["a", "b"]}, "column 'text' holds lists, objects or bytes"),
        ({"text": [1, 2], "label": ["a", "b"]}, "column 'text' holds int64, not text: set text_column in Own"),
    ],
)
def test_what_a_source_in_code_may_not_give(columns, message):
    with pytest.raises(UserError, match=message):
        Own(columns).rows("train")
