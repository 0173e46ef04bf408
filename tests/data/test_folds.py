"""Folds of cross-validation."""

import csv
import json

import numpy as np
import pytest

from textclf.data import FilesDataModule
from textclf.data.cleaning import DropOverlap, DropUnknownLabels, JoinLines
from textclf.data.folds import fold_of_rows
from textclf.errors import UserError


def rows_of(size, seed=0):
    """Labels, keys of texts (some twice), and groups."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(3, size, p=[0.6, 0.3, 0.1])
    keys = np.arange(size)
    keys[1::10] = keys[::10][: len(keys[1::10])]
    return labels, keys, [f"author {number}" for number in draw.integers(size // 8, size=size)]


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_are_stratified_and_keep_texts_and_groups_together(grouped):
    labels, keys, groups = rows_of(1_000)
    fold = fold_of_rows(labels, keys, 5, "abc", groups if grouped else None)
    assert set(fold.tolist()) == set(range(5))
    assert all(len(set(fold[keys == key])) == 1 for key in keys)
    if grouped:
        names = np.array(groups)
        assert all(len(set(fold[names == name])) == 1 for name in set(groups))
    shares = [np.bincount(labels[fold == number], minlength=3) / (fold == number).sum() for number in range(5)]
    assert np.ptp(shares, axis=0).max() < (0.15 if grouped else 0.06)


def test_a_text_of_two_groups_connects_them():
    labels, keys, _ = rows_of(60)
    groups = [f"group {row // 2}" for row in range(60)]
    keys[:] = np.arange(60)
    keys[2] = keys[0]  # groups 0 and 1
    fold = fold_of_rows(labels, keys, 3, "abc", groups)
    assert len(set(fold[:4])) == 1


def test_rows_without_a_group_are_on_their_own():
    labels, keys, _ = rows_of(100)
    assert set(fold_of_rows(labels, keys, 3, "abc", [None] * 100).tolist()) == {0, 1, 2}


def test_a_division_that_does_not_change():
    labels = np.array([0, 1] * 6)
    assert fold_of_rows(labels, np.arange(12), 3, "ab").tolist() == [0, 1, 0, 0, 2, 0, 1, 1, 2, 2, 1, 2]


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([0, 0, 0, 1, 1], None, "folds 3 is more than the 2 different texts of 'b': give at most 2 folds"),
        ([0, 0, 0, 1], None, "folds 3 needs at least two different texts of 'b', and there is one: leave folds out"),
        ([0, 0, 0, 1, 1, 1], ["x"] * 6, "folds 3 needs at least two groups of rows, and there is one"),
        ([0, 0, 0, 1, 1, 1], ["x", "x", "x", "y", "y", "y"], "folds 3 is more than the 2 groups of rows"),
    ],
)
def test_too_few_rows_for_the_folds(labels, groups, message):
    with pytest.raises(UserError, match=message):
        fold_of_rows(np.array(labels), np.arange(len(labels)), 3, "ab", groups)


def test_rows_with_an_empty_group_are_on_their_own(tmp_path):
    """In CSV, a row without an author has an empty one."""
    lines = [f"text {row},{'ab'[row % 2]},{'' if row < 10 else 'me'}" for row in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label,author", *lines]), encoding="utf-8")
    tested = []
    for fold in range(2):
        data = FilesDataModule(str(tmp_path), folds=2, fold=fold, fold_groups="author", val_size=0)
        tested.append(set(data.rows("test")["text"]))
    mine = {f"text {row}" for row in range(10, 20)}
    assert tested[0] | tested[1] == {f"text {row}" for row in range(20)}
    assert mine in (mine & tested[0], mine & tested[1])  # all in one fold
    assert tested[0] - mine
    assert tested[1] - mine


@pytest.fixture
def folder(tmp_path):
    labels, _, groups = rows_of(120)
    for split, step in (("train", 1), ("test", 7)):
        with (tmp_path / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "label", "author"])
            for row in range(0, 120, step):
                writer.writerow([f"{split}{row}", f"{split} text {row}", "abc"[labels[row]], groups[row]])
    return str(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [None, "author"])
def test_each_train_row_is_tested_once(folder, groups, capsys):
    tested = []
    for fold in range(3):
        options = {"folds": 3, "fold": fold, "fold_groups": groups}
        data = FilesDataModule(folder, **options)
        test = data.rows("test")["id"]
        others = [*data.rows("train")["id"], *data.rows("validation")["id"]]
        assert sorted([*test, *others]) == sorted(f"train{row}" for row in range(120))
        assert FilesDataModule(folder, seed=7, **options).rows("test")["id"] == test
        assert FilesDataModule(folder, cleaning=[], **options).rows("test")["id"] == test
        tested += test
    assert sorted(tested) == sorted(f"train{row}" for row in range(120))
    assert (
        "fold 0 of 3: the rows that are tested come from train; the test split is not used" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1, "fold": 0}, "folds 1"),
        ({"folds": 3}, "folds 3: name the one that is tested with --data.fold 0 to 2"),
        ({"folds": 3, "fold": 3}, "fold 3 is out of range: give a number from 0 to 2"),
        ({"fold": 0}, "fold 0 has no effect without folds"),
        ({"fold_groups": "author"}, "fold_groups 'author' has no effect without folds"),
    ],
)
def test_options_that_cannot_work(folder, options, message):
    with pytest.raises(UserError, match=message):
        FilesDataModule(folder, **options)


def test_columns_and_splits_that_do_not_exist(folder, tmp_path):
    with pytest.raises(
        UserError, match="fold_groups 'writer' is not a column of the train split: give one of id, text"
    ):
        FilesDataModule(folder, folds=3, fold=0, fold_groups="writer").rows("test")
    (tmp_path / "train.csv").rename(tmp_path / "validation.csv")
    with pytest.raises(
        UserError, match="folds 3 divides the train rows, or those of the only split: the source has only validation, "
    ):
        FilesDataModule(folder, folds=3, fold=0).rows("test")


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_only_split_is_divided(folder, tmp_path, split):
    (tmp_path / "test.csv").unlink()
    (tmp_path / "train.csv").rename(tmp_path / f"{split}.csv")
    tested = []
    for fold in range(3):
        data = FilesDataModule(folder, folds=3, fold=fold, limit={"train": 50}, keep_columns=["author"])
        parts = {name: data.rows(name)["id"] for name in ("train", "validation", "test")}
        assert not set(parts["test"]) & {*parts["train"], *parts["validation"]}
        assert len(parts["train"]) == 50
        assert not set(parts["train"]) & set(parts["validation"])
        tested += parts["test"]
    assert sorted(tested) == sorted(f"train{row}" for row in range(120))
    shots = FilesDataModule(folder, folds=3, fold=0, shots_per_class=2)
    assert len(shots.rows("train")) == 6
    assert list(shots.rows("test")["id"]) == tested[: len(shots.rows("test"))]


def test_rows_of_an_unknown_label_are_in_no_test(folder, tmp_path):
    lines = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([*lines, *(f"new{row},new {row},unknown,x" for row in range(30))]))
    options = {"folds": 3, "label_names": list("abc"), "cleaning": [DropUnknownLabels()]}
    tested = []
    for fold in range(3):
        data = FilesDataModule(folder, fold=fold, **options)
        tested += data.rows("test")["id"]
        assert min(data.rows("train")["label"]) == 0
    assert sorted(tested) == sorted(f"train{row}" for row in range(120))


def test_texts_of_train_that_cleaning_makes_equal_to_tested_ones_are_dropped(tmp_path):
    lines = [f"text {row % 20}{'  ' if row >= 20 else ' '}end,{'ab'[row % 2]}" for row in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]))
    data = FilesDataModule(str(tmp_path), folds=2, fold=0, cleaning=[JoinLines(), DropOverlap()])
    assert not set(data.rows("train")["text"]) & set(data.rows("test")["text"])
    assert len(data.rows("test")) > 0


def test_groups_that_are_lists(tmp_path):
    lines = [json.dumps({"text": f"text {row}", "label": "ab"[row % 2], "tags": ["x"]}) for row in range(20)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match="fold_groups 'tags' holds lists, objects or bytes: give a column with one"):
        FilesDataModule(str(tmp_path), folds=2, fold=0, fold_groups="tags").rows("test")
