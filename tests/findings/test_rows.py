"""Rows as findings look at them."""

from tests.findings.splits import split_of
from textclf.data import FilesDataModule
from textclf.findings.finding import ShownRow


def test_of_texts():
    split = split_of(["one", "two", "three"], labels=[1, -1, 0])
    assert len(split) == 3
    assert not split.has_pairs
    assert split.labels.tolist() == [1, -1, 0]
    assert [text for texts in split.windows() for text in texts] == ["one", "two", "three"]
    assert split.ids([2, 0]) == ("train-2", "train-0")
    assert split.shown(1) == ShownRow("train-1", "train", "two", None)
    assert split.shown(0, "odd") == ShownRow("train-0", "train", "one", "b", None, "odd")
    assert split.select([2]).shown(0).label == "a"


def test_of_pairs():
    split = split_of(["one"], pairs=["other"])
    assert split.text_columns == ("text", "text_pair")
    assert split.shown(0).text_pair == "other"
    assert list(split.windows("text_pair")) == [["other"]]


def test_source_rows_are_not_cleaned(tmp_path):
    lines = ["text,label", '" two  words ",good', '" two  words ",good', '"",bad', "x,unheard", "y,"]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = FilesDataModule(str(tmp_path), label_names=["good", "bad"])
    rows = data.source_rows("train")
    assert rows["text"] == [" two  words ", " two  words ", "", "x", "y"]
    assert rows["label"] == [0, 0, 1, -1, -1]
