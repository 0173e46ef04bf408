"""`measure_corpus.py` and `measure_ray.py` up to their first command, and the count of rows."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "0"], "--rows 0 is too small: give 100 or more"),
        (["--processes", "0"], "--processes 0 is too small: give 1 or more"),
        (["--shard_rows", "-1"], "--shard_rows -1 is too small: give 1 or more"),
        (["--seed", "-1"], "--seed -1 is too small: give 0 or more"),
    ],
)
def test_numbers_out_of_range(script, capsys, words, said):
    assert script.main(words) == 2
    assert capsys.readouterr().err.strip().endswith(said)


@pytest.mark.parametrize(
    ("shards", "lost", "twice", "misplaced"),
    [
        ([[0, 1], [2, 3]], 0, 0, 0),
        ([[0, 1], [2]], 1, 0, 0),
        ([[0, 1], [1, 2, 3]], 0, 1, 3),
        ([[2, 3], [0, 1]], 0, 0, 4),
        ([[0, 1]], 2, 0, 0),
    ],
)
def test_rows_are_counted(script, tmp_path, shards, lost, twice, misplaced):
    for number, ids in enumerate(shards):
        pq.write_table(pa.table({"id": [f"r{i}" for i in ids]}), tmp_path / f"part-{number:05d}.parquet")
    found = script.count_rows(tmp_path, 4)
    assert (found["rows_lost"], found["rows_twice"], found["rows_misplaced"]) == (lost, twice, misplaced)


def test_the_corpus_depends_on_its_seed_alone(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "IN_A_FILE", 40)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        script.write_corpus(tmp_path / name, 100, seed)
    one, same, other = (pq.read_table(tmp_path / name) for name in "abc")
    assert one.equals(same)
    assert not one.equals(other)
    assert sorted(one["id"].to_pylist(), key=lambda text: int(text[1:])) == [f"r{i}" for i in range(100)]
