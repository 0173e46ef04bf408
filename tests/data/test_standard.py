import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from textclf.data.read_files import read_file, read_split
from textclf.data.standard import fingerprint_of, standard_columns
from textclf.errors import UserError
from textclf.hashing import rows_hash
from textclf.hub import cache_folder

NAMES = ("negative", "positive")
TEXTS = ["NA", "null", "", "nan", "None", 'say "hi"', "'", '"', "a, b", "  spaces ", "007", "1.0", "재미있다 😀", "\\t"]
LABELS = [NAMES[i % 2] for i in range(len(TEXTS))]
IDS = [f"{i:03}" for i in range(len(TEXTS))]
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


def write(path, columns):
    """Writes columns as the kind of file that the suffix names; those of a .tsv must hold no tabs."""
    rows = list(zip(*columns.values(), strict=True))
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([list(columns), *rows])
    elif path.suffix == ".tsv":
        path.write_text("\n".join("\t".join(map(str, row)) for row in [list(columns), *rows]), encoding="utf-8")
    else:
        lines = (json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in rows)
        path.write_text("\n".join(lines), encoding="utf-8")
    return path


def standard(source, text="text", text_pair=None, label="label", id_="id", label_names=NAMES):
    rows = standard_columns(source, text=text, text_pair=text_pair, label=label, id_=id_, label_names=label_names)
    return rows.remove_columns("changed")


def test_all_kinds_of_files_give_the_same_rows(tmp_path):
    prints = set()
    for suffix in SUFFIXES:
        path = write(tmp_path / f"train{suffix}", {"label": LABELS, "other": [7] * 14, "text": TEXTS, "id": IDS})
        rows = standard(read_file(path))
        assert rows[:] == {"id": IDS, "text": TEXTS, "label": [0, 1] * 7}, suffix
        assert rows.features == {"id": Value("string"), "text": Value("string"), "label": Value("int64")}
        prints.add(rows_hash(rows))
    in_memory = Dataset.from_dict({"id": ["x", *IDS], "text": ["x", *TEXTS], "label": [1, *([0, 1] * 7)]})
    prints.add(rows_hash(standard(in_memory.select(range(1, 15)))))
    assert len(prints) == 1


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_line_breaks_stay_in_texts(tmp_path, suffix):
    texts = ["one\ntwo", "a\r\nb", "\ttab", "last\n"]
    path = write(tmp_path / f"train{suffix}", {"text": texts, "label": [0, 1, 0, 1]})
    assert standard(read_file(path))["text"][:] == texts


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_byte_order_mark(tmp_path, suffix):
    path = write(tmp_path / f"train{suffix}", {"text": ["좋다", "싫다"], "label": ["positive", "negative"]})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert standard(read_file(path))[:] == {"id": ["0", "1"], "text": ["좋다", "싫다"], "label": [1, 0]}


