import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from textclf.errors import UserError
from textclf.models import counted_rows
from textclf.models.array_file import temporary_arrays
from textclf.models.counted_rows import CountedRows
from textclf.ngrams import count_ngrams

KINDS = {"word": (1, 2), "char": (1, 3)}
TEXTS = [f"row {i % 7} of the film {i}" * (i % 3) for i in range(60)]


@contextmanager
def counted(texts=TEXTS, pairs=None, with_totals=True, processes=1):
    columns = {"text": texts, "label": [0] * len(texts)} | ({} if pairs is None else {"text_pair": pairs})
    with temporary_arrays("counts") as file:
        yield CountedRows(Dataset.from_dict(columns), KINDS, with_totals, processes, file)


def contents(**arguments):
    """Everything that was counted, as plain values."""
    with counted(**arguments) as counts:
        return [
            (
                vocabulary,
                [matrix.toarray().tolist() for matrix in counts.matrices({"film": 0, "f": 1, "row 3": 2}, number)],
            )
            for number, vocabulary in enumerate(counts.vocabularies)
        ]


@pytest.fixture(params=[1, 100, 10**6])
def chunk_characters(request, monkeypatch):
    monkeypatch.setattr(counted_rows, "CHUNK_CHARACTERS", request.param)
    monkeypatch.setattr(counted_rows, "READ_ROWS", 7)


def test_chunks_are_counted_as_one(chunk_characters):
    with counted(pairs=TEXTS[::-1]) as counts:
        kinds = [(vocabulary.column, vocabulary.analyzer) for vocabulary in counts.vocabularies]
        assert kinds == [("text", "word"), ("text", "char"), ("text_pair", "word"), ("text_pair", "char")]
        for number, vocabulary in enumerate(counts.vocabularies):
            texts = TEXTS if vocabulary.column == "text" else TEXTS[::-1]
            names, expected = count_ngrams(texts, vocabulary.analyzer, KINDS[vocabulary.analyzer])
            assert list(vocabulary.frequencies) == list(vocabulary.totals) == names
            assert list(vocabulary.frequencies.values()) == np.asarray((expected > 0).sum(axis=0)).ravel().tolist()
            assert list(vocabulary.totals.values()) == np.asarray(expected.sum(axis=0)).ravel().tolist()
            kept = {name: place for place, name in enumerate(names[1::2])}
            rows = np.concatenate([matrix.toarray() for matrix in counts.matrices(kept, number)])
            np.testing.assert_array_equal(rows, expected.toarray()[:, 1::2])


def test_nothing_is_said_where_no_ngram_is_left_out(capsys):
    with counted() as counts:
        for vocabulary in counts.vocabularies:
            vocabulary.say_dropped()
    assert capsys.readouterr() == ("", "")


def test_totals_only_where_they_are_used():
    with counted(with_totals=False) as counts:
        assert [vocabulary.totals for vocabulary in counts.vocabularies] == [{}, {}]


@pytest.mark.slow
def test_processes_do_not_matter(monkeypatch):
    monkeypatch.setattr(counted_rows, "CHUNK_CHARACTERS", 100)
    expected = contents(pairs=TEXTS[::-1])
    assert contents(pairs=TEXTS[::-1], processes=2) == expected


def test_of_too_many_ngrams_the_frequent_ones_are_kept(monkeypatch, capsys):
    monkeypatch.setattr(counted_rows, "CHUNK_CHARACTERS", 100)
    monkeypatch.setattr(counted_rows, "MAX_NGRAMS", 40)
    texts = [f"the film {i} {i + 1000}" for i in range(200)]
    with counted(texts) as counts:
        words = counts.vocabularies[0]
        assert len(words.frequencies) <= 40
        assert words.frequencies.keys() == words.totals.keys()
        assert words.frequencies["the film"] == words.frequencies["film"] == words.totals["the"] == 200
        words.say_dropped()
        said = f"text has more than 40 distinct n-grams for word_ngrams, .* in up to {words.dropped:,} of the rows"
        assert re.search(said, capsys.readouterr().err)
        # What was dropped counts as 0, also in rows that were read before.
        assert sum(matrix.sum() for matrix in counts.matrices({"film": 0, "7": 1}, 0)) >= 200


@pytest.mark.slow
def test_a_killed_worker_is_reported_in_one_line(monkeypatch):
    monkeypatch.setattr(counted_rows, "CHUNK_CHARACTERS", 100)
    monkeypatch.setattr(counted_rows, "count_in_worker", lambda *_: os._exit(1))
    with (
        pytest.raises(UserError, match=r"was killed, .* too little memory: use fewer cores") as caught,
        counted(processes=2),
    ):
        pass
    assert "\n" not in str(caught.value)


ENDLESS = """
from textclf.errors import UserError
from textclf.models import counted_rows

counted_rows.MAX_NGRAMS = 10_000
chunks = ({"text": [f"{i} {j}" * 20 for j in range(1000)]} for i in range(10**6))
for number, _ in enumerate(counted_rows._count(chunks, {"char": (1, 4)}, 2)):
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_workers_end_with_a_killed_process():
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE)
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
