"""How far a command is, where no progress bar can be drawn."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from textclf.console import say

SOONEST, SHARE = 60.0, 0.1
"""Seconds between two lines at least, and share of the time so far: a long run does not fill its log file."""


class ProgressLines(ProgressBar):
    """Says in a line now and then how far a training or an evaluation is; nothing in a short one."""

    def __init__(self) -> None:
        """Nothing is left to choose."""
        super().__init__()
        self._enabled = True
        self._start()

    def enable(self) -> None:
        """Lets lines be said."""
        self._enabled = True

    def disable(self) -> None:
        """Lets no lines be said."""
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
        self._started = self._said = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Says the batch, and the loss where it is logged."""
        loss = trainer.progress_bar_metrics.get("train/loss")
        more = f", loss {loss:.4f}" if isinstance(loss, float) else ""
        self._tell(f"training, epoch {trainer.current_epoch + 1}", batch_idx, self.total_train_batches, more)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Says the batch."""
        self._tell("validation", batch_idx, _total(trainer.num_val_batches))

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Says the batch."""
        self._tell("test", batch_idx, _total(trainer.num_test_batches))

    def _tell(self, what: str, batch_idx: int, total: float, more: str = "") -> None:
        now = time.monotonic()
        if self._enabled and now - self._said >= max(SOONEST, SHARE * (now - self._started)):
            self._said = now
            say(f"{what}: batch {batch_idx + 1:,} of {total:,}{more}")


def _total(batches: Any) -> float:
    """The number of batches of all loaders."""
    return sum(batches) if isinstance(batches, list) else batches
