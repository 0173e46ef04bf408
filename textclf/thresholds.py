"""Decision thresholds that are tuned on validation rows, and on nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from textclf.callbacks import gather
from textclf.console import say
from textclf.evaluation.thresholds import tune_thresholds
from textclf.models.base import TextClassifier


class TunedThresholds(Callback):
    """Tunes a threshold for each class for macro-F1 at every validation in `fit`; checkpoints keep them with the model.

    `val/macro_f1` stays that of the most probable class, so that the best checkpoint is chosen without them. Add it
    with `--trainer.callbacks+=TunedThresholds`. Scores stay as they are: NLL and ECE do not change.
    """

    def __init__(self) -> None:
        """Nothing is left to choose."""
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts anew."""
        self._parts = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores and labels."""
        if len(outputs["row"]):
            self._parts.append((outputs["log_scores"].double().cpu().numpy(), batch["labels"].cpu().numpy()))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tunes on the rows of all processes, before the checkpoint is written."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        parts = [part for share in gather(self._parts, trainer) for part in share]
        found = None
        if trainer.is_global_zero and parts:
            scores, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
            names = trainer.datamodule.label_names  # type: ignore[attr-defined]  # set by the trainer's data connector
            found = dict(zip(names, tune_thresholds(scores, labels).tolist(), strict=True))
            say("thresholds: " + ", ".join(f"{name} {threshold:.3f}" for name, threshold in found.items()))
        model: TextClassifier = pl_module  # type: ignore[assignment]  # theirs is the base class
        model.thresholds = trainer.strategy.broadcast(found)
