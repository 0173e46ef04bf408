"""Callbacks that watch a run: what cleaning did, the speed of training, and memory."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.files import atomic_path
from textclf.hardware.memory import trim_heap
from textclf.run.logger_media import record_table


class CleaningRecord(Callback):
    """Shows what became of the rows that a command reads, and writes it to `cleaning.csv` and to the loggers."""

    def __init__(self) -> None:
        """Starts with nothing written."""
        self._written = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what is known before training."""
        self._write(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes it where there was no training."""
        self._write(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows and writes what is new where the test split is read only now."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        ledger = getattr(getattr(trainer, "datamodule", None), "ledger", None)
        if ledger is None or not trainer.is_global_zero or len(ledger.entries) == self._written:
            return
        print(ledger.table(self._written), file=sys.stderr, flush=True)
        self._written = len(ledger.entries)
        records = ledger.records()
        path = Path(trainer.default_root_dir, "cleaning.csv")
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(records[0]))
            writer.writeheader()
            writer.writerows(records)
        for logger in trainer.loggers:
            rows = [list(record.values()) for record in records]
            record_table(logger, "cleaning", list(records[0]), rows, trainer.global_step)


class TrainingSpeed(Callback):
    """Logs the learning rate, examples and tokens per second, and the share of padding, of training steps.

    Waiting for batches counts, validation and saving do not. Tokens are counted on the device, and read only where
    metrics are logged, so that no step waits for them; batches without an `attention_mask` have none.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts counting."""
        self._since: float | None = None  # the moment up to which time is counted; None in a pause
        self._start_over()

    def _start_over(self) -> None:
        self._seconds, self._examples, self._places = 0.0, 0, 0
        self._tokens: torch.Tensor | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts the clock, at first and after a pause; notes the rate before the schedule moves it on."""
        self._rates = [group["lr"] for each in trainer.optimizers for group in each.param_groups if "lr" in group]
        if self._since is None:
            self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a batch, and logs what was counted since the last time."""
        if not self._rates:
            return  # fitted whole, without steps
        self._examples += len(batch["labels"])
        if (mask := batch.get("attention_mask")) is not None:
            self._places += mask.numel()
            self._tokens = mask.sum() if self._tokens is None else self._tokens + mask.sum()
        logs = trainer._logger_connector.should_update_logs
        tokens = self._tokens.item() if logs and self._tokens is not None else None  # a GPU's work is done then
        now = time.perf_counter()
        self._seconds += 0 if self._since is None else now - self._since
        self._since = now
        if logs:
            pl_module.log_dict(self._values(trainer, tokens))
            self._start_over()

    def _values(self, trainer: Trainer, tokens: float | None) -> dict[str, float]:
        rate = trainer.world_size / self._seconds  # the other processes take batches of the same size
        values = {"learning_rate": max(self._rates), "examples_per_second": self._examples * rate}
        if tokens is not None:
            values |= {"tokens_per_second": tokens * rate, "padding": 1 - tokens / self._places}
        return {f"train/{name}": value for name, value in values.items()}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock until the next step."""
        self._since = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Stops the clock until the next step."""
        self._since = None


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
