"""`data.keep_columns`: columns of the source that reach the prediction tables, and no method."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from tests.conftest import invented_rows
from textclf import run_experiment
from textclf.data import FilesDataModule, TextDataModule
from textclf.data.columns import text_keys
from textclf.data.row_cache import CachedEncoding
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_column
from textclf.hashing import rows_hash
from textclf.models import TfidfClassifier

NAMES = ("negative", "positive")
KEPT = ["author", "stars"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows with authors, of whom some are missing, numbers of stars, and lists."""
    folder = tmp_path_factory.mktemp("kept")
    for seed, (split, size) in enumerate({"train": 60, "test": 21}.items()):
        lines = []
        for row, (text, label) in enumerate(invented_rows(size, seed)):
            values = {"id": f"{split}-{row}", "text": text, "label": label, "stars": row % 5, "tags": [str(row)]}
            lines.append(json.dumps(values | {"author": None if row % 4 == 0 else f"author {row % 7}"}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return str(folder)


def test_rows_keep_them_through_cleaning_samples_and_folds(folder):
    wanted = {}
    for split in ("train", "test"):
        for row in FilesDataModule(folder, keep_columns=KEPT).load_split(split):
            wanted[row["id"]] = (row["author"], row["stars"])
    assert None in {author for author, _ in wanted.values()}
    for options in ({}, {"limit": {"train": 30, "test": 10}}, {"folds": 3, "fold": 1}, {"shots_per_class": 5}):
        data = FilesDataModule(folder, keep_columns=KEPT, **options)
        for split in ("train", "validation", "test"):
            rows = data.rows(split)
            assert rows.column_names == ["id", "text", "label", *KEPT]
            assert {row["id"]: (row["author"], row["stars"]) for row in rows}.items() <= wanted.items()


class Watching(TfidfClassifier):
    """Remembers the columns that it is given."""

    seen: set[str] = set()

    def prepare(self, train_rows):
        self.seen.update(train_rows.column_names)
        super().prepare(train_rows)

    def encode(self, rows):
        self.seen.update(rows)
        return super().encode(rows)

    def collate(self, rows):
        self.seen.update(rows)
        return super().collate(rows)


def test_both_tables_have_them_and_no_method_is_given_them(folder, tmp_path):
    data = FilesDataModule(folder, keep_columns=KEPT, batch_size=16)
    model = Watching(2, NAMES, min_df=1)
    result = run_experiment(model, data, run_dir=tmp_path / "run", logger=False, accelerator="cpu")
    assert model.seen
    assert not {*KEPT, "tags"} & model.seen
    for split, report in (("test", "report"), ("validation", "report/validation")):
        for name in KEPT:
            assert read_column(result.run_dir / report / "predictions.parquet", name) == list(data.rows(split)[name])
    assert list(result.predictions)[-2:] == KEPT


def test_the_cached_encoding_is_the_same_without_them(folder):
    plain, kept = FilesDataModule(folder), FilesDataModule(folder, keep_columns=KEPT)
    rows = kept.rows("test").select_columns(["id", "text", "label"])
    assert rows_hash(rows) == rows_hash(plain.rows("test"))
    model = TfidfClassifier(2, NAMES)
    assert CachedEncoding(model, rows, "test").key == CachedEncoding(model, plain.rows("test"), "test").key
    assert text_keys(kept.rows("test")).tolist() == text_keys(plain.rows("test")).tolist()


class Own(TextDataModule):
    """Rows in memory, with a column of classes."""

    label_names = NAMES
    hub_splits = ("test",)

    def load_split(self, split):
        features = Features({"text": Value("string"), "label": Value("string"), "topic": ClassLabel(names=["a", "b"])})
        rows = {"text": ["one", "two", "three"], "label": ["negative", "positive", "positive"], "topic": [1, None, 0]}
        return Dataset.from_dict(rows, features)


def test_classes_are_kept_by_name():
    assert list(Own(keep_columns=["topic"]).rows("test")["topic"]) == ["b", None, "a"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["writer"], "keep_columns names 'writer': the rows have only id, text, label, stars, tags, author"),
        (["tags"], "keep_columns names 'tags', which holds lists, objects or bytes: name columns with one value"),
        (["id"], "keep_columns names 'id', which is a column of the prediction table itself"),
        (["author", "label_name"], "keep_columns names 'label_name', which is a column of the prediction table"),
        (["author", "stars", "author"], "keep_columns names 'author' twice"),
        ([3], r"keep_columns \[3\]: give names of columns"),
    ],
)
def test_columns_that_cannot_be_kept(given, message, folder):
    with pytest.raises(UserError, match=message) as raised:
        FilesDataModule(folder, keep_columns=given).rows("test")
    assert "\n" not in str(raised.value)


def test_a_column_with_the_name_of_a_probability(folder, tmp_path):
    (tmp_path / "test.csv").write_text("text,label,score_positive\none,positive,1\ntwo,negative,0\n")
    with pytest.raises(UserError, match="'score_positive', which is the name of the probabilities of a label"):
        FilesDataModule(str(tmp_path), keep_columns=["score_positive"]).rows("test")