def test_csv_with_an_unnamed_index_column_and_numbers_as_texts(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(",text,label\n0,10,0\n1,1e3,1\n2,a,1\n", encoding="utf-8")
    assert standard(read_file(path))[:] == {"id": ["0", "1", "2"], "text": ["10", "1e3", "a"], "label": [0, 1, 1]}


def test_folder_name_with_signs_of_patterns(tmp_path):
    folder = tmp_path / "v[1] *?"
    folder.mkdir()
    write(folder / "test.csv", {"text": ["a"], "label": [1]})
    assert standard(read_split(str(folder), "test"))["text"][:] == ["a"]


def test_many_rows(tmp_path):
    texts = ["a"] * 12_000 + ["5"] * 12_000
    path = write(tmp_path / "train.csv", {"text": texts, "label": [1] * 24_000})
    rows = standard(read_file(path))
    assert rows["text"][:] == texts
    assert rows["id"][-1] == "23999"
    assert rows_hash(rows) == rows_hash(standard(Dataset.from_dict({"text": texts, "label": [1] * 24_000})))


def test_pairs_and_missing_texts_and_ids():
    source = Dataset.from_dict({"id": ["a", None], "q": ["x", None], "a": [None, "y"], "y": [1, 0], "more": [1, 2]})
    rows = standard(source, text="q", text_pair="a", label="y")
    assert rows[:] == {"id": ["a", "1"], "text": ["x", ""], "text_pair": ["", "y"], "label": [1, 0]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"body": ["a"], "label": [0]},
            "there is no text column 'text': the rows have body, label; name another text_column",
        ),
        (
            {"text": ["a"], "y": [0]},
            "there is no label column 'label': the rows have text, y; name another label_column",
        ),
        ({"text": [1, 2], "label": [0, 1]}, "column 'text' holds int64, not text: name another text_column"),
        ({"text": [["a"], ["b"]], "label": [0, 1]}, "column 'text' holds List"),
        ({"text": [{"a": "b"}], "label": [0]}, "column 'text' holds .*, not text: name another"),
    ],
)
def test_wrong_columns(columns, message):
    with pytest.raises(UserError, match=message):
        standard(Dataset.from_dict(columns))


@pytest.mark.parametrize("texts", [["10", "", "-1e3"], ["1,000", "2.5%", None], [" 7 "], [*["1"] * 25_000, "2"]])
@pytest.mark.parametrize("pair", [None, "pair"])
def test_texts_that_are_all_numbers(texts, pair):
    words = [f"{text} apples" for text in texts]
    columns = {"text": words if pair else texts, "pair": texts, "label": [0] * len(texts)}
    number = texts[0].strip()
    with pytest.raises(
        UserError, match=f"column '{pair or 'text'}' holds numbers only, such as '{number}', not text: name "
    ):
        standard(Dataset.from_dict(columns), text_pair=pair)


