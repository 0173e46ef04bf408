"""Gives memory that is free back to the system, as batches go by."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from textclf.hardware.memory import trim_heap


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
