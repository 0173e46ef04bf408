"""Shards of predictions, without a model."""

import functools
import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textclf.errors import UserError
from textclf.run.prediction_outputs import OUTPUTS, OutputColumns, join_outputs, open_sink
from textclf.run.prediction_shards import ShardFolder, ShardPlan, answer_facts

FACTS = {"input": [{"hash": "a"}], "checkpoint": {"path": "x", "hash": "b"}, "options": {"--keep": ["n"]}}


@given(done=st.sets(st.integers(0, 30)), processes=st.integers(1, 5))
def test_each_missing_shard_is_written_by_one_process(done, processes):
    plans = [ShardPlan(10, sorted(done), rank, processes) for rank in range(processes)]
    writers = [[plan.rank for plan in plans if plan.is_mine(shard)] for shard in range(40)]
    assert [len(found) for found in writers] == [shard not in done for shard in range(40)]
    assert [found[0] for found in writers if found] == [i % processes for i in range(40 - len(done))]


def folder(path, rows=3, joined=None):
    return ShardFolder(path, ".jsonl", rows, joined)


def write(shards, *numbers):
    for number in numbers:
        shards.shard(number).write_text(f"{number}\n" * 3)


def manifest(path):
    return json.loads((path / "_manifest.json").read_text())


def test_a_run_that_is_resumed(tmp_path):
    first = folder(tmp_path / "out")
    assert first.claim(FACTS, resume=False) == []
    write(first, 0, 2)
    first.abandon(others_write=False)
    second = folder(tmp_path / "out")
    assert second.claim(FACTS, resume=True) == [0, 2]
    (tmp_path / "out" / ".part-00001-x.jsonl").touch()
    write(second, 1)
    second.complete(8)
    whole = manifest(tmp_path / "out")
    assert (whole["complete"], whole["rows"], whole["format"], whole["shard_rows"]) == (True, 8, "jsonl", 3)
    assert [(shard["first_row"], shard["rows"]) for shard in whole["shards"]] == [(0, 3), (3, 3), (6, 2)]
    names = ["_manifest.json", "part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


SHARD = {"name": "part-00000.jsonl", "hash": "x"}


@pytest.mark.parametrize(
    "change",
    [
        {"shards": 7},
        {"shards": ["part-00000.jsonl"]},
        {"shards": [{**SHARD, "name": 7}]},
        {"shards": [{**SHARD, "name": "../part-00000.jsonl"}]},
        {"shards": [{**SHARD, "name": "/part-00000.jsonl"}]},
        {"shards": [{**SHARD, "name": ".."}]},
        {"shards": [{"name": "part-00000.jsonl"}]},
        {"input": 7},
        {"input": ["x"]},
        {"checkpoint": "x"},
        {"options": [1]},
        {"options": {"x": functools.reduce(lambda inner, _: [inner], range(200), [])}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_damaged_manifest_is_refused(tmp_path, change):
    first = folder(tmp_path / "out")
    first.claim(FACTS, resume=False)
    write(first, 0)
    first.abandon(others_write=False)
    (tmp_path / "out" / "_manifest.json").write_text(json.dumps(manifest(tmp_path / "out") | change))
    with pytest.raises(UserError, match=r"_manifest.json' is damaged .*: delete its folder"):
        folder(tmp_path / "out").claim(FACTS, resume=True)


def test_nothing_to_resume(tmp_path, capsys):
    assert folder(tmp_path / "out").claim(FACTS, resume=True) == []
    assert "there is nothing to resume, so it starts with the first row" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": [{"hash": "c"}]}, "was begun with another input: give that of the first command"),
        ({"input": []}, "another input"),
        ({"checkpoint": {"path": "x", "hash": "c"}}, "another checkpoint"),
        ({"checkpoint": None}, "another checkpoint"),
        ({"options": {"--keep": None}}, r"another --keep \(\['n'\], now None\)"),
        ({"options": {"--keep": ["n"], "--data.seed": 1}}, r"another --data.seed \(None, now 1\)"),
    ],
)
def test_another_run_is_not_resumed(tmp_path, change, message):
    first = folder(tmp_path / "out")
    first.claim(FACTS, resume=False)
    write(first, 0)
    first.abandon(others_write=False)
    with pytest.raises(UserError, match=message):
        folder(tmp_path / "out").claim({**FACTS, **change}, resume=True)
    moved = {**FACTS, "checkpoint": {"path": "y", "hash": "b"}}
    assert folder(tmp_path / "out").claim(moved, resume=True) == [0]


def test_other_shards_are_not_resumed(tmp_path):
    first = folder(tmp_path / "out")
    first.claim(FACTS, resume=False)
    write(first, 0)
    first.abandon(others_write=False)
    for other, message in (
        (folder(tmp_path / "out", rows=4), r"another shard_rows \(3, now 4\)"),
        (ShardFolder(tmp_path / "out", ".csv", 3), r"another format \('jsonl', now 'csv'\)"),
    ):
        with pytest.raises(UserError, match=message):
            other.claim(FACTS, resume=True)


def test_shards_are_not_written_over(tmp_path):
    first = folder(tmp_path / "out")
    first.claim(FACTS, resume=False)
    with pytest.raises(UserError, match="another predict is writing to it"):
        folder(tmp_path / "out").claim(FACTS, resume=True)
    write(first, 0)
    first.abandon(others_write=False)
    with pytest.raises(UserError, match=r"has the shards of an interrupted run: resume it with --resume"):
        folder(tmp_path / "out").claim(FACTS, resume=False)
    first.claim(FACTS, resume=True)
    first.complete(3)
    with pytest.raises(UserError, match=r"has the predictions of an earlier run: name another folder"):
        folder(tmp_path / "out").claim(FACTS, resume=False)
    first.shard(0).write_text("changed\n")
    with pytest.raises(UserError, match=r"part-00000.jsonl' has changed since it was written: delete it"):
        folder(tmp_path / "out").claim(FACTS, resume=True)
    first.shard(0).unlink()
    assert folder(tmp_path / "out").claim(FACTS, resume=True) == []


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / ".hidden").touch()
    folder(tmp_path).claim(FACTS, resume=False)
    (tmp_path / "_manifest.json").unlink()
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match=r"is a folder with other files, such as 'mine.txt': name a new one"):
        folder(tmp_path).claim(FACTS, resume=False)
    assert not (tmp_path / ".lock").exists()
    (tmp_path / "_manifest.json").write_text('{"input": ')
    with pytest.raises(UserError, match=r"_manifest.json' is damaged .*: delete its folder"):
        folder(tmp_path).claim(FACTS, resume=True)
    with pytest.raises(UserError, match=r"mine.txt/x' cannot be written \(Not a directory\)"):
        folder(tmp_path / "mine.txt" / "x").claim(FACTS, resume=False)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        "\udc80",
        '{"input": 3}',
        '{"input": [3]}',
        '{"input": [{"hash": "a"}], "checkpoint": "x"}',
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path, content):
    (tmp_path / "_manifest.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    write(folder(tmp_path), 0)
    with pytest.raises(UserError, match=r"_manifest.json' is damaged \(.*\): delete its folder"):
        folder(tmp_path).claim(FACTS, resume=True)


@pytest.mark.parametrize("existed", [True, False])
def test_a_run_that_fails_before_its_first_shard_leaves_nothing(tmp_path, existed):
    path = tmp_path / "out"
    if existed:
        path.mkdir()
    shards = folder(path)
    shards.claim(FACTS, resume=False)
    (path / ".part-00000-x.jsonl").touch()
    shards.abandon(others_write=False)
    assert list(tmp_path.rglob("*")) == ([path] if existed else [])


@pytest.mark.parametrize("suffix", OUTPUTS)
def test_shards_that_are_cut_off_are_written_again(tmp_path, suffix):
    shards = ShardFolder(tmp_path, suffix, 3)
    shards.claim(FACTS, resume=False)
    for number in range(4):
        with open_sink(str(shards.shard(number)), OutputColumns(("a", "b"))) as sink:
            sink([{"id": "0", "text": "x\ny", "label": "a", "score": 1.0, "scores": {"a": 1.0, "b": 0.0}}])
    whole = shards.shard(1).read_bytes()
    shards.shard(1).write_bytes(b"")
    shards.shard(2).write_bytes(whole[:-1])
    shards.shard(3).write_bytes(bytes(len(whole)))  # the system had stored its size, but not its content
    shards.abandon(others_write=True)
    assert ShardFolder(tmp_path, suffix, 3).claim(FACTS, resume=True) == [0]


def test_facts_have_no_secret(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"x")
    config = {
        "model": {"class_path": "M", "init_args": {"base_url": "https://me:hunter2@host"}},
        "data": {"class_path": "D", "init_args": {"num_workers": 3, "text_column": "q"}},
        "trainer": {"precision": "32-true"},
        "keep": None,
        "keep_all": False,
    }
    facts = answer_facts([], tmp_path / "a.ckpt", config)
    assert "hunter2" not in json.dumps(facts)
    assert facts["options"]["--data.text_column"] == "q"
    assert "--data.num_workers" not in facts["options"]


@pytest.mark.parametrize("suffix", OUTPUTS)
def test_joined_outputs_are_as_if_written_at_once(tmp_path, suffix):
    columns = OutputColumns(("a\nb", "c"))
    row = {"text": 'x "y"\n', "label": "c", "score": 0.75, "scores": {"a\nb": 0.25, "c": 0.75}}
    rows = [{"id": str(i), **row} for i in range(7)]
    parts = [tmp_path / f"part-{i}{suffix}" for i in range(4)]
    for number, path in enumerate([*parts, tmp_path / f"whole{suffix}"]):
        chosen = rows if number == 4 else rows[2 * number : 2 * number + 2]
        with open_sink(str(path), columns) as sink:
            sink(chosen)
    join_outputs(parts, tmp_path / f"joined{suffix}", columns)
    joined, whole = tmp_path / f"joined{suffix}", tmp_path / f"whole{suffix}"
    if suffix == ".parquet":
        assert pq.read_table(joined).equals(pq.read_table(whole))
    else:
        assert joined.read_bytes() == whole.read_bytes()