@pytest.mark.parametrize(
    "texts", [["1", "2", "a"], [*["1"] * 25_000, "두 개"], ["", " "], [None, None], ["1 2"], ["."]]
)
def test_texts_of_which_some_are_numbers(texts):
    rows = standard(Dataset.from_dict({"text": texts, "label": [0] * len(texts)}))
    assert rows["text"][:] == [text or "" for text in texts]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1 cut off", "cannot load the file .*a.parquet"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text":\n', "a.jsonl' line 2 is not a JSON object"),
        ("a.csv", b'text,label\n"no end,1\n', "a.csv' line 2 has a quotation mark that is never closed"),
        (
            "a.csv",
            "text,label\n나쁘다,0\n".encode("cp949") + "좋아요,1\n".encode(),
            "a.csv' mixes .*: line 3 is not cp949",
        ),
        (
            "a.tsv",
            "text\n지루하다\n재미있다\n".encode() + "감동\n".encode("cp949"),
            "a.tsv' mixes .*: line 4 is not UTF-8",
        ),
        (
            "a.jsonl",
            b'{"text": "' + bytes(range(128, 256)) + b'"}\n',
            "a.jsonl' is not UTF-8 in line 1, .* detected",
        ),
        ("a.csv", b"text,label\n", "a.csv' holds no rows: add some, or delete it"),
        ("a.tsv", b"text\tlabel\n", "a.tsv' holds no rows"),
        ("a.jsonl", b"\n", "a.jsonl' holds no rows"),
        ("a.csv", b"", "a.csv' is empty"),
        ("a.jsonl", b"", "a.jsonl' is empty"),
        ("a.txt", b"x", r"'.txt' is not one of .parquet, .csv, .tsv, .jsonl"),
        ("a.csv", None, "a.csv' does not exist"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        read_file(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_half_a_parquet_file(tmp_path):
    path = write(tmp_path / "train.parquet", {"text": [f"영화 {i}" for i in range(5000)], "label": [0, 1] * 2500})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cannot load the file .*train.parquet' \(.*\): give a whole file") as raised:
        read_split(str(tmp_path), "train")
    assert "\n" not in str(raised.value)
    assert not [file for file in cache_folder().rglob("*") if file.name.startswith(".")]


def test_parquet_without_rows(tmp_path):
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet' holds no rows"):
        read_file(tmp_path / "a.parquet")


def test_parquet_keeps_what_a_column_is(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    named = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, 1]}, features=features)
    named.to_parquet(tmp_path / "named.parquet")
    assert read_file(tmp_path / "named.parquet").features["label"] == ClassLabel(names=["neg", "pos"])
    table = pa.table({"text": ["a", "b"], "label": pa.array(["x", "y"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "categories.parquet")
    assert read_file(tmp_path / "categories.parquet")[:] == {"text": ["a", "b"], "label": ["x", "y"]}


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_other_encodings_give_the_same_rows(tmp_path, suffix, encoding):
    texts = [
        "재미있다",
        "짱",
        'say "hi"',
        "나쁘다\r\n또는 좋다" if suffix == ".csv" else "나쁘다",
        "ㅋㅋㅋ 별로",
    ] * 2200
    rows = standard(read_file(write(tmp_path / f"utf8{suffix}", {"text": texts, "label": [0, 1] * 5500})))
    (tmp_path / f"other{suffix}").write_bytes((tmp_path / f"utf8{suffix}").read_bytes().decode().encode(encoding))
    others = standard(read_file(tmp_path / f"other{suffix}"))
    assert others["text"][:] == texts
    assert rows_hash(others) == rows_hash(rows)


def test_changed_file_is_read_again(tmp_path):
    path = write(tmp_path / "train.csv", {"text": ["a", "b"], "label": [0, 1]})
    before = standard(read_file(path))[:]
    write(path, {"text": ["a", "c"], "label": [1, 1]})
    assert before == {"id": ["0", "1"], "text": ["a", "b"], "label": [0, 1]}
    assert standard(read_file(path))[:] == {"id": ["0", "1"], "text": ["a", "c"], "label": [1, 1]}


ROWS = st.lists(st.tuples(st.text(max_size=8), st.integers(0, 3)), min_size=1, max_size=12)


def as_rows(pairs):
    columns = {"text": [text for text, _ in pairs], "label": [label for _, label in pairs]}
    return Dataset.from_dict(columns, features=Features({"text": Value("string"), "label": Value("int64")}))


@pytest.mark.slow
@settings(max_examples=40)
@given(ROWS, st.data())
def test_fingerprint_tells_what_the_rows_say(pairs, data):
    key = rows_hash(as_rows(pairs))
    assert rows_hash(as_rows(pairs)) == key
    assert rows_hash(as_rows([("x", 0), *pairs, ("y", 1)]).select(range(1, len(pairs) + 1))) == key
    place = data.draw(st.integers(0, len(pairs) - 1))
    text, label = pairs[place]
    for changed in ((text + "x", label), (text, label + 1)):
        assert rows_hash(as_rows([*pairs[:place], changed, *pairs[place + 1 :]])) != key
    assert rows_hash(as_rows([*pairs, pairs[-1]])) != key
    if pairs != pairs[::-1]:
        assert rows_hash(as_rows(pairs[::-1])) != key


def test_fingerprint_covers_rows_past_the_first_window():
    texts = ["a"] * 25_000
    changed = [*texts[:-1], "b"]
    assert rows_hash(Dataset.from_dict({"text": texts})) != rows_hash(Dataset.from_dict({"text": changed}))


def test_fingerprints_of_datasets_follow_the_rows(tmp_path):
    files = [tmp_path / name for name in ("a.csv", "b.csv", "other.csv")]
    for file, text in zip(files, ("fine", "fine", "dull"), strict=True):
        file.write_text(f"text,label\n{text},0\n")
    first, same, other = (fingerprint_of(read_file(file)) for file in files)
    assert first == same != other
    assert fingerprint_of(read_file(files[0]).map(lambda row: row, new_fingerprint="given")) == "given"
