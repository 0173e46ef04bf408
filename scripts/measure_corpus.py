"""Measures `predict` over a corpus of generated texts: speed, memory, and that each row is written once.

Generates Parquet files by a seed, fits TF-IDF on the first of them, and runs `predict` on several processes, with a
folder of shards as its output. Once half of the shards are there, all processes are killed; then the same command with
`--resume` ends the work. Memory is that of each process alone (without the pages of mapped files). Only Linux reports
it.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.frame import ROOT, machine, own_memory

from textclf.console import run_script
from textclf.errors import UserError, check_least
from textclf.files import atomic_path

WORDS = {"bad": ["dull", "slow", "awful", "지루한"], "good": ["fine", "bright", "great", "재미있는"]}
FILLING = ["the", "film", "of", "this", "year", "its", "story", "배우", "이야기", "음악"]
IN_A_FILE = 1_000_000
FITTED = 20_000
TEXTCLF = [sys.executable, "-m", "textclf"]


def write_corpus(folder: Path, rows: int, seed: int) -> None:
    """Writes files with the columns `id`, `text` and `label`; texts have 8 words, one of them a number."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    draw = np.random.default_rng(seed)
    labels = list(WORDS)
    telling = pa.array([word for label in labels for word in WORDS[label]])
    for first in range(0, rows, IN_A_FILE):
        size = min(IN_A_FILE, rows - first)
        chosen = draw.integers(len(telling), size=size)
        words = [telling.take(chosen)]
        words += [pa.array(FILLING).take(draw.integers(len(FILLING), size=size)) for _ in range(6)]
        words.append(pc.cast(pa.array(draw.integers(100_000, size=size)), pa.string()))
        label = pa.array(labels).take(chosen // len(WORDS[labels[0]]))
        ids = pc.cast(pa.array(np.arange(first, first + size)), pa.string())
        columns = {
            "id": pc.binary_join_element_wise("r", ids, ""),
            "text": pc.binary_join_element_wise(*words, " "),
            "label": label,
        }
        pq.write_table(pa.table(columns), folder / f"corpus-{first // IN_A_FILE}.parquet", row_group_size=100_000)


def fit(folder: Path, corpus: Path) -> Path:
    """Fits TF-IDF on the first rows of the corpus; returns its checkpoint."""
    import pyarrow.parquet as pq

    first = pq.read_table(corpus / "corpus-0.parquet").slice(0, FITTED)
    pq.write_table(first, folder / "train.parquet")
    pq.write_table(first.slice(0, 1000), folder / "test.parquet")
    options = ["--data", "FilesDataModule", "--data.data_dir", str(folder), "--model", "TfidfClassifier"]
    run = folder / "run"
    done = subprocess.run(
        [*TEXTCLF, "fit", *options, "--trainer.logger", "false", "--run_dir", str(run)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UserError(f"fit ended with exit code {done.returncode}: {done.stderr[-500:]}")
    return run / "checkpoints" / "best.ckpt"


def processes_of(pid: int) -> list[int]:
    """A process and those that it has started."""
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in thread.read_text().split():
                found += processes_of(int(child))
    return found


class Watched:
    """A run of `predict`, with its memory by the number of rows that are written.

    Attributes:
        memory: For each tenth of the rows, the memory of each process in MiB, largest first.
        progress: When the number of whole shards grew, and what it was.
        peak: The largest memory that one process had, in MiB.
        seconds: How long it took.
    """

    def __init__(self, command: Sequence[str], output: Path, shards: int, shard_rows: int) -> None:
        """Stores what is run; see `run`."""
        self.command = command
        self.output = output
        self.shards = shards
        self.shard_rows = shard_rows
        self.memory: list[dict[str, Any]] = []
        self.progress: list[tuple[float, int]] = []
        self.peak = 0.0
        self.seconds = 0.0

    def written(self) -> int:
        """Number of whole shards."""
        return len(list(self.output.glob("part-*.parquet")))

    def run(self, kill: Callable[[int], bool]) -> bool:
        """Runs the command to its end, or kills it with all its processes.

        Args:
            kill: Whether to kill it, given the number of whole shards.

        Returns:
            Whether it was killed.

        Raises:
            UserError: It failed by itself.
        """
        started, said = time.perf_counter(), tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed below
        with said:
            process = subprocess.Popen(self.command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
            killed = False
            while process.poll() is None:
                shards = self.written()
                self._sample(process.pid, shards)
                if not killed and kill(shards):
                    os.killpg(process.pid, signal.SIGKILL)
                    killed = True
                time.sleep(0.2)
            self.seconds = time.perf_counter() - started
            if process.returncode and not killed:
                said.seek(0)
                raise UserError(f"predict ended with exit code {process.returncode}: {said.read()[-500:]}")
        return killed

    def rate(self) -> float:
        """Rows per second between the first shard and the last one: without the start of the processes."""
        written = self.progress[1:]  # at the start, those of an earlier run
        if len(written) < 2 or written[-1][1] == written[0][1]:
            return 0.0
        shards = written[-1][1] - written[0][1]
        return shards * self.shard_rows / (written[-1][0] - written[0][0])

    def _sample(self, pid: int, shards: int) -> None:
        now = sorted((own_memory(each) / 2**20 for each in processes_of(pid)), reverse=True)
        self.peak = max(self.peak, now[0])
        tenth = shards * 10 // self.shards
        if not self.progress or shards > self.progress[-1][1]:
            self.progress.append((time.perf_counter(), shards))
        mib = [round(each) for each in now if each > 50]  # without short-lived helpers
        if mib and shards and tenth > (self.memory[-1]["tenth"] if self.memory else 0):
            self.memory.append({"tenth": tenth, "rows": shards * self.shard_rows, "mib": mib})


def count_rows(output: Path, rows: int) -> dict[str, int]:
    """Counts the rows of the shards: those that are missing, and those that are there twice or in another place."""
    import pyarrow.parquet as pq

    seen = np.zeros(rows, dtype=np.uint8)
    position = misplaced = 0
    for shard in sorted(output.glob("part-*.parquet")):
        ids = pq.read_table(shard, columns=["id"])["id"].to_pylist()
        numbers = np.array([int(text[1:]) for text in ids])
        np.add.at(seen, numbers, 1)
        misplaced += int((numbers != np.arange(position, position + len(numbers))).sum())
        position += len(numbers)
    return {
        "rows_written": position,
        "rows_lost": int((seen == 0).sum()),
        "rows_twice": int((seen > 1).sum()),
        "rows_misplaced": misplaced,
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs all; returns what is stored."""
    corpus, output = folder / "corpus", folder / "out"
    corpus.mkdir()
    started = time.perf_counter()
    write_corpus(corpus, options.rows, options.seed)
    print(f"{options.rows:,} rows generated in {time.perf_counter() - started:.0f} s", flush=True)
    checkpoint = fit(folder, corpus)
    command = [
        *(*TEXTCLF, "predict", "--ckpt_path", str(checkpoint), "--input", str(corpus), "--output", str(output)),
        *("--shard_rows", str(options.shard_rows), "--data.eval_batch_size", str(options.batch_size)),
        *("--trainer.devices", str(options.processes), "--trainer.accelerator", "cpu"),
    ]
    shards = -(-options.rows // options.shard_rows)
    first = Watched(command, output, shards, options.shard_rows)
    killed = first.run(lambda written: written >= shards // 2)
    print(f"killed with {first.written():,} of {shards:,} shards after {first.seconds:.0f} s", flush=True)
    kept = first.written()
    second = Watched([*command, "--resume"], output, shards, options.shard_rows)
    second.run(lambda written: False)
    seconds = first.seconds + second.seconds
    return {
        "rows": options.rows,
        "processes": options.processes,
        "shard_rows": options.shard_rows,
        "kills": int(killed),
        "shards_kept": kept,
        **count_rows(output, options.rows),
        "seconds": round(seconds, 1),
        "rows_per_second": round(first.rate()),
        "rows_per_second_with_starts": round(options.rows / seconds),
        "peak_mib_of_a_process": round(max(first.peak, second.peak)),
        "memory": [*first.memory, *second.memory],
    }


def check_of(found: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The row of the table of checks; see `textclf.evaluation.robustness`."""
    speed, memory = found["rows_per_second_with_starts"], found["peak_mib_of_a_process"]
    return {
        "check": "predict over a corpus: all processes killed in the middle, then resumed",
        "tried": f"{options.rows:,} rows, {options.processes} processes, {speed:,} rows a second, {memory:,} MiB each",
        "faults": found["kills"],
        "bad_inputs": None,
        "lost": found["rows_lost"] + found["rows_twice"] + found["rows_misplaced"],
        "crashes": None,
        "difference": None,
        "command": options.command,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures predict over a corpus, with a kill in the middle.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shard_rows", type=int, default=100_000)
    parser.add_argument("--batch_size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where files are written, and removed afterwards; by default a temporary one")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    options.command = shlex.join(["python", "scripts/measure_corpus.py", *words])

    return run_script("measure_corpus", lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Measures, prints and stores; returns the exit code: 1 if a row was lost or written twice.

    Raises:
        UserError: A number is too small, or a command fails.
    """
    for name, least in (("rows", 100), ("processes", 1), ("shard_rows", 1), ("batch_size", 1), ("seed", 0)):
        check_least(f"--{name}", getattr(options, name), least)
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(options, Path(folder))
    for name, value in found.items():
        print(f"{name}: {value}")
    if options.json:
        stored = {"command": options.command, "machine": machine(), **found, "robustness": [check_of(found, options)]}
        with atomic_path(options.json) as path:
            path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    wrong = found["rows_lost"] or found["rows_twice"] or found["rows_misplaced"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
