"""Checks that textclf is correct on a GPU, and measures how fast it is there. Neither network nor data are needed.

Models have random weights of real shapes. Each part runs its cases one by one; a case that fails is a row of the table,
and the others continue. The exit code is 1 where a case failed, and 2 where an option's value cannot be used.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from benchmarks.frame import machine
from gpu_checks.frame import CPU, CUDA, Part, Row, Sizes, free_memory

from textclf.console import align_table, run_script
from textclf.errors import UserError
from textclf.files import atomic_path

PARTS = {
    "likelihood": "gpu_checks.likelihood",
    "memory": "gpu_checks.likelihood",
    "training": "gpu_checks.training",
    "resume": "gpu_checks.training",
    "embedding": "gpu_checks.methods",
    "nli": "gpu_checks.methods",
    "seq2seq": "gpu_checks.methods",
}
"""The module of each part. A part is the function of that name in it, from sizes to cases."""
COLUMNS = "part,case,seconds,rows,rows/s,tokens,padding,peak MiB,of matmul,off,check,result".split(",")


def rows_of(name: str, sizes: Sizes) -> Iterator[Row]:
    """Runs a part, and yields its rows; a failure is printed with its traceback, and is a row, too."""

    def failed(case: str, error: Exception) -> Row:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        return Row(case, f"{type(error).__name__}: {lines[0][:100]}", passed=False)

    try:
        part: Part = getattr(import_module(PARTS[name]), name)
        for case, work in part(sizes):
            try:
                yield work()
            except Exception as error:  # after any error, the next case may work
                yield failed(case, error)
            free_memory()
    except Exception as error:
        yield failed("setting up", error)


def cells(part: str, row: Row) -> list[str]:
    """A row of the table."""
    counts = row.counts
    rate = counts.get("rate") or (row.seconds and counts.get("rows", 0) / row.seconds)
    share = counts.get("share of matmul")
    return [
        part,
        row.name,
        "" if row.seconds is None else f"{row.seconds:.3f}",
        f"{counts['rows']:,}" if "rows" in counts else "",
        f"{rate:,.1f}" if rate else "",
        f"{counts['tokens']:,}" if "tokens" in counts else "",
        f"{counts['padding']:.1%}" if "padding" in counts else "",
        f"{counts['peak MiB']:,}" if "peak MiB" in counts else "",
        "" if share is None else f"{share:.0%}",
        f"{counts['off']:.2g}" if "off" in counts else "",
        "ok" if row.passed else "FAILED",
        row.result,
    ]


def table(rows: Sequence[tuple[str, Row]]) -> str:
    """All rows, with the results behind the numbers."""
    lines = [COLUMNS, *(cells(part, row) for part, row in rows)]
    alignment = "<<" + ">" * (len(COLUMNS) - 3) + "<"
    return "\n".join(align_table(lines, alignment))


def quieten() -> None:
    """Switches off the output of libraries for each model and each training."""
    from lightning.pytorch import utilities  # sets the level when it is imported
    from transformers.utils.logging import disable_progress_bar

    logging.getLogger(utilities.__name__.rpartition(".")[0]).setLevel(logging.WARNING)
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has no type here


def launch_microseconds() -> float | None:
    """Time to launch one small kernel, a lower limit for small batches; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    values = torch.zeros(8, device="cuda")
    for number in (100, 10_000):  # the first ones warm up
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(number):
            values += 1
        torch.cuda.synchronize()
    return round((time.perf_counter() - started) / number * 1e6, 1)


def run(options: argparse.Namespace) -> int:
    """Runs the parts; with `--json`, writes the results so far after each part.

    Returns:
        The exit code: 1 if a case failed.

    Raises:
        UserError: The value of an option cannot be used.
    """
    if unknown := [name for name in options.parts if name not in PARTS]:
        raise UserError(f"unknown part {', '.join(map(repr, unknown))}: the parts are {', '.join(PARTS)}")
    if options.json and Path(options.json).is_dir():
        raise UserError(f"--json {options.json!r} is a folder: name a file")
    sizes = CUDA if choose_device(options.device) == "cuda" else CPU
    quieten()
    rows: list[tuple[str, Row]] = []
    facts = {**machine(), "launch µs": launch_microseconds()}
    report: dict[str, Any] = {"machine": facts, "sizes": asdict(sizes), "seconds": {}, "rows": []}
    for name, value in report["machine"].items():
        print(f"{name:<14} {'none' if value is None else value}", flush=True)
    for name in dict.fromkeys(options.parts or PARTS):
        started = time.perf_counter()
        print(f"\n{name}", flush=True)
        for row in rows_of(name, sizes):
            rows.append((name, row))
            report["rows"].append({"part": name, **asdict(row)})
            print("  ".join(filter(None, cells(name, row)[1:])), flush=True)
        report["seconds"][name] = time.perf_counter() - started
        print(f"{name} took {report['seconds'][name]:.0f} s", flush=True)
        if options.json:
            with atomic_path(options.json) as path:
                path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    failures = sum(not row.passed for _, row in rows)
    print(f"\n{table(rows)}\n")
    print(f"{len(rows)} rows in {sum(report['seconds'].values()):.0f} s, {failures} failed", flush=True)
    return 1 if failures else 0


def choose_device(asked: str | None) -> str:
    """The requested device, by default the GPU if there is one; for the CPU, the GPU is hidden.

    Raises:
        UserError: There is no such device.
    """
    if asked == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # libraries take a GPU wherever they see one
    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise UserError("--device cuda: torch finds no CUDA device; give --device cpu")
    return "cuda" if available else "cpu"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Checks textclf on a GPU, or with smaller models on a CPU.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default cuda if there is one")
    parser.add_argument("--json", metavar="FILE", help="write all results to this file")
    options = parser.parse_args(arguments)
    return run_script("check_gpu", lambda: run(options))


@contextmanager
def scratch() -> Iterator[None]:
    """Puts models, rows and vectors into a temporary folder, and keeps libraries off the network."""
    with tempfile.TemporaryDirectory(prefix="check-gpu-", ignore_cleanup_errors=True) as folder:
        quiet = dict.fromkeys(("TQDM_DISABLE", "HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_OFFLINE"), "1")
        quiet |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
        # cuBLAS reads its own once; without it, products are not deterministic.
        os.environ |= {**quiet, "HF_DATASETS_CACHE": f"{folder}/datasets", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        tempfile.tempdir = folder
        yield


if __name__ == "__main__":
    with scratch():
        code = main()
    sys.exit(code)
