"""Progress as lines of text, where no progress bar can be drawn."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from textclf.console import say

SHORTEST_WAIT = 60.0
"""Seconds between two lines, at least."""
SHARE = 0.1
"""Share of the time so far that passes between two lines, at least: a long run does not fill its log file."""


class ProgressLines(ProgressBar):
    """Prints a line from time to time in training and evaluation; none in a short run."""

    def __init__(self) -> None:
        """Takes no options."""
        super().__init__()
        self._enabled = True
        self._start()

    def enable(self) -> None:
        """Prints lines from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Prints no lines from now on."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock, but not in the middle of training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._start()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self._last_line = self._started

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prints the number of the batch, and the loss where it is logged."""
        loss = trainer.progress_bar_metrics.get("train/loss")
        more = ""
        if isinstance(loss, float):
            more = f", loss {loss:.4f}"
        self._report(f"training, epoch {trainer.current_epoch + 1}", batch_idx, self.total_train_batches, more)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Prints the number of the batch."""
        self._report("validation", batch_idx, _total(trainer.num_val_batches))

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Prints the number of the batch."""
        self._report("test", batch_idx, _total(trainer.num_test_batches))

    def _report(self, what: str, batch_idx: int, total: float, more: str = "") -> None:
        now = time.monotonic()
        wait = max(SHORTEST_WAIT, SHARE * (now - self._started))
        if self._enabled and now - self._last_line >= wait:
            self._last_line = now
            say(f"{what}: batch {batch_idx + 1:,} of {total:,}{more}")


def _total(batches: Any) -> float:
    """The number of batches of all loaders."""
    loaders: list[float] = batches if isinstance(batches, list) else [batches]
    return sum(loaders)
