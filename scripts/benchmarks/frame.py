"""The frame of `benchmark.py`: contenders are timed in turn, summed up and laid out as a table."""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from textclf.console import align_table

ROOT = Path(__file__).resolve().parents[2]

Counts = dict[str, float]
Work = Callable[[], Counts]
"""Does the work once, to its end (on a GPU, too), and returns counts of it."""


@dataclass(frozen=True)
class Measured:
    """A contender's seconds, one entry per round, and its counts."""

    name: str
    seconds: list[float]
    counts: Counts


def measure(
    contenders: dict[str, Work], repeats: int, warm: bool = False, clock: Callable[[], float] = time.perf_counter
) -> list[Measured]:
    """Warms each contender up once, then times them in turn, round by round: a drift of the machine hits all alike."""
    counts = {} if warm else {name: work() for name, work in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, work in contenders.items():
            start = clock()
            counts[name] = work()
            seconds[name].append(clock() - start)
    return [Measured(name, seconds[name], counts[name]) for name in contenders]


def summarize(measured: Sequence[Measured], unit: str | None = None) -> list[dict[str, Any]]:
    """The reported numbers of each contender; the baseline is the first.

    `rate` is in units per second; `ratio` is that of the medians, to the baseline; `paired_ratio` is the median of the
    ratios of single rounds. A count named `matmul seconds`, what the needed matrix products would take at the machine's
    own rate, is reported as its share of the median.
    """
    baseline = measured[0].seconds
    return [
        {
            "name": m.name,
            "median": median(m.seconds),
            "min": min(m.seconds),
            "max": max(m.seconds),
            "rate": m.counts[unit] / median(m.seconds) if unit else None,
            "ratio": median(m.seconds) / median(baseline),
            "paired_ratio": median(own / base for own, base in zip(m.seconds, baseline, strict=True)),
            "counts": _with_share(m),
            "seconds": m.seconds,
        }
        for m in measured
    ]


def _with_share(measured: Measured) -> Counts:
    counts = dict(measured.counts)
    if (seconds := counts.pop("matmul seconds", None)) is not None:
        counts["share of matmul"] = round(seconds / median(measured.seconds), 3)
    return counts


def table(summary: Sequence[dict[str, Any]], unit: str | None = None, bound: float | None = None) -> str:
    """The table: a line per contender with seconds, rate, ratios and counts; then, whether the target is met."""
    counts = list(dict.fromkeys(name for row in summary for name in row["counts"]))
    lines = [["", "median s", "min s", "max s", *([f"{unit}/s"] if unit else []), "ratio", "paired", *counts]]
    for row in summary:
        rate = [f"{row['rate']:,.1f}"] if unit else []
        amounts = [f"{row['counts'][name]:,.6g}" if name in row["counts"] else "-" for name in counts]
        times = [f"{row[name]:.3f}" for name in ("median", "min", "max")]
        lines.append([row["name"], *times, *rate, f"{row['ratio']:.3f}", f"{row['paired_ratio']:.3f}", *amounts])
    text = align_table(lines, "<" + ">" * (len(lines[0]) - 1))
    if bound:
        over = [row["name"] for row in summary[1:] if row["ratio"] > bound]
        outcome = f"missed by {', '.join(over)}" if over else "met"
        text.append(f"target: at most {bound:g} times the baseline: {outcome}")
    return "\n".join(text)


def machine() -> dict[str, Any]:
    """Facts on which the numbers depend: time, processor, memory, GPU, precision, and versions."""
    import torch

    from textclf.hardware.device import cpu_kernels
    from textclf.hardware.precision import choose_precision

    git = ["git", "--no-optional-locks", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    except OSError:  # there is no git
        commit = ""
    precision, why = choose_precision("auto")
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": commit or None,
        "system": platform.platform(),
        "cpu": cpu_kernels(),
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "native bf16": precision == "bf16-mixed",
        "precision": f"{precision}: {why}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "lightning", "transformers")},
    }


def own_memory(pid: int) -> int:
    """Memory of a process in bytes, without the pages of mapped files; 0 if it has ended, or without Linux."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def process(command: Sequence[str], counts: Counts | None = None) -> Work:
    """A contender that is a whole process, start-up included; its counts, if any, are known beforehand."""

    def work() -> Counts:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
        return counts or {}

    return work
