import pytest
from datasets import Dataset

from textclf.data import FilesDataModule
from textclf.data.read_files import SUFFIXES, read_file, read_split, split_files
from textclf.data.standard import standard_columns
from textclf.errors import UserError
from textclf.hashing import rows_hash

NAMES = ("negative", "positive")


def write(path, columns):
    rows = Dataset.from_dict(columns)
    if path.suffix == ".parquet":
        rows.to_parquet(path)
    elif path.suffix == ".jsonl":
        rows.to_json(path, force_ascii=False)
    else:
        rows.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def standard(source, text_pair=None):
    return standard_columns(source, text="text", text_pair=text_pair, label="label", id_=None, label_names=NAMES)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["train-{}", "train-0000{}-of-00003", "train/part-{}", "train/{}"])
def test_files_of_a_split_are_read_in_natural_order(tmp_path, name, suffix):
    (tmp_path / "train").mkdir()
    files = [f"{name.format(i)}{suffix}" for i in (0, 2, 10)]
    for i, file in enumerate(files):
        write(tmp_path / file, {"text": [f"text {i}", "b"], "label": [0, 1]})
    write(tmp_path / f"test{suffix}", {"text": ["t"], "label": [0]})
    (tmp_path / "train" / f".hidden{suffix}").touch()
    (tmp_path / "train" / "notes.md").touch()
    assert [str(path.relative_to(tmp_path)) for path in split_files(str(tmp_path), "train")] == files
    rows = standard(read_split(str(tmp_path), "train"))
    assert rows["text"][::2] == [f"text {i}" for i in range(3)]
    assert rows["id"][:] == [str(i) for i in range(6)]


def test_shards_give_the_rows_of_one_file(tmp_path):
    texts = [f"text {i}" for i in range(30)]
    whole = standard(read_file(write(tmp_path / "whole.csv", {"text": texts, "label": [0, 1] * 15})))
    for i in range(3):
        write(tmp_path / f"train-{i}.csv", {"text": texts[10 * i : 10 * i + 10], "label": [0, 1] * 5})
    (tmp_path / "train-1.csv").write_bytes((tmp_path / "train-1.csv").read_bytes().decode().encode("utf-16"))
    source = read_split(str(tmp_path), "train")
    assert rows_hash(standard(source)) == rows_hash(whole)
    assert read_split(str(tmp_path), "train")._fingerprint == source._fingerprint


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("test.csv", "test.jsonl"), r"holds test.csv and test.jsonl: keep files of one kind for the 'test' split"),
        (("test.csv", "test-0.csv"), r"holds test.csv and test-0.csv: keep"),
        (("test-0.csv", "test-1.tsv"), r"holds test-0.csv and test-1.tsv: keep"),
        (("test.parquet", "test/a.parquet"), r"holds test.parquet and test/a.parquet: keep"),
        (("test-00000-of-00002.csv",), r"holds 1 files like 'test-00000-of-00002.csv', whose names say 2: give all"),
        (("test-0-of-1.csv", "test-0-of-2.csv", "test-1-of-2.csv"), "holds 3 files .* whose names say 1 and 2: give"),
    ],
)
def test_files_of_a_split_that_clash(tmp_path, names, message):
    (tmp_path / "test").mkdir()
    for name in names:
        (tmp_path / name).touch()
    assert split_files(str(tmp_path), "train") == []
    with pytest.raises(UserError, match=message):
        split_files(str(tmp_path), "test")


@pytest.mark.parametrize(
    "files",
    [
        ["dev.csv"],
        ["val.tsv"],
        ["valid.jsonl"],
        ["dev/a.parquet", "dev/b.parquet"],
        ["val-0.csv", "val-1.csv"],
        ["validation.csv"],
    ],
)
def test_other_names_of_the_validation_split(tmp_path, files):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        write(tmp_path / file, {"text": [file, "b"], "label": ["x", "y"]})
    write(tmp_path / "train.csv", {"text": [f"text {i}" for i in range(9)], "label": list("xyxyxyxyx")})
    data = FilesDataModule(str(tmp_path))
    assert data.source_splits() == ("train", "validation")
    assert data.rows("validation")["text"][::2] == files
    assert len(data.rows("train")) == 9
    write(tmp_path / "valid-7.csv", {"text": ["a"], "label": ["x"]})
    with pytest.raises(UserError, match=r"holds .* and .*: keep files of one kind for the 'validation' split"):
        FilesDataModule(str(tmp_path)).source_splits()


def test_a_split_without_files(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"has no train file: add train.parquet, .csv, .tsv or .jsonl"):
        read_split(str(tmp_path), "train")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"text": ["b"], "y": [1]}, r"train-1.jsonl' has the columns text, y, but train-0.jsonl has text, label: give"),
        ({"text": ["b"]}, r"train-1.jsonl' has the columns text, but train-0.jsonl has text, label"),
        (
            {"text": ["b"], "label": ["1"]},
            r"column 'label' of '.*train-1.jsonl' is .*string.*, but .*int64.* in train-0",
        ),
    ],
)
def test_files_of_a_split_with_other_columns(tmp_path, second, message):
    write(tmp_path / "train-0.jsonl", {"text": ["a"], "label": [0]})
    write(tmp_path / "train-1.jsonl", second)
    with pytest.raises(UserError, match=message):
        read_split(str(tmp_path), "train")


def test_files_of_a_split_may_order_their_columns_otherwise(tmp_path):
    write(tmp_path / "train-0.jsonl", {"text": ["a"], "pair": [None], "label": [0]})
    write(tmp_path / "train-1.jsonl", {"label": [1], "text": ["b"], "pair": ["c"]})
    rows = standard(read_split(str(tmp_path), "train"), text_pair="pair")
    assert rows.remove_columns("changed")[:] == {
        "id": ["0", "1"],
        "text": ["a", "b"],
        "text_pair": ["", "c"],
        "label": [0, 1],
    }


def test_unknown_label_in_a_later_file_names_the_row_of_the_split(tmp_path):
    for i, labels in enumerate((["negative"] * 3, ["positive", "good"])):
        write(tmp_path / f"train-{i}.csv", {"text": ["a"] * len(labels), "label": labels})
    with pytest.raises(UserError, match="row 4 has the label 'good'"):
        standard(read_split(str(tmp_path), "train"))
