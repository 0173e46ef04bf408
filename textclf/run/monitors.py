"""Callbacks that watch a run: what cleaning did, the speed of training, and memory."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.data.base import data_module_of
from textclf.files import atomic_path
from textclf.hardware.memory import trim_heap
from textclf.run.logger_media import record_table


class CleaningRecord(Callback):
    """Prints what cleaning did to the rows that a command reads, and writes it to `cleaning.csv` and to the loggers."""

    def __init__(self) -> None:
        """Starts with nothing written."""
        self._written = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what is new: `fit` reads the test split after training alone."""
        data = data_module_of(trainer)
        if data is None or not trainer.is_global_zero or len(data.ledger.entries) == self._written:
            return
        ledger = data.ledger
        print(ledger.table(self._written), file=sys.stderr, flush=True)
        self._written = len(ledger.entries)
        records = ledger.records()
        columns = list(records[0])
        path = Path(trainer.default_root_dir, "cleaning.csv")
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=columns)
            writer.writeheader()
            writer.writerows(records)
        rows = [list(record.values()) for record in records]
        for logger in trainer.loggers:
            record_table(logger, "cleaning", columns, rows, trainer.global_step)

    on_validation_start = on_fit_start
    on_test_start = on_fit_start


class TrainingSpeed(Callback):
    """Logs the learning rate, examples and tokens per second, and the share of padding, of training steps.

    The time between batches counts; validation and the saving of checkpoints do not. Tokens are counted on the device,
    and read only where metrics are logged, so that no step waits for them. Batches without an `attention_mask` have no
    tokens.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts counting."""
        self._counted_to: float | None = None  # the time up to which seconds are counted; None in a pause
        self._logged_step = trainer.global_step
        self._start_over()

    def _start_over(self) -> None:
        self._seconds = 0.0
        self._examples = 0
        self._positions = 0
        self._tokens: torch.Tensor | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts the clock, at first and after a pause; reads the learning rates before the scheduler changes them."""
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._rates = [group["lr"] for group in groups if "lr" in group]
        if self._counted_to is None:
            self._counted_to = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a batch, and logs what was counted since the last time."""
        if not self._rates:  # the method is fitted by `prepare`, without steps
            return
        self._examples += len(batch["labels"])
        mask = batch.get("attention_mask")
        if mask is not None:
            tokens = mask.sum()
            self._tokens = tokens if self._tokens is None else self._tokens + tokens
            self._positions += mask.numel()
        logs = self._logs_now(trainer)
        number = None
        if logs and self._tokens is not None:
            number = self._tokens.item()  # before the clock is read: this waits until a GPU has done its work
        now = time.perf_counter()
        if self._counted_to is not None:
            self._seconds += now - self._counted_to
        self._counted_to = now
        if logs:
            pl_module.log_dict(self._values(trainer, number))
            self._logged_step = trainer.global_step
            self._start_over()

    def _logs_now(self, trainer: Trainer) -> bool:
        """Whether loggers get metrics after this batch: each `log_every_n_steps` optimiser steps, and at the end.

        With accumulated gradients, batches that make no step follow one that has made it: they are not logged.
        """
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if not every or trainer.global_step == self._logged_step:
            return False
        return trainer.global_step % every == 0 or trainer.should_stop

    def _values(self, trainer: Trainer, tokens: float | None) -> dict[str, float]:
        rate = trainer.world_size / self._seconds  # the other processes take batches of the same size
        values = {
            "train/learning_rate": max(self._rates),
            "train/examples_per_second": self._examples * rate,
        }
        if tokens is not None:
            values["train/tokens_per_second"] = tokens * rate
            values["train/padding"] = 1 - tokens / self._positions
        return values

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock until the next step."""
        self._counted_to = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Stops the clock until the next step."""
        self._counted_to = None


class HeapTrimmer(Callback):
    """Returns free memory of the heap to the system, every few batches."""

    def __init__(self, every_n_batches: int = 50) -> None:
        """Stores the interval.

        Args:
            every_n_batches: Number of batches between two calls.
        """
        self.every_n_batches = every_n_batches
        self._batches = 0

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Counts a batch of any loop."""
        self._batches += 1
        if self._batches % self.every_n_batches == 0:
            trim_heap()

    on_validation_batch_end = on_train_batch_end
    on_test_batch_end = on_train_batch_end
    on_predict_batch_end = on_train_batch_end
