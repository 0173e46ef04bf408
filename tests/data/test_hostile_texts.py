"""Files of hostile texts: a row for each, in order, with its text, in every format and by every way of reading."""

import json
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textclf.data import FilesDataModule
from textclf.data.text_values import mended
from textclf.run.prediction_inputs import read_texts

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from invariance.hostile import KINDS, all_texts, long_texts

PIECES = [text for kind in KINDS.values() for text in kind]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=4).map("".join) | st.text(max_size=20)


def write_csv(path, texts):
    frame = pd.DataFrame({"id": range(len(texts)), "text": list(map(mended, texts)), "label": "a"})
    frame.to_csv(path, index=False, quoting=1, lineterminator="\n", encoding="utf-8")


def write_tsv(path, texts):
    """Without quotes: a text has neither tabs nor line breaks."""
    lines = [f"{i}\t{text}\ta\n" for i, text in enumerate(map(mended, texts))]
    path.write_text("".join(["id\ttext\tlabel\n", *lines]), encoding="utf-8", newline="")


def write_jsonl(path, texts):
    """With lone surrogates, as JSON can escape them."""
    lines = [json.dumps({"id": str(i), "text": text, "label": "a"}) + "\n" for i, text in enumerate(texts)]
    path.write_text("".join(lines), encoding="utf-8")


def write_parquet(path, texts):
    """With invalid characters as they are in other programs' files."""
    column = pa.array([text.encode("utf-8", "surrogatepass") for text in texts], pa.binary())
    pq.write_table(
        pa.table(
            {"id": list(map(str, range(len(texts)))), "text": column.view(pa.string()), "label": ["a"] * len(texts)}
        ),
        path,
    )


WRITERS = {".csv": write_csv, ".tsv": write_tsv, ".jsonl": write_jsonl, ".parquet": write_parquet}
BREAKS = "\t\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def readable(texts, suffix):
    """The texts that a file of this format can hold."""
    if suffix == ".tsv":
        return ["".join(" " if sign in "\t\r\n" else sign for sign in text) for text in texts]
    return texts


def expected_of(texts, suffix):
    return list(map(mended, texts))


def assert_read(folder, suffix, texts):
    """Reads the rows as a split, and as the input of `predict`."""
    texts = ["film", *readable(texts, suffix)]  # a column that holds numbers alone is refused
    path = folder / f"test{suffix}"
    WRITERS[suffix](path, texts)
    expected = expected_of(texts, suffix)
    found = list(read_texts(None, str(path), "text").rows)
    assert [row["text"] or "" for row in found] == expected
    assert [row["id"] for row in found] == list(map(str, range(len(texts))))
    rows = FilesDataModule(str(folder), label_names=["a", "b"], cleaning=[]).rows("test")
    assert [text or "" for text in rows["text"]] == expected
    assert rows["id"] == list(map(str, range(len(texts))))


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_hostile_text_is_a_row(suffix, tmp_path):
    assert_read(tmp_path, suffix, all_texts())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
def test_lines_of_a_megabyte_are_rows(suffix, tmp_path):
    assert_read(tmp_path, suffix, long_texts())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(TEXTS, max_size=6))
def test_drawn_texts_are_rows(suffix, tmp_path_factory, texts):
    assert_read(tmp_path_factory.mktemp("rows"), suffix, texts)
