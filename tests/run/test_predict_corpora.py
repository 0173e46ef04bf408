"""`predict` over corpora: folders of shards, runs that are resumed, and several processes, with a TF-IDF model."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lightning.pytorch import Callback

from textclf.cli import main
from textclf.run.prediction_inputs import read_texts
from textclf.run.prediction_shards import ShardFolder
from textclf.run.ray_data import RayJob, ShardPredictor

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
CPU = ["--trainer.accelerator", "cpu", "--trainer.precision", "32-true"]
ROWS = 234


@pytest.fixture(scope="module")
def checkpoint(rows_folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("fitted") / "run"
    method = ["--data", "FilesDataModule", "--model", "TfidfClassifier", "--model.min_df", "1"]
    main(
        ["fit", *method, "--data.data_dir", str(rows_folder), "--trainer.logger", "false", "--run_dir", str(run), *CPU]
    )
    return run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with 234 rows in three files."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = [f"{('dull', 'great', 'film')[i % 3]} {i}" + " the film" * (i % 7) for i in range(ROWS)]
    pd.DataFrame({"text": texts[:100], "n": range(100)}).to_parquet(folder / "1.parquet", row_group_size=30)
    pd.DataFrame({"text": texts[100:170], "n": range(100, 170)}).to_csv(folder / "2.csv.gz", index=False)
    pd.DataFrame({"text": texts[170:], "n": range(170, ROWS)}).to_json(
        folder / "3.jsonl.zst", orient="records", lines=True, compression=None
    )
    plain = (folder / "3.jsonl.zst").read_bytes()
    (folder / "3.jsonl.zst").write_bytes(pa.compress(plain, "zstd", asbytes=True))
    return folder


def words(checkpoint, source, output, *more):
    files = ["--input", str(source), "--output", str(output), "--shard_rows", "50", "--keep", "n"]
    return ["predict", "--ckpt_path", str(checkpoint), *CPU, *files, *more]


@pytest.fixture(scope="module")
def expected(checkpoint, corpus, tmp_path_factory):
    """The folder of one undisturbed run, and its table."""
    folder = tmp_path_factory.mktemp("expected") / "out"
    main(words(checkpoint, corpus, folder))
    table = pq.read_table(folder)
    assert table["id"].to_pylist() == [str(i) for i in range(ROWS)]
    assert table["n"].to_pylist() == [str(i) for i in range(ROWS)]  # text, as in the CSV file
    return folder, table


def assert_as_expected(folder, expected):
    whole, table = expected
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in whole.iterdir())
    assert pq.read_table(folder).equals(table)
    manifests = [json.loads((each / "_manifest.json").read_text()) for each in (folder, whole)]
    assert manifests[0]["complete"] is True
    assert manifests[0]["shards"] == manifests[1]["shards"]


# One process


@pytest.mark.parametrize("shard_format", ["jsonl", "csv", "tsv"])
def test_shards_and_one_file_have_the_same_rows(checkpoint, corpus, tmp_path, shard_format):
    main(words(checkpoint, corpus, tmp_path / "out", "--shard_format", shard_format))
    main(words(checkpoint, corpus, tmp_path / f"out.{shard_format}"))
    shards = sorted((tmp_path / "out").glob(f"part-*.{shard_format}"))
    assert len(shards) == 5
    lines = [line for shard in shards for line in shard.read_text().splitlines()]
    joined = (tmp_path / f"out.{shard_format}").read_text().splitlines()
    header = [] if shard_format == "jsonl" else joined[:1]
    assert [line for line in lines if line not in header] == joined[len(header) :]
    assert len(joined) - len(header) == ROWS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", f"out.{shard_format}"]


def test_one_parquet_file(checkpoint, corpus, tmp_path, expected):
    main(words(checkpoint, corpus, tmp_path / "out.parquet"))
    assert pq.read_table(tmp_path / "out.parquet").equals(expected[1])


def test_an_empty_input_gives_one_shard_with_the_columns(checkpoint, tmp_path, expected):
    (tmp_path / "in.csv").write_text("text,n\n")
    main(words(checkpoint, tmp_path / "in.csv", tmp_path / "out"))
    assert pq.read_table(tmp_path / "out").schema.equals(expected[1].schema)
    assert json.loads((tmp_path / "out" / "_manifest.json").read_text())["rows"] == 0


class Stop(Callback):
    """Sends a signal to its own process in the batch with that row."""

    def __init__(self, number: int, row: int):
        self.number, self.row = number, row

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, *args):
        if self.row in batch["row"].tolist():
            os.kill(os.getpid(), self.number)


def stop(number, row):
    name = f"{__name__}.Stop"
    return ["--trainer.callbacks+=" + name, f"--trainer.callbacks.number={number}", f"--trainer.callbacks.row={row}"]


@pytest.mark.parametrize("output", ["out", "out.parquet"])
@pytest.mark.parametrize(("number", "code", "whole"), [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 3)])
def test_a_signal_leaves_whole_shards_which_are_resumed(
    checkpoint, corpus, expected, tmp_path, capsys, output, number, code, whole
):
    handler = signal.getsignal(signal.SIGINT)
    command = words(checkpoint, corpus, tmp_path / output)
    try:
        with pytest.raises(SystemExit) as end:
            main([*command, *stop(int(number), row=120)])
    finally:
        signal.signal(signal.SIGINT, handler)
    assert end.value.code == code
    said = capsys.readouterr().err
    place = tmp_path / ("out" if output == "out" else ".out.parquet.parts")
    assert f"{whole} whole shards are kept in '{place}': the same command with --resume goes on" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.parquet").exists()
    for refused, message in (
        (command, "resume it with --resume"),
        ([*command, "--resume", "--shard_rows", "60"], "was begun with another shard_rows (50, now 60)"),
    ):
        with pytest.raises(SystemExit):
            main(refused)
        assert message in capsys.readouterr().err.splitlines()[-1]
    before = {path: path.stat().st_mtime_ns for path in place.glob("part-*")}
    main([*command, "--resume"])
    assert f"{whole} whole shards are kept" in capsys.readouterr().err
    if output == "out":
        assert_as_expected(tmp_path / "out", expected)
        assert all(path.stat().st_mtime_ns == written for path, written in before.items())
        main([*command, "--resume"])
        assert_as_expected(tmp_path / "out", expected)
    else:
        assert pq.read_table(tmp_path / output).equals(expected[1])
        assert list(tmp_path.iterdir()) == [tmp_path / output]


def test_a_bad_row_is_named_and_the_shards_before_it_are_kept(checkpoint, tmp_path, capsys):
    lines = [f"film {i},{i}" for i in range(120)]
    (tmp_path / "in.csv").write_text("\n".join(["text,n", *lines, "a,b,c", *lines]) + "\n")
    with pytest.raises(SystemExit):
        main(words(checkpoint, tmp_path / "in.csv", tmp_path / "out"))
    said = capsys.readouterr().err.splitlines()
    assert "in.csv' line 122 has 3 fields" in said[-1]
    assert "2 whole shards are kept" in said[-2]
    assert len(pq.read_table(tmp_path / "out")) == 100


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--texts", "a", "--resume"], "--resume: standard output cannot be resumed: pass --output"),
        (["--texts", "a", "--output", "x", "--shard_rows", "0"], "--shard_rows 0 is too small: give 1 or more"),
        (["--texts", "a", "--output", "x", "--shard_format", "xml"], "'xml' is none of jsonl, csv, tsv, parquet"),
        (["--texts", "a", "--output", "x.csv", "--shard_format", "csv"], "--shard_format is for a folder of shards"),
        (["--texts", "a", "--output", "x.txt"], "x.txt': its suffix is none of .jsonl, .csv, .tsv, .parquet"),
        (["--input", "-", "--output", "x", "--resume"], "--resume: standard input cannot be read again"),
        (["--input", "-", "--trainer.devices", "2"], "standard input is read by one process"),
        (["--texts", "a", "--trainer.fast_dev_run", "true"], "leave --trainer.limit_predict_batches and"),
        (["--texts", "a", "--trainer.devices", "2", "--trainer.strategy", "ddp_spawn"], "pass --trainer.strategy ddp"),
    ],
)
def test_options_that_do_not_fit(checkpoint, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["predict", "--ckpt_path", str(checkpoint), *CPU, *more])
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_an_input_is_not_replaced_by_its_output(checkpoint, tmp_path, capsys):
    path = tmp_path / "in.csv"
    path.write_text("text,n\na,1\n")
    with pytest.raises(SystemExit):
        main(words(checkpoint, path, path))
    assert "in.csv' is a file of the input: name another file" in capsys.readouterr().err.splitlines()[-1]
    assert path.read_text() == "text,n\na,1\n"


def test_a_worker_of_ray_writes_the_same_shards(checkpoint, corpus, expected, tmp_path):
    job = RayJob(
        checkpoint=checkpoint,
        inputs=read_texts(None, str(corpus), "text", keep=["n"]),
        folder=ShardFolder(tmp_path, ".parquet", 50),
        device="cpu",
        max_batch_tokens=500,
    )
    worker = ShardPredictor(pickle.loads(pickle.dumps(job)))
    assert worker({"id": np.array([1, 3])}) == {"id": [1, 3], "rows": [50, 50], "error": ["", ""]}
    assert worker({"id": np.array([0])}) == {"id": [0], "rows": [50], "error": [""]}  # that of a worker that has died
    assert worker({"id": np.array([4])}) == {"id": [4], "rows": [34], "error": [""]}
    for number in (0, 1, 3, 4):
        name = f"part-{number:05d}.parquet"
        assert pq.read_table(tmp_path / name).equals(pq.read_table(expected[0] / name))


def test_a_worker_of_ray_that_meets_a_bad_row_leaves_no_row_of_other_shards_out(checkpoint, tmp_path):
    lines = [f"film {i},{i}" for i in range(100)]
    lines[15] = "a,b,c"
    (tmp_path / "1.csv").write_text("\n".join(["text,n", *lines[:40]]) + "\n")
    (tmp_path / "2.csv").write_text("\n".join(["text,n", *lines[40:]]) + "\n")
    folder = ShardFolder(tmp_path / "out", ".parquet", 10)
    inputs = read_texts(None, str(tmp_path), "text")
    worker = ShardPredictor(RayJob(checkpoint, inputs, folder, "cpu", max_batch_tokens=500))
    found = worker({"id": np.array([0, 1, 2, 1, 9])})
    assert found["rows"] == [10, 0, 10, 0, 10]
    assert ["1.csv' line 17 has 3 fields" in error for error in found["error"]] == [False, True, False, True, False]
    assert not folder.shard(1).exists()
    assert pq.read_table(folder.shard(2))["text"].to_pylist() == [f"film {i}" for i in range(20, 30)]
    assert pq.read_table(folder.shard(9))["text"].to_pylist() == [f"film {i}" for i in range(90, 100)]


# Several processes


def textclf(*command, launcher=("-m", "textclf"), **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *launcher, *command], env=environment, stderr=subprocess.PIPE, text=True, **options
    )


def finish(*processes):
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


TORCHRUN = ("-m", "torch.distributed.run", "--nproc_per_node")


def test_two_processes_give_what_one_gives(checkpoint, corpus, expected, tmp_path):
    finish(textclf(*words(checkpoint, corpus, tmp_path / "out", "--trainer.devices", "2")))
    assert_as_expected(tmp_path / "out", expected)


@pytest.mark.exhaustive
def test_torchrun_with_more_processes_than_shards(checkpoint, corpus, expected, tmp_path):
    command = words(checkpoint, corpus, tmp_path / "out.parquet", "--shard_rows", "150")
    launcher = (*TORCHRUN, "3", "--master_port", str(free_port()), "-m", "textclf")
    finish(textclf(*command, launcher=launcher))
    assert pq.read_table(tmp_path / "out.parquet").equals(expected[1])
    assert list(tmp_path.iterdir()) == [tmp_path / "out.parquet"]


def test_two_nodes(checkpoint, corpus, expected, tmp_path):
    command = words(checkpoint, corpus, tmp_path / "out")
    meeting = ("--nnodes", "2", "--rdzv_backend", "c10d", "--rdzv_endpoint", f"127.0.0.1:{free_port()}")
    launcher = (*TORCHRUN, "1", *meeting, "--local_addr", "127.0.0.1", "-m", "textclf")
    finish(textclf(*command, launcher=launcher), textclf(*command, launcher=launcher))
    assert_as_expected(tmp_path / "out", expected)


def test_a_killed_run_on_two_processes_is_resumed(checkpoint, corpus, expected, tmp_path):
    out = tmp_path / "out"
    command = words(checkpoint, corpus, out, "--trainer.devices", "2")
    process = textclf(*command, *stop(int(signal.SIGKILL), row=170), start_new_session=True)
    try:
        process.communicate(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    whole = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}
    assert 0 < len(whole) < 5
    finish(textclf(*command, "--resume"))
    assert_as_expected(out, expected)
    assert all((out / name).stat().st_mtime_ns == written for name, written in whole.items())


def test_an_error_on_one_process_ends_all(checkpoint, tmp_path):
    lines = [f"film {i},{i}" for i in range(80)]
    (tmp_path / "in.csv").write_text("\n".join(["text,n", *lines, "a,b,c", *lines * 5]) + "\n")
    process = textclf(*words(checkpoint, tmp_path / "in.csv", tmp_path / "out", "--trainer.devices", "2"))
    said = process.communicate(timeout=300)[1]
    assert process.returncode != 0
    assert said.count("in.csv' line 82 has 3 fields") == 1
    assert "Traceback" not in said
    assert (tmp_path / "out" / "part-00000.parquet").exists()
    assert not (tmp_path / "out" / "part-00001.parquet").exists()
