"""Repeats, conflicts, overlap and near repeats that are planted at random places are found, and nothing else."""

import random

import numpy as np
import pytest
from datasets import Dataset

from textclf.findings.near_repeats import find_near_repeats, find_similar, similar_vectors
from textclf.findings.repeats import find_repeats, key_splits
from textclf.findings.rows import ExploredSplit

NAMES = ("a", "b", "c")


def sentence(rng):
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 8))) for _ in range(12))


class Planted:
    """A set without faults, into which faults are put; `ids` are those that a finding must name."""

    def __init__(self, seed, sizes=(("train", 300), ("validation", 40), ("test", 80)), pairs=False):
        self.rng = random.Random(seed)
        self.rows = {}
        self.pairs = pairs
        for split, size in sizes:
            self.rows[split] = [self.row(split, number) for number in range(size)]

    def row(self, split, number):
        row = {"id": f"{split}-{number}", "text": sentence(self.rng), "label": self.rng.randrange(3)}
        return row | {"text_pair": sentence(self.rng)} if self.pairs else row

    def plant(self, split, source, change=lambda text: text, relabel=False):
        """Replaces a row by a changed copy of another one; gives the ids of the two."""
        untouched = [row for row in self.rows[split] if "planted" not in row]
        copied = self.rng.choice([row for row in self.rows[source] if "planted" not in row])
        row = self.rng.choice([other for other in untouched if other is not copied])
        row.update(copied | {"id": row["id"], "text": change(copied["text"])})
        if relabel:
            row["label"] = (row["label"] + 1) % 3
        row["planted"] = copied["planted"] = True
        return copied["id"], row["id"]

    def splits(self):
        made = []
        for split, rows in self.rows.items():
            names = [name for name in ("id", "text", "text_pair", "label") if name in rows[0]]
            columns = {name: [row[name] for row in rows] for name in names}
            made.append(ExploredSplit(split, Dataset.from_dict(columns), NAMES))
        return key_splits(made)


def found(splits):
    findings = find_repeats(splits) + find_near_repeats(splits)
    for finding in findings:
        assert finding.count == len(finding.rows)
        shown = {row.id for group in finding.examples for row in group if row.split == finding.split.split(", ")[-1]}
        assert shown <= set(finding.rows)
        assert f"{finding.count:,} row" in finding.detail
    return {(finding.kind, finding.split): finding for finding in findings}


@pytest.mark.parametrize("pairs", [False, True])
def test_nothing_is_found_in_clean_sets(pairs):
    assert found(Planted(0, pairs=pairs).splits()) == {}


def slightly(text):
    return text.replace(" ", ", ", 3).capitalize() + " the"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "split", "source", "options", "remedy"),
    [
        ("empty", "train", "train", {"change": lambda _: " \n\u3000"}, "DropEmpty"),
        ("empty", "test", "test", {"change": lambda _: ""}, "DropEmpty"),
        ("repeat", "train", "train", {}, "DropRepeats"),
        ("repeat", "test", "test", {}, "DropRepeats"),
        ("conflict", "train", "train", {"relabel": True}, "ResolveConflicts"),
        ("near_repeat", "train", "train", {"change": slightly}, "DropNearRepeats"),
        ("near_repeat", "validation", "validation", {"change": str.upper, "relabel": True}, "DropNearRepeats"),
        ("overlap", "test", "train", {}, "DropOverlap"),
        ("overlap", "validation", "train", {"relabel": True}, "DropOverlap"),
        ("overlap", "test", "validation", {}, None),
        ("near_overlap", "test", "train", {"change": slightly}, "DropNearOverlap"),
        ("near_overlap", "test", "validation", {"change": slightly, "relabel": True}, None),
    ],
)
@pytest.mark.parametrize("pairs", [False, True])
def test_planted_faults_are_found_and_nothing_else(kind, split, source, options, remedy, pairs):
    planted = Planted(f"{kind} {split} {source}", pairs=pairs)
    ids = [planted.plant(split, source, **options) for _ in range(6)]
    wanted = {row for _, row in ids} if source != split or kind == "empty" else {row for both in ids for row in both}
    name = split if source == split else f"{source}, {split}"
    findings = found(planted.splits())
    assert set(findings) == {(kind, name)}
    finding = findings[kind, name]
    assert set(finding.rows) == wanted
    assert finding.remedy == remedy
    if kind != "empty":
        assert {frozenset(row.id for row in group) for group in finding.examples} == {frozenset(both) for both in ids}
        assert len(finding.examples) == 6


