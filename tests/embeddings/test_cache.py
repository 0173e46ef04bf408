"""Vectors on disk: complete, or computed again."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest

from textclf.embeddings.cache import Embedded, VectorCache, is_damage
from textclf.errors import UserError
from textclf.hashing import text_key

WRITER = """
import sys
from pathlib import Path
import numpy as np
from textclf.embeddings.cache import Embedded, VectorCache
from textclf.hashing import text_key

cache = VectorCache(Path(sys.argv[1]), 64)
print("ready", flush=True)
for start in range(0, int(sys.argv[2]), 50):
    texts = [f"text {i}" for i in range(start, start + 50)]
    vectors = {text_key(t): Embedded(np.full(64, i + start + float(sys.argv[3]), dtype=np.float32), i, 0)
               for i, t in enumerate(texts)}
    kept = cache.add(vectors)
    print(start, [float(kept[text_key(t)].vector[0]) for t in texts], flush=True)
"""


def some(texts, dimension=4):
    return {text_key(t): Embedded(np.arange(dimension, dtype=np.float32) + i, i, 2 * i) for i, t in enumerate(texts)}


def equal(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[key].vector, other[key].vector) and one[key][1:] == other[key][1:] for key in one
    )


@pytest.fixture
def cache(tmp_path):
    return VectorCache(tmp_path / "new" / "vectors.sqlite", 4)


def test_gives_back_what_it_was_given_and_knows_what_it_was_not(cache):
    rows = some(["a", "나", "", "\ud800", *(f"text {i}" for i in range(1200))])
    assert cache.get(list(rows)) == {}
    assert equal(cache.add(rows), rows)
    assert equal(cache.get([*rows, text_key("another")]), rows)


def test_texts_that_look_alike_are_others():
    texts = ["a", "a ", "A", "á", "a\u0301", "", "\x00"]
    assert len({text_key(text) for text in texts}) == len(texts)


def test_the_first_of_two_vectors_of_a_text_holds(cache):
    first, second = some(["a"]), {text_key("a"): Embedded(np.ones(4, dtype=np.float32), 9, 9)}
    cache.add(first)
    assert equal(cache.add(second), first)
    assert equal(cache.get(list(first)), first)


def test_a_changed_byte_costs_one_row(cache, capsys):
    rows = some(["a", "b", "c"])
    cache.add(rows)
    content = bytearray(cache.path.read_bytes())
    place = content.index(rows[text_key("b")].vector.tobytes())
    content[place + 3] ^= 1
    cache.path.write_bytes(content)
    found = cache.get(list(rows))
    assert text_key("b") not in found
    assert len(found) == 2
    assert "1 vectors" in capsys.readouterr().err
    assert equal(cache.add({k: v for k, v in rows.items() if k not in found}), {text_key("b"): rows[text_key("b")]})
    assert equal(cache.get(list(rows)), rows)


def index_page(path):
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE type = 'index'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    return slice((page - 1) * size, page * size)


@pytest.mark.parametrize("damage", ["garbage", "cut", "header", "pages", "index"])
def test_a_damaged_file_is_replaced(cache, damage, capsys):
    rows = some([f"text {i}" for i in range(500)])
    cache.add(rows)
    whole, index = cache.path.read_bytes(), index_page(cache.path)
    cache.path.write_bytes(
        {
            "garbage": b"no database at all" * 100,
            "cut": whole[: len(whole) // 2 + 11],
            "header": b"\x00" * 100 + whole[100:],
            "pages": whole[:4096] + b"\xff" * (len(whole) - 4096),
            "index": whole[: index.start] + b"\xff" * 100 + whole[index.start + 100 :],
        }[damage]
    )
    known = cache.get(list(rows))
    assert equal(known, {key: rows[key] for key in known})
    assert equal(cache.add(rows), rows)
    assert equal(cache.get(list(rows)), rows)
    assert "computed again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        (sqlite3.SQLITE_CORRUPT_INDEX, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_IOERR_SHORT_READ, True),
        (sqlite3.SQLITE_IOERR_WRITE, False),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, False),
    ],
)
def test_which_errors_are_of_a_damaged_file(code, damage):
    error = sqlite3.DatabaseError("invented")
    error.sqlite_errorcode = code
    assert is_damage(error) == damage


def test_a_file_that_another_process_has_replaced_is_kept(cache, monkeypatch, capsys):
    cache.add(some(["old"]))
    cache.path.write_bytes(b"no database at all" * 100)
    mine, theirs = some(["mine"]), some(["mine", "theirs"])
    tried = VectorCache._try

    def slower(self, work):
        try:
            return tried(self, work)
        except sqlite3.DatabaseError:
            monkeypatch.undo()
            VectorCache(cache.path, 4).add(theirs)
            raise

    monkeypatch.setattr(VectorCache, "_try", slower)
    cache.add(mine)
    assert equal(cache.get(list(theirs)), theirs)
    assert capsys.readouterr().err.count("is damaged") == 1


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "vectors.sqlite").mkdir()
    with pytest.raises(UserError, match="cannot be read or written") as raised:
        VectorCache(tmp_path / "vectors.sqlite", 4).add(some(["a"]))
    assert "HF_DATASETS_CACHE" in str(raised.value)


def start(path, texts, offset):
    command = [sys.executable, "-c", WRITER, str(path), str(texts), str(offset)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_killed_at_any_moment_it_still_works(tmp_path):
    path = tmp_path / "vectors.sqlite"
    for attempt in range(4):
        process = start(path, 100_000, 0)
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05 + 0.1 * attempt)
        process.send_signal(signal.SIGKILL)
        told = [line for line in process.stdout if line.endswith("]\n")]
        process.wait()
        cache = VectorCache(path, 64)
        keys = [text_key(f"text {i}") for i in range(50 * len(told))]
        found = cache.get(keys)
        assert len(found) == len(keys)
        assert all(found[key].vector[0] == i for i, key in enumerate(keys))
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        (count,) = sqlite3.connect(path).execute("SELECT COUNT(*) FROM vectors").fetchone()
        assert count % 50 == 0  # all of a batch, or none
    cache.add(some(["one more"], dimension=64))  # a journal that was not written yet stays until the next write
    assert os.listdir(tmp_path) == ["vectors.sqlite"]


@pytest.mark.slow
def test_two_processes_on_a_damaged_file_lose_nothing(tmp_path):
    path = tmp_path / "vectors.sqlite"
    path.write_bytes(b"no database at all" * 1000)
    both = [start(path, 500, 0) for _ in range(2)]
    for process in both:
        process.communicate(timeout=120)
        assert process.returncode == 0
    keys = [text_key(f"text {i}") for i in range(500)]
    found = VectorCache(path, 64).get(keys)
    assert [int(found[key].vector[0]) for key in keys] == list(range(500))


@pytest.mark.exhaustive
def test_two_processes_at_once_agree(tmp_path):
    path = tmp_path / "vectors.sqlite"
    both = [start(path, 3000, offset) for offset in (0, 0.5)]
    first, second = (process.communicate(timeout=120)[0].splitlines()[1:] for process in both)
    assert all(process.returncode == 0 for process in both)
    assert first == second
    assert len(first) == 60
