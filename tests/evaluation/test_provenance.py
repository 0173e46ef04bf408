import pytest

import textclf
from textclf.data.cleaning import (
    DEFAULT,
    HONEST,
    TIDY,
    DropEmpty,
    DropOverlap,
    DropRepeats,
    JoinLines,
    ResolveConflicts,
    StripWhitespace,
)
from textclf.evaluation.provenance import Provenance, data_set_name, described_data, described_method

KNOWN = Provenance("validation", "BBCNewsDataModule", "LinearProbe (a/b)", "runs/x/0/best.ckpt", 7, 1531, "2026-01-02")


def test_the_first_lines_of_a_report():
    assert KNOWN.lines(1426) == [
        "data:       BBCNewsDataModule",
        "method:     LinearProbe (a/b)",
        "checkpoint: runs/x/0/best.ckpt",
        "rows:       1,531 for training, 1,426 of validation scored",
        "seed:       7",
        f"written:    2026-01-02 by textclf {textclf.__version__}",
    ]


def test_facts_that_are_not_known():
    assert Provenance().lines(3)[:5] == [
        "data:       unknown",
        "method:     unknown",
        "checkpoint: none",
        "rows:       unknown for training, 3 of test scored",
        "seed:       unknown",
    ]
    assert Provenance(train_rows=0, seed=0).lines(3)[3:5] == [
        "rows:       0 for training, 3 of test scored",
        "seed:       0",
    ]


def test_the_title_of_a_picture():
    assert KNOWN.title(1426) == [
        "BBCNewsDataModule",
        "LinearProbe (a/b)",
        "1,426 rows of validation, 1,531 for training",
    ]
    assert Provenance("test", "A", "B").title(5) == ["A", "B", "5 rows of test"]


@pytest.mark.parametrize(
    ("describe", "kind", "arguments", "expected"),
    [
        (described_data, "textclf.data.sets.bbc_news.BBCNewsDataModule", {"data_dir": None}, "BBCNewsDataModule"),
        (described_data, "FilesDataModule", {"data_dir": "a/리뷰"}, "FilesDataModule (a/리뷰)"),
        (described_data, "mine.Data", {}, "Data"),
        (described_data, "mine.Data", {"folds": 5, "fold": 0}, "Data, fold 0 of 5"),
        (described_method, "TfidfClassifier", {"C": 5.0}, "TfidfClassifier"),
        (described_method, "a.b.LinearProbe", {"pretrained": "x/y"}, "LinearProbe (x/y)"),
        (described_method, "FineTunedClassifier", {"pretrained": None}, "FineTunedClassifier"),
        (described_method, "ChatClassifier", {"model": "gpt"}, "ChatClassifier (gpt)"),
    ],
)
def test_a_data_set_and_a_method_in_a_few_words(describe, kind, arguments, expected):
    assert describe(kind, arguments) == expected


@pytest.mark.parametrize(
    ("folder", "cleaning", "name"),
    [
        (None, DEFAULT, "Own"),
        ("some/rows", DEFAULT, "Own (rows)"),
        (None, list(DEFAULT), "Own"),
        (None, [step for step in DEFAULT if not isinstance(step, StripWhitespace)], "Own (without StripWhitespace)"),
        (None, [], "Own (without cleaning)"),
        ("rows", [JoinLines(), *DEFAULT], "Own (rows) (with JoinLines)"),
        (
            None,
            [*TIDY, DropEmpty(), ResolveConflicts(rule="drop_all"), DropRepeats(), DropOverlap(["train", "test"])],
            "Own (without ResolveConflicts, without DropOverlap, with ResolveConflicts [rule: drop_all], "
            "with DropOverlap [splits: train, test])",
        ),
        (None, [*TIDY, DropEmpty(["train"]), *HONEST[1:]], "Own"),
        (None, [*reversed(TIDY), *HONEST], "Own (cleaned in another order)"),
    ],
)
def test_a_data_set_is_named_by_what_its_texts_are(folder, cleaning, name):
    assert data_set_name("Own", folder, cleaning, DEFAULT) == name