def test_labels_that_are_unknown_conflict_with_none():
    rows = Dataset.from_dict({"id": list("pqrs"), "text": ["one", "one", "two", "two"], "label": [0, -1, -1, -1]})
    (finding,) = find_repeats(key_splits([ExploredSplit("train", rows, NAMES)]))
    assert (finding.kind, finding.rows) == ("repeat", ("r", "s"))


def test_the_largest_group_comes_first():
    texts = ["x", "y", "x", "z", "y", "y", "w"]
    rows = Dataset.from_dict({"id": list("abcdefg"), "text": texts, "label": [0] * 7})
    (finding,) = find_repeats(key_splits([ExploredSplit("test", rows, NAMES)]))
    assert finding.rows == ("b", "e", "f", "a", "c")
    assert (
        "5 rows of test (71.4%) have the text and the label of another row: 2 texts, so that 3 rows" in finding.detail
    )
    assert finding.examples[0][0].note == "one of 3 rows with this text"


def test_overlap_counts_rows_of_train_and_other_labels():
    train = Dataset.from_dict({"id": list("abc"), "text": ["x", "x", "y"], "label": [0, 0, 1]})
    test = Dataset.from_dict({"id": list("def"), "text": ["y", "x", "z"], "label": [0, 0, 1]})
    splits = [ExploredSplit("test", test, NAMES), ExploredSplit("train", train, NAMES)]
    finding = found(key_splits(splits))["overlap", "train, test"]
    assert finding.rows == ("d", "e")
    assert "also in train, 1 of them only with another label; in train, 3 rows have these texts" in finding.detail


def test_similar_vectors_are_those_of_comparing_all():
    vectors = np.random.default_rng(0).normal(size=(2100, 6)).astype(np.float32)
    vectors[7] = 0
    first, second, similarity = similar_vectors(vectors, 0.95)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)
    cosine = vectors @ vectors.T / lengths[:, None] / lengths[None, :]
    wanted = np.argwhere(np.triu(cosine >= 0.95, k=1))
    np.testing.assert_array_equal(np.stack([first, second], axis=1), wanted)
    np.testing.assert_allclose(similarity, cosine[first, second], atol=1e-5)
    assert len(first) > 100


def test_planted_similar_embeddings_are_found():
    planted = Planted(3)
    splits = planted.splits()
    size = sum(len(split.split) for split in splits)
    vectors = np.random.default_rng(0).normal(size=(size, 32)).astype(np.float32)
    vectors[350] = vectors[17] * 2  # test-10 and train-17
    vectors[5] = vectors[250] + 0.01
    findings = {(finding.kind, finding.split): finding for finding in find_similar(splits, vectors)}
    assert set(findings) == {("near_repeat", "train"), ("near_overlap", "train, test")}
    assert set(findings["near_repeat", "train"].rows) == {"train-5", "train-250"}
    assert findings["near_overlap", "train, test"].rows == ("test-10",)
    assert "cosine similarity of at least 0.95" in findings["near_repeat", "train"].detail


def test_no_splits_and_no_rows():
    empty = Dataset.from_dict({"id": ["a"], "text": ["x"], "label": [0]}).select([])
    for splits in ([], [ExploredSplit("train", empty, NAMES)]):
        assert found(key_splits(splits)) == {}
        assert find_similar(key_splits(splits), np.empty((0, 3), dtype=np.float32)) == []
