"""Folds of cross-validation."""

import csv

import numpy as np
import pytest

from textclf.data import FilesDataModule
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
        ([0, 0, 0, 1, 1], None, "folds 3 is more than the 2 texts of 'b': give at most 2 folds"),
        ([0, 0, 0, 1, 1, 1], ["x", "x", "x", "y", "y", "y"], "folds 3 is more than the 2 groups of rows"),
    ],
)
def test_too_few_rows_for_the_folds(labels, groups, message):
    with pytest.raises(UserError, match=message):
        fold_of_rows(np.array(labels), np.arange(len(labels)), 3, "ab", groups)


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
    (tmp_path / "train.csv").unlink()
    with pytest.raises(UserError, match="folds 3 divides the train rows: the source has only test"):
        FilesDataModule(folder, folds=3, fold=0).rows("test")
