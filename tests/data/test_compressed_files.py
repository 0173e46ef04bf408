"""Compressed text files, and rows that are skipped."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textclf.data import FilesDataModule
from textclf.data.read_files import open_rows, read_file, split_files
from textclf.data.readers import parquet_rows
from textclf.errors import UserError

ROWS = [{"text": f"줄 {i},\t좋다", "n": str(i)} for i in range(25)]
CONTENT = {
    ".csv": "text,n\n" + "".join(f'"{row["text"]}",{row["n"]}\n' for row in ROWS),
    ".tsv": "text\tn\n" + "".join(f"{row['text']}\t{row['n']}\n".replace(",\t", ",") for row in ROWS),
    ".jsonl": "\n\n".join(json.dumps(row) for row in ROWS),
}


def compressed(content, codec):
    """In two parts, as appending to a compressed file leaves them."""
    half = len(content) // 2
    parts = (content[:half], content[half:])
    if codec == ".gz":
        return b"".join(map(gzip.compress, parts))
    return b"".join(pa.compress(part, "zstd", asbytes=True) for part in parts)


@pytest.mark.parametrize("codec", [".gz", ".zst"])
@pytest.mark.parametrize("suffix", list(CONTENT))
def test_rows_of_compressed_files_are_those_of_plain_ones(tmp_path, suffix, codec):
    plain, packed = tmp_path / f"a{suffix}", tmp_path / f"a{suffix}{codec}"
    plain.write_text(CONTENT[suffix], encoding="utf-8")
    packed.write_bytes(compressed(plain.read_bytes(), codec))
    assert list(open_rows(packed)) == list(open_rows(plain))
    assert read_file(packed).to_list() == read_file(plain).to_list()
    packed.write_bytes(compressed(CONTENT[suffix].encode("cp949"), codec))
    assert [row.values["n"] for row in open_rows(packed)] == [row["n"] for row in ROWS]


@pytest.mark.parametrize("codec", [".gz", ".zst"])
@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: b"no such format", lambda content: b""]
)
def test_a_damaged_compressed_file_is_one_line(tmp_path, codec, damage):
    path = tmp_path / f"a.csv{codec}"
    content = damage(compressed(CONTENT[".csv"].encode() * 20, codec))
    path.write_bytes(content)
    if not content:
        assert list(open_rows(path)) == []
        return
    with pytest.raises(UserError, match=r"cannot load the file .*a.csv.* \(.*\): give a whole file") as raised:
        list(open_rows(path))
    assert "\n" not in str(raised.value)


def test_a_compressed_parquet_file_is_refused(tmp_path):
    (tmp_path / "a.parquet.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"the suffix '.gz' is not one of .parquet, .csv.*\.gz or \.zst may follow"):
        open_rows(tmp_path / "a.parquet.gz")


def test_a_split_may_be_compressed(tmp_path):
    lines = "text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "train-00000-of-00002.csv.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "train-00001-of-00002.csv.gz").write_bytes(gzip.compress(lines.encode()))
    assert len(FilesDataModule(str(tmp_path)).load_split("train")) == 40
    (tmp_path / "train.csv").write_text(lines)
    with pytest.raises(UserError, match=r"holds train.csv and train-00000-of-00002.csv.gz: keep files of one kind"):
        split_files(str(tmp_path), "train")


# Rows that are skipped


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for suffix, content in CONTENT.items():
        (folder / f"a{suffix}").write_text(content, encoding="utf-8")
    (folder / "one.csv").write_text("text\n" + "".join(f'"{row["text"]}"\n' for row in ROWS), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet", row_group_size=4)
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "one.csv"])
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=8))
def test_skipping_leaves_out_as_many_rows(files, name, steps):
    file = open_rows(files[name])
    expected, cursor, position = list(file), file.cursor(), 0
    for skips, number in steps:
        wanted = expected[position : position + number]
        if skips:
            assert cursor.skip(number) == len(wanted)
        else:
            assert [row for _, row in zip(range(number), cursor, strict=False)] == wanted
        position += len(wanted)
    assert list(cursor) == expected[position:]


def test_skipped_row_groups_and_columns_are_not_read(files, monkeypatch):
    read = []
    iter_batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(parquet_rows, "BATCH", 3)
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, **options: (
            read.append((options["row_groups"], options["columns"])) or iter_batches(self, **options)
        ),
    )
    cursor = open_rows(files["a.parquet"]).cursor({"n", "not there"})
    assert cursor.skip(13) == 13
    assert next(cursor) == (14, {"n": "13"})
    assert cursor.skip(6) == 6
    assert next(cursor) == (21, {"n": "20"})
    assert read == [([3], ["n"]), ([5], ["n"])]


def test_columns_with_dots_in_their_names(tmp_path):
    row = {"a.b": "x", "a": {"b": 1, "c": 2}, "a.c": 5}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    for name in row:
        assert next(open_rows(tmp_path / "a.parquet").cursor({name})).values == {name: row[name]}


def test_skipped_rows_are_not_checked(tmp_path):
    (tmp_path / "a.csv").write_text("text,n\na,1\nb,2,3\nc,4\n")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b", "text": 1}\n{"text": "c"}\n')
    rows = open_rows(tmp_path / "a.csv").cursor()
    assert rows.skip(2) == 2
    assert next(rows).values == {"text": "c", "n": "4"}
