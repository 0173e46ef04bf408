"""The memory of this process and the files of a folder over time."""

from __future__ import annotations

import os
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.frame import own_memory

POINTS = 20
"""Number of measurements that are stored."""
GROWTH = 16.0
"""Largest growth of memory in MiB that counts as flat: heaps of that size are in use for some seconds only."""


class Sampler:
    """Measures in a thread, once per interval.

    Attributes:
        memory: MiB of this process, without pages of mapped files.
        files: Number of files in the folder.
    """

    def __init__(self, folder: Path, seconds: float = 0.5) -> None:
        """Takes the folder whose files are counted, and the interval."""
        self.folder = folder
        self.seconds = seconds
        self.memory: list[float] = []
        self.files: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Sampler:
        """Starts to measure."""
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()
        self.elapsed = time.perf_counter() - self._started

    def _sample(self) -> None:
        while not self._ended.wait(self.seconds):
            self.memory.append(own_memory(os.getpid()) / 2**20)
            self.files.append(sum(1 for path in self.folder.rglob("*") if not path.is_dir()))

    def found(self) -> dict[str, Any]:
        """Seconds, memory at equal intervals, its growth from the second quarter to the last, and the most files."""
        quarter = max(1, len(self.memory) // 4)
        growth = statistics.median(self.memory[-quarter:]) - statistics.median(self.memory[quarter : 2 * quarter])
        return {
            "seconds": round(self.elapsed, 1),
            "memory_mib": [round(value, 1) for value in thinned(self.memory)],
            "memory_growth_mib": round(growth, 1),
            "most_files": max(self.files),
        }


def thinned(values: list[float]) -> list[float]:
    """At most `POINTS` of the values, at equal distances, the first and the last included."""
    if len(values) <= POINTS:
        return values
    step = (len(values) - 1) / (POINTS - 1)
    return [values[round(i * step)] for i in range(POINTS)]
