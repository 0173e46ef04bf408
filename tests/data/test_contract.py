"""What `encode`, `collate` and `load_split` may give, in an evaluation and in `classify` alike."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import Dataset, DatasetDict
from lightning.pytorch import Trainer
from scipy.sparse import csr_matrix
from transformers import BatchEncoding

from textclf.data import FilesDataModule, TextDataModule
from textclf.data.contract import batch_of, encoded
from textclf.errors import UserError
from textclf.models import TextClassifier

NAMES = ("dry", "wet")
TEXTS = ["a sunny day", "rain", "sun and rain"]
ROWS = {"text": [f"{text} {i}" for i, text in enumerate(TEXTS * 3)], "label": [0, 1, 1] * 3}
QUIET = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


class Weather(TextDataModule):
    label_names = NAMES

    def source_splits(self):
        return ("test",)

    def load_split(self, split):
        return Dataset.from_dict(ROWS)


class Own(TextClassifier):
    def __init__(self, columns=None, batch=None):
        super().__init__(2, NAMES)
        self.columns, self.batch, self.seen = columns, batch, []

    def encode(self, rows):
        given = {"length": [len(text) for text in rows["text"]]} if self.columns is None else self.columns(rows)
        return given

    def collate(self, rows):
        self.seen.append(
            {name: values for name, values in rows.items() if name not in ("id", "row", "filler", "label")}
        )
        return super().collate(rows) if self.batch is None else self.batch(rows)

    def log_scores(self, batch):
        return torch.full((len(batch["text"]), 2), 0.5).log()


def evaluate(model, data=None):
    return Trainer(**QUIET).test(model, data or Weather(), verbose=False)[0]


def both(model, message):
    """The same line in an evaluation, with worker processes, and in `classify`."""
    for run in (lambda: evaluate(model), lambda: model.classify(TEXTS)):
        with pytest.raises(UserError, match=message) as caught:
            run()
        assert "\n" not in str(caught.value)


def lengths(rows, **columns):
    return {"length": [1] * len(rows["text"]), **columns}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (lambda rows: None, "None: wanted a dictionary of columns with one entry per row, `length` among them"),
        (lambda rows: [len(text) for text in rows["text"]], "a list: wanted a dictionary"),
        (lambda rows: (lengths(rows), 1), "a tuple: wanted a dictionary"),
        (lambda rows: pd.DataFrame(lengths(rows)), "a DataFrame: wanted a dictionary"),
        (lambda rows: torch.ones(len(rows["text"])), "a Tensor: wanted a dictionary"),
        (lambda rows: {}, "no columns, and no 'length': wanted a whole number for each row"),
        (lambda rows: {"ids": rows["text"]}, "'ids', and no 'length'"),
        (
            lambda rows: lengths(rows, length=[0] * len(rows["text"])),
            "'length' 0 for the text '.*': wanted a whole number, 1",
        ),
        (lambda rows: lengths(rows, length=[-3] * len(rows["text"])), "'length' -3 for"),
        (lambda rows: lengths(rows, length=[1.5] * len(rows["text"])), "'length' 1.5, a float, for"),
        (lambda rows: lengths(rows, length=np.ones(len(rows["text"]))), "'length' 1.0, a float, for"),
        (lambda rows: lengths(rows, length=["7"] * len(rows["text"])), "'length' '7', a str, for"),
        (lambda rows: lengths(rows, length=[None] * len(rows["text"])), "'length' None for"),
        (lambda rows: lengths(rows, length=[True] * len(rows["text"])), "'length' True, a bool, for"),
        (lambda rows: lengths(rows, length=torch.ones(len(rows["text"]), 1).long()), r"'length' \[1\], a list, for"),
        (lambda rows: lengths(rows, length=7), "'length' as an int: wanted a list with one entry per row"),
        (lambda rows: lengths(rows, length="7" * len(rows["text"])), "'length' as a str"),
        (lambda rows: lengths(rows, length=torch.tensor(3)), "'length' as an int"),
        (lambda rows: lengths(rows, length=(1 for _ in rows["text"])), "'length' as a generator"),
        (lambda rows: lengths(rows, length=[1] * (len(rows["text"]) - 1)), r"'length' with \d entries for \d rows"),
        (lambda rows: lengths(rows, ids=[[1, 2]]), r"'ids' with 1 entries for \d rows: wanted one entry per row"),
        (lambda rows: lengths(rows, ids={"a": rows["text"]}), "'ids' as a dict"),
        (lambda rows: lengths(rows, ids=csr_matrix(np.eye(len(rows["text"])))), "'ids' as a csr_matrix"),
        (lambda rows: lengths(rows, ids=[set(text) for text in rows["text"]]), "'ids' with a set: wanted numbers"),
        (lambda rows: lengths(rows, ids=[[object()] for _ in rows["text"]]), "'ids' with an object"),
        (lambda rows: lengths(rows, ids=[csr_matrix([1.0]) for _ in rows["text"]]), "'ids' with a csr_matrix"),
        (
            lambda rows: lengths(rows, ids=[1, *"ab" * 9][: len(rows["text"])]),
            "'ids' with entries of types number and str",
        ),
        (lambda rows: lengths(rows, ids=[[1], *range(9)][: len(rows["text"])]), "'ids' with entries of types list and"),
        (
            lambda rows: lengths(rows, cut=[-1] * len(rows["text"])),
            "'cut' -1 for the text .*: wanted a whole number, 0",
        ),
        (lambda rows: {**lengths(rows), 0: rows["text"]}, "a column 0: wanted new columns"),
        (
            lambda rows: {**rows, **lengths(rows)},
            "a column 'text': wanted new columns, with names other than 'id', 'text'",
        ),
        *(
            (lambda rows, name=name: lengths(rows, **{name: [0] * len(rows["text"])}), f"a column '{name}'")
            for name in ("id", "text_pair", "row", "label", "labels", "filler")
        ),
    ],
)
def test_what_encode_may_not_give(columns, message):
    both(Own(columns), f"^Own.encode gave {message}")


def per_row(rows, entry):
    return lengths(rows, x=[entry for _ in rows["text"]])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (lambda rows: {"length": np.arange(1, 1 + len(rows["text"]), dtype=np.int16)}, None),
        (lambda rows: {"length": torch.tensor([len(text) for text in rows["text"]])}, None),
        (lambda rows: {"length": [np.int64(len(text)) for text in rows["text"]]}, None),
        (lambda rows: {"length": [torch.tensor(len(text)) for text in rows["text"]]}, None),
        (lambda rows: {"length": tuple(len(text) for text in rows["text"])}, None),
        (lambda rows: {"length": pd.Series([len(text) for text in rows["text"]])}, None),
        (lambda rows: {"length": pa.array([len(text) for text in rows["text"]])}, None),
        (lambda rows: BatchEncoding(lengths(rows)), None),
        (lambda rows: per_row(rows, torch.tensor([1, 2])), [1, 2]),
        (lambda rows: per_row(rows, np.array([0.5, 1.5], dtype=np.float32)), [0.5, 1.5]),
        (lambda rows: per_row(rows, (1, 2)), [1, 2]),
        (lambda rows: per_row(rows, [torch.tensor(1), torch.tensor(2)]), [1, 2]),
        (lambda rows: per_row(rows, [np.array([1]), np.array([2, 3])]), [[1], [2, 3]]),
        (lambda rows: per_row(rows, torch.ones(2, dtype=torch.bfloat16)), [1.0, 1.0]),
        (lambda rows: per_row(rows, {"a": np.float64(1)}), {"a": 1.0}),
        (lambda rows: per_row(rows, b"\x00"), b"\x00"),
        (lambda rows: per_row(rows, None), None),
        (lambda rows: per_row(rows, []), []),
        (lambda rows: lengths(rows, x=torch.ones(len(rows["text"]), 2, 1)), [[1.0], [1.0]]),
        (lambda rows: lengths(rows, x=[1, 2.5, *[0] * 9][: len(rows["text"])]), None),
    ],
)
def test_what_encode_may_give_comes_to_collate_alike(columns, expected):
    model = Own(columns)
    evaluate(model)
    model.classify(TEXTS)
    evaluation, classified = (
        next(rows for rows in model.seen if len(rows["text"]) == size) for size in (len(ROWS["text"]), len(TEXTS))
    )
    assert evaluation.keys() == classified.keys()
    for rows in (evaluation, classified):
        assert all(type(length) is int for length in rows["length"])
        if "x" in rows and expected is not None:
            assert rows["x"] == [expected] * len(rows["text"])


def test_encode_cannot_change_the_rows():
    def shorten(rows):
        rows["text"][:] = ["" for _ in rows["text"]]
        rows.pop("text_pair", None)
        return {"length": [1] * len(rows["text"])}

    model = Own(shorten)
    evaluate(model)
    model.classify(TEXTS)
    assert all(text for rows in model.seen for text in rows["text"])


def test_encode_sees_texts_alone():
    seen = []
    model = Own(lambda rows: seen.append(set(rows)) or lengths(rows))
    evaluate(model)
    assert seen == [{"text"}]
    assert encoded(model, {"text": ["a"], "text_pair": ["b"], "label": [1]}) == {"length": [1]}
    assert seen[1] == {"text", "text_pair"}


def test_types_that_differ_between_windows_are_refused(monkeypatch):
    monkeypatch.setattr(Own, "encoded_together", 3)
    calls = iter(range(99))
    model = Own(lambda rows: per_row(rows, "a" if next(calls) else 1))
    with pytest.raises(UserError, match=r"^Own\.encode gave columns that are not of one type in all rows"):
        evaluate(model)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (lambda rows: None, "None: wanted a dictionary"),
        (lambda rows: rows["text"], "a list: wanted a dictionary"),
        (lambda rows: (rows["text"],), "a tuple: wanted a dictionary"),
        (lambda rows: torch.ones(1), "a Tensor: wanted a dictionary"),
        *(
            (lambda rows, name=name: {"text": rows["text"], name: [0]}, f"'{name}', which is added to each batch")
            for name in ("id", "row", "label", "labels", "filler", "given", "kept", "carried")
        ),
    ],
)
def test_what_collate_may_not_give(batch, message):
    both(Own(batch=batch), f"^Own.collate gave {message}")


def test_collate_cannot_take_rows_away():
    rows = {"id": ["a"], "row": [0], "text": ["b"], "filler": False}
    assert batch_of(lambda rows: {name: rows.pop(name) for name in ["text"]}, rows) == {"text": ["b"]}
    assert batch_of(lambda rows: rows.clear() or rows, rows) == {}
    assert len(rows) == 4


def no_batch(rows):
    return rows["text"]


@pytest.mark.slow
def test_a_worker_process_gives_the_line_alone():
    with pytest.raises(UserError, match=r"^Own\.collate gave a list: wanted a dictionary, such as of tensors by name$"):
        evaluate(Own(batch=no_batch), Weather(num_workers=1))


# load_split


class Loaded(Weather):
    given = None

    def load_split(self, split):
        return type(self).given


def loading(given):
    return type("Loaded", (Loaded,), {"given": given})()


RECORDS = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        RECORDS,
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS).set_index(pd.Index(range(40, 49))),
        pa.table(ROWS),
        Dataset.from_dict(ROWS),
        Dataset.from_dict(ROWS).with_format("torch"),
        Dataset.from_dict(ROWS).with_format("numpy", columns=["label"]),
        {**ROWS, "label": np.array(ROWS["label"])},
        {**ROWS, "label": torch.tensor(ROWS["label"])},
        {**ROWS, "text": np.array(ROWS["text"]), "label": tuple(ROWS["label"])},
        {**ROWS, "label": [NAMES[label] for label in ROWS["label"]]},
        {**ROWS, "label": [float(label) for label in ROWS["label"]]},
        {**ROWS, "text": pd.Series(ROWS["text"])},
    ],
    ids=lambda given: type(given).__name__,
)
def test_rows_of_any_kind(given):
    rows = loading(given).rows("test")
    assert (list(rows["text"]), list(rows["label"])) == (ROWS["text"], ROWS["label"])
    assert list(rows["id"]) == [str(i) for i in range(9)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "None: wanted a datasets.Dataset, a list of dictionaries, a dictionary of columns or a DataFrame"),
        ([], "an empty list: leave a split without rows out of source_splits"),
        (ROWS["text"], "a list of str: wanted"),
        (list(zip(*ROWS.values(), strict=True)), "a list of tuple: wanted"),
        ((ROWS["text"], ROWS["label"]), "a tuple: wanted"),
        ((row for row in RECORDS), "a generator: wanted"),
        (pd.Series(ROWS["text"]), "a Series: wanted"),
        (np.array(ROWS["text"]), "a ndarray: wanted"),
        ("rows.csv", "a str: wanted"),
        (DatasetDict(test=Dataset.from_dict(ROWS)), "a DatasetDict: wanted .*; give one split of it"),
        (Dataset.from_dict(ROWS).to_iterable_dataset(), "an IterableDataset: wanted"),
        ({**ROWS, "label": [0]}, "columns that do not make a table"),
        ({**ROWS, "label": 0}, "columns that do not make a table"),
        ({**ROWS, "text": "a text"}, r"columns that do not make a table \('text' is a str\)"),
        ({**ROWS, "label": [0, "wet", None] * 3}, "columns that do not make a table"),
        ([*RECORDS, {"txt": "a", "label": 0}], "row 9 with the keys 'txt', 'label', and row 0 with 'text', 'label'"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_load_split_may_not_give(given, message):
    with pytest.raises(UserError, match=rf"^Loaded\.load_split\('test'\) gave {message}") as caught:
        loading(given).rows("test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label": ROWS["label"]}, "there is no text column 'text': the rows have label; set text_column in Loaded"),
        ({"text": ROWS["text"]}, "there is no label column 'label'"),
        ({**ROWS, "label": [2] * 9}, "row 0 has the label 2 in column 'label': known are 'dry', 'wet'"),
        ({**ROWS, "label": [-1] * 9}, "row 0 has the label -1"),
        ({**ROWS, "label": [0.5] * 9}, "row 0 has the label 0.5"),
        ({**ROWS, "label": [None] * 9}, r"row 0 \(counted from 0\) has no label"),
        ({**ROWS, "label": [0, 1, None] * 3}, r"row 2 \(counted from 0\) has no label"),
        ({**ROWS, "label": ["snow"] * 9}, "row 0 has the label 'snow'"),
        ({**ROWS, "label": [[0]] * 9}, "column 'label' holds List"),
        ({**ROWS, "text": [["a"]] * 9}, "column 'text' holds List"),
    ],
)
def test_rows_that_do_not_fit(given, message):
    with pytest.raises(UserError, match=f"^{message}"):
        loading(given).rows("test")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "dry wet",
            "Own.label_names is set to 'dry wet', a str: it must be the name of each class, in a tuple or a list",
        ),
        ({"dry", "wet"}, "Own.label_names is set to {.*, a set: it must be"),
        ({"dry": 0, "wet": 1}, "Own.label_names is set to {.*, a dict: it must be"),
        (np.array(NAMES), "Own.label_names is set to array.*, a ndarray: it must be"),
        (None, "Own.label_names is set to None, a NoneType"),
        (2, "Own.label_names is set to 2, a int"),
        (("dry",), r"Own.label_names is \('dry',\): give two or more names"),
        ([], r"Own.label_names is \[\]: give two or more names"),
        (("dry", "dry "), "label_names has 'dry' twice"),
        (("dry", ""), "label_names has the empty name ''"),
        (("dry", None), "label_names has the empty name None"),
    ],
)
def test_label_names_that_are_none(names, message):
    with pytest.raises(UserError, match=f"^{message}"):
        type("Own", (Weather,), {"label_names": names})()
    if not isinstance(names, list | tuple):
        data = Weather()
        with pytest.raises(UserError, match="label_names is set to"):
            data.label_names = names


def test_numbers_as_label_names_are_read_as_text():
    assert type("Own", (Weather,), {"label_names": (0, 1)})().label_names == ("0", "1")


@pytest.mark.parametrize("names", ["ab", {"a", "b"}])
def test_label_names_of_files(names, tmp_path):
    with pytest.raises(UserError, match=r"^label_names is .*: give a list of names, in their order"):
        assert FilesDataModule(str(tmp_path), label_names=names).label_names


class NoNames(TextDataModule):
    def load_split(self, split):
        return Dataset.from_dict(ROWS)


class NoSource(TextDataModule):
    label_names = NAMES


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: NoNames().num_classes, "NoNames has no label_names: set it to the name of each class, in a tuple"),
        (lambda: evaluate(Own(), NoNames()), "NoNames has no label_names"),
        (lambda: NoSource().rows("test"), "NoSource has no hub_id: name a data set on the hub, or define load_split"),
        (lambda: evaluate(Own(), NoSource()), "NoSource has no hub_id"),
    ],
)
def test_what_a_data_set_must_have(use, message):
    with pytest.raises(UserError, match=f"^{message}"):
        use()
