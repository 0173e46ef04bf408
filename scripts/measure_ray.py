"""Kills a worker of `predict_ray.py` in the middle, and compares the output with that of `predict`.

Generates a corpus and fits TF-IDF as `measure_corpus.py` does, runs `predict` in one process, then `predict_ray.py` on
a local cluster, of which one worker is killed once a fifth of the shards are there. Needs Linux and the extra `ray`.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.frame import ROOT, machine
from measure_corpus import TEXTCLF, count_rows, fit, processes_of, write_corpus

from textclf.console import run_script
from textclf.errors import UserError, check_least
from textclf.files import atomic_path

FP32 = ["--trainer.precision", "32-true", "--trainer.accelerator", "cpu"]


def workers_of(pid: int) -> list[int]:
    """The processes of Ray's actors among those that a process has started."""
    found = []
    for each in processes_of(pid):
        try:
            name = Path(f"/proc/{each}/cmdline").read_text()
        except OSError:  # it has ended
            continue
        if name.startswith("ray::MapWorker"):
            found.append(each)
    return found


def run_killing_a_worker(command: Sequence[str], output: Path, shards: int) -> int:
    """Runs a command, and kills one of its workers once a fifth of the shards are there.

    Returns:
        The number of workers that were killed.

    Raises:
        UserError: The command failed.
    """
    killed = 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
        while process.poll() is None:
            written = len(list(output.glob("part-*.parquet")))
            if not killed and written >= shards / 5 and (workers := workers_of(process.pid)):
                os.kill(workers[0], signal.SIGKILL)
                killed = 1
            time.sleep(0.1)
        if process.returncode:
            said.seek(0)
            raise UserError(f"predict_ray.py ended with exit code {process.returncode}: {said.read()[-1000:]}")
    return killed


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs both; returns what is stored."""
    import pyarrow.parquet as pq

    corpus = folder / "corpus"
    corpus.mkdir()
    write_corpus(corpus, options.rows, seed=0)
    shared = ["--ckpt_path", str(fit(folder, corpus)), "--input", str(corpus), "--shard_rows", str(options.shard_rows)]
    done = subprocess.run([*TEXTCLF, "predict", *shared, "--output", str(folder / "plain"), *FP32], cwd=ROOT)
    if done.returncode:
        raise UserError(f"predict ended with exit code {done.returncode}: the line above gives the reason")
    script = [sys.executable, str(ROOT / "scripts" / "predict_ray.py")]
    command = [*script, *shared, "--output", str(folder / "ray"), "--workers", str(options.workers)]
    started = time.perf_counter()
    killed = run_killing_a_worker(command, folder / "ray", -(-options.rows // options.shard_rows))
    seconds = time.perf_counter() - started
    plain, by_ray = pq.read_table(folder / "plain"), pq.read_table(folder / "ray")
    return {
        "rows": options.rows,
        "workers": options.workers,
        "kills": killed,
        **count_rows(folder / "ray", options.rows),
        "equal_to_predict": by_ray.equals(plain),
        "seconds": round(seconds, 1),
    }


def check_of(found: dict[str, Any], command: str) -> dict[str, Any]:
    """The row of the table of checks; see `textclf.evaluation.robustness`."""
    return {
        "check": "predict_ray.py on a local cluster of Ray: a worker killed in the middle",
        "tried": f"{found['rows']:,} rows, {found['workers']} workers",
        "faults": found["kills"],
        "bad_inputs": None,
        "lost": found["rows_lost"] + found["rows_twice"] + found["rows_misplaced"],
        "crashes": int(not found["equal_to_predict"]),
        "difference": 0.0 if found["equal_to_predict"] else None,
        "command": command,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Kills a worker of predict_ray.py, and checks its output.")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard_rows", type=int, default=10_000)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments

    return run_script("measure_ray", lambda: run(options, shlex.join(["python", "scripts/measure_ray.py", *words])))


def run(options: argparse.Namespace, command: str) -> int:
    """Measures, prints and stores; returns the exit code: 1 if the output differs from that of `predict`.

    Raises:
        UserError: A number is too small, or a command fails.
    """
    for name, least in (("rows", 100), ("workers", 1), ("shard_rows", 1)):
        check_least(f"--{name}", getattr(options, name), least)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    for name, value in found.items():
        print(f"{name}: {value}")
    if options.json:
        stored = {"command": command, "machine": machine(), **found, "robustness": [check_of(found, command)]}
        with atomic_path(options.json) as path:
            path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return 0 if found["kills"] and found["equal_to_predict"] else 1


if __name__ == "__main__":
    sys.exit(main())
