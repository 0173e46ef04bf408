"""Gives memory that is free back to the system."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from lightning.pytorch import Callback


def trim_heap() -> None:
    """Returns the free pages of the C heap to the system, where that is glibc's; elsewhere nothing is done.

    Torch asks for aligned memory, and glibc before 2.38 seldom takes such a block again once it is freed
    (https://sourceware.org/bugzilla/show_bug.cgi?id=14581): on a CPU a process grows with each batch although nothing
    is kept. It takes a few milliseconds.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


class HeapTrimmer(Callback):
    """Trims the heap as batches go by."""

    def __init__(self, every_n_batches: int = 50) -> None:
        """Takes the number of batches between two times."""
        self.every_n_batches = every_n_batches
        self._batches = 0

    def on_train_batch_end(self, *args: Any) -> None:
        """Counts a batch of training."""
        self._count()

    def on_validation_batch_end(self, *args: Any) -> None:
        """Counts a batch of validation."""
        self._count()

    def on_test_batch_end(self, *args: Any) -> None:
        """Counts a batch of the test."""
        self._count()

    def on_predict_batch_end(self, *args: Any) -> None:
        """Counts a batch of texts."""
        self._count()

    def _count(self) -> None:
        self._batches += 1
        if self._batches % self.every_n_batches == 0:
            trim_heap()
