"""Measures how the memory of `fit`, `test` and `predict` grows with the number of rows.

Writes Parquet files of invented rows for each size, runs the commands on them as processes of their own, and samples
the memory of these processes alone (without the pages of mapped files, which the system takes back when needed). Only
Linux reports it.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.frame import ROOT, own_memory

from textclf.console import run_script
from textclf.errors import UserError

WORDS = {"bad": ["dull", "slow", "지루한"], "good": ["fine", "bright", "재미있는"]}
FILLING = ["the", "film", "of", "this", "year", "배우", "이야기", "음악"]
MODEL = """
model:
  class_path: FineTunedClassifier
  init_args:
    pretrained: null
    encoder_config: {vocab_size: 2000, hidden_size: 32, num_hidden_layers: 1}
    max_length: 32
data:
  class_path: FilesDataModule
  init_args: {max_batch_tokens: 16384}
trainer:
  max_epochs: 1
  logger: textclf.run.MetricsCSV
  enable_progress_bar: false
"""


def write_rows(path: Path, rows: int, seed: int) -> None:
    """Writes texts of 8 to 16 words, most of them different, in row groups of 10,000."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(seed)
    schema = pa.schema([("text", pa.string()), ("label", pa.string())])

    def row() -> dict[str, str]:
        label = draw.choice(list(WORDS))
        words = [
            draw.choice(WORDS[label]),
            *draw.choices(FILLING, k=draw.randint(4, 12)),
            *map(str, draw.choices(range(1000), k=3)),
        ]
        return {"text": " ".join(words), "label": label}

    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 10_000):
            part = [row() for _ in range(min(10_000, rows - start))]
            writer.write_table(pa.Table.from_pylist(part, schema=schema))


def peak_of(command: Sequence[str]) -> tuple[float, float]:
    """Runs a command to its end.

    Returns:
        The largest memory seen, in MiB, and the seconds.

    Raises:
        UserError: It failed.
    """
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)

        def sample() -> None:
            nonlocal peak
            while process.poll() is None:
                peak = max(peak, own_memory(process.pid))
                time.sleep(0.02)

        watcher = threading.Thread(target=sample)
        watcher.start()
        watcher.join()
        if process.returncode:
            output.seek(0)
            raise UserError(f"{' '.join(command)} ended with exit code {process.returncode}: {output.read()[-500:]}")
    return peak / 2**20, time.perf_counter() - started


def measure(rows: int, steps: int, folder: Path) -> Iterator[tuple[str, float, float]]:
    """Runs the three commands on `rows` rows; yields name, MiB and seconds of each."""
    write_rows(folder / "train.parquet", rows, seed=0)
    write_rows(folder / "test.parquet", rows, seed=1)
    (folder / "config.yaml").write_text(MODEL, encoding="utf-8")
    run = folder / "run"
    textclf = [sys.executable, "-m", "textclf"]
    given = ["--config", str(folder / "config.yaml"), "--data.data_dir", str(folder)]
    few = ["--trainer.limit_train_batches", str(steps), "--trainer.limit_val_batches", str(steps)]
    checkpoint = ["--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
    commands = {
        "fit": ["fit", *given, *few, "--test_after_fit", "false", "--run_dir", str(run)],
        "test": ["test", *given, *checkpoint, "--run_dir", str(folder / "tested")],
        "predict": [
            "predict", *checkpoint, "--input", str(folder / "test.parquet"), "--output", str(folder / "out.parquet")
        ],
    }  # fmt: skip
    for name, command in commands.items():
        yield name, *peak_of([*textclf, *command])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures how memory grows with the number of rows.")
    parser.add_argument("rows", nargs="*", type=int, default=[10_000, 100_000], help="numbers of rows of each split")
    parser.add_argument("--steps", type=int, default=200, help="training steps; all rows are read and encoded anyway")
    options = parser.parse_args(arguments)

    return run_script("measure_memory", lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Measures each size, and prints a line per command."""
    print(f"{'':<9}{'rows':>12}{'peak MiB':>12}{'seconds':>10}")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            for name, peak, seconds in measure(rows, options.steps, Path(folder)):
                print(f"{name:<9}{rows:>12,}{peak:>12,.0f}{seconds:>10.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
