"""Rare classes, imbalance, and class shares that differ between splits."""

import pytest

from tests.findings.splits import invented_texts, split_of
from textclf.findings.shares import find_in_shares


def of_counts(*counts, split="train"):
    """A split with so many rows of each class."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    names = ("first", "second", "third")[: len(counts)]
    return split_of(invented_texts(len(labels), seed=len(labels)), labels, split=split, label_names=names)


SHARES = (
    # counts of train, counts of test, kinds that are found, a part of their details
    ((60, 60), (30, 30), [], ""),
    ((60, 19), (30, 30), ["few_rows"], "1 class has fewer than 20 rows: 'second' (19)."),
    ((60, 3, 0), (30, 30, 30), ["few_rows", "imbalance", "class_shift"], "2 classes have fewer than 20 rows: 'third'"),
    ((500, 100), (250, 50), ["imbalance", "imbalance"], "'first' has 500 rows, 5 times as many as 'second' with 100"),
    ((490, 100), (245, 50), [], ""),
    ((400, 400), (500, 300), ["class_shift"], "by 12.5% in total, most of all: 'first' 50.0% and 62.5%"),
    ((40, 40), (48, 32), [], ""),  # as many points apart, but may be chance
)


@pytest.mark.parametrize(("train", "test", "kinds", "detail"), SHARES)
def test_find_in_shares(train, test, kinds, detail):
    found = find_in_shares([of_counts(*train), of_counts(*test, split="test")])
    assert [finding.kind for finding in found] == kinds
    assert detail in " ".join(finding.detail for finding in found)


def test_rows_of_rare_classes():
    (found,) = [one for one in find_in_shares([of_counts(60, 3, 0)]) if one.kind == "few_rows"]
    assert found.count == 3
    assert found.rows == ("train-60", "train-61", "train-62")
    assert [group[0].label for group in found.examples] == ["second"] * 3


def test_rows_without_a_label_count_in_no_class():
    split = split_of(invented_texts(60, seed=0), [0] * 25 + [1] * 25 + [-1] * 10)
    assert find_in_shares([split]) == []
