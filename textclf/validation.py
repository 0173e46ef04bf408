"""What is fitted on validation rows alone, at every validation of `fit`, before its checkpoint is written."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from textclf.data.labels import normalized_names
from textclf.models.base import TextClassifier
from textclf.processes import gather


class FittedOnValidation(Callback):
    """Collects the scores of all validation rows from all processes; a subclass fits something to them."""

    def fit(self, scores: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...]) -> Any:
        """Fits, on the first process.

        Args:
            scores: Log-probabilities, float64, `(rows, num_classes)`.
            labels: Class indices, `(rows,)`.
            label_names: The classes of the columns.
        """
        raise NotImplementedError

    def keep(self, model: TextClassifier, found: Any) -> None:
        """Sets on the model, on each process, what `fit` found; None where there were no rows."""
        raise NotImplementedError

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts anew."""
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores and labels."""
        if is_fitting(trainer):
            scores = outputs["log_scores"].double().cpu().numpy()
            self._parts.append((scores, batch["labels"][: len(scores)].cpu().numpy()))  # a filler has no scores

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits over the rows of all processes."""
        if not is_fitting(trainer):
            return
        parts = [part for process in gather(self._parts, trainer) for part in process]
        found = None
        if parts:
            scores, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            names = normalized_names(trainer.datamodule.label_names)  # type: ignore[attr-defined]  # set by a connector
            found = self.fit(scores, labels, names)
        model: TextClassifier = pl_module  # type: ignore[assignment]  # theirs is the base class
        self.keep(model, trainer.strategy.broadcast(found))


def is_fitting(trainer: Trainer) -> bool:
    """Whether this is a validation in `fit`, and not the sanity check before it."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
