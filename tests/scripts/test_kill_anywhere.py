"""`scripts/kill_anywhere.py`: its checks find half files and other results, and a short form of it finds nothing."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "kill_anywhere.py"


@pytest.fixture
def checks(script):
    from kills import checks

    return checks


def write_arrow(path):
    table = pa.table({"text": ["a film"] * 100})
    with pa.ipc.new_stream(path, table.schema) as sink:
        sink.write_table(table)


def write_database(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE answers (text)")
        connection.executemany("INSERT INTO answers VALUES (?)", [["a film" * 100]] * 100)


WRITERS = {
    "last.ckpt": lambda path: torch.save({"weight": torch.zeros(100)}, path),
    "predictions.parquet": lambda path: pq.write_table(pa.table({"text": ["a film"] * 100}), path),
    "rows.arrow": write_arrow,
    "chat.sqlite": write_database,
    "metrics.csv": lambda path: path.write_text("step,loss\n1,0.5\n2,0.25\n"),
    "metrics.json": lambda path: path.write_text('{"test/accuracy": 0.5}\n'),
    "out.jsonl": lambda path: path.write_text('{"id": "12345"}\n{"id": "1", "label": "good"}\n'),
    "config.yaml": lambda path: path.write_text("model: {}\ntrainer: {max_epochs: 3}\n"),
    "report.txt": lambda path: path.write_text("accuracy: 0.5\n"),
    "index.html": lambda path: path.write_text("<html><p>a report</p></html>\n"),
    "roc.png": lambda path: Image.effect_noise((64, 64), 50).save(path),
    "weights.bin": lambda path: path.write_bytes(b"1"),
}


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_cut_off_is_found(name, share, checks, tmp_path):
    path = tmp_path / "run" / name
    path.parent.mkdir()
    WRITERS[name](path)
    assert checks.half_files(tmp_path) == []
    os.truncate(path, int(share * path.stat().st_size))
    (found,) = checks.half_files(tmp_path)
    assert found.startswith(f"run/{name}: ")


def test_unfinished_files_are_counted_apart(checks, tmp_path):
    for name in (".last-3xk2_a9q.ckpt", "tmpabcd1234", "chat.sqlite-journal", "tmp/anything", ".seed-0.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
    assert checks.half_files(tmp_path) == []
    assert checks.leftovers(tmp_path) == [".last-3xk2_a9q.ckpt", "chat.sqlite-journal", "tmpabcd1234"]


@pytest.mark.parametrize(
    ("found", "tolerance", "difference"),
    [
        ({"label": ["a", "b"], "score": [0.5, None]}, 0.0, None),
        ({"label": ["a", "b"], "score": [0.5000001, None]}, 1e-4, None),
        ({"label": ["a", "b"], "score": [0.5000001, None]}, 0.0, "result.score[0]: 0.5, not 0.5000001"),
        ({"label": ["a", "a"], "score": [0.5, None]}, 1e-4, "result.label[1]: b, not a"),
        ({"label": ["a"], "score": [0.5, None]}, 1e-4, "result.label: ['a', 'b'], not ['a']"),
        ({"label": ["a", "b"], "score": [0.5, 0.5]}, 1e-4, "result.score[1]: None, not 0.5"),
        ({"label": ["a", "b"], "score": [float("nan"), None]}, 1e-4, "result.score[0]: 0.5, not nan"),
        ({"label": ["a", "b"]}, 0.0, "result: "),
    ],
)
def test_the_first_difference_is_named(found, tolerance, difference, checks):
    said = checks.first_difference({"label": ["a", "b"], "score": [0.5, None]}, found, tolerance)
    assert said == difference or said.startswith(difference)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kills", "0"], "--kills 0 is too small: give 1 or more"),
        (["--kinds", "fit", "train"], "unknown kind 'train': the kinds are fit, test, "),
        (["--json", str(Path(__file__))], f"{__file__} is not a file of this script: give another one as --json"),
    ],
)
def test_mistakes_are_one_line(words, message, script, capsys):
    assert script.main(words) == 2
    assert capsys.readouterr().err.startswith(f"kill_anywhere: error: {message}")


@pytest.mark.slow
def test_nothing_is_lost_in_a_few_kills(tmp_path):
    faults = ["SIGKILL", "SIGTERM", "no memory"]
    if os.geteuid() == 0:  # a disk can be mounted
        faults.append("full disk")
    result = tmp_path / "kills.json"
    words = ["--kills", "8", "--kinds", "fit", "predict", "--faults", *faults, "--json", str(result)]
    done = subprocess.run([sys.executable, SCRIPT, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(result.read_text())["robustness"]
    assert (found["faults"], found["lost"], found["crashes"]) == (8, 0, 0)
    (row,) = [row for row in json.loads(result.read_text())["rows"] if row["kind"] == "all"]
    assert row["resumed"] == 8
    assert row["after"] >= 2
    assert row["writing"] >= 3
