"""Temperature scaling: one number, fitted on the validation split, that makes probabilities honest.

Source: Guo et al., 2017, https://arxiv.org/abs/1706.04599.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from textclf.callbacks import gather
from textclf.errors import UserError

BOUNDS = (0.05, 20.0)
"""Of the temperature: where every row is right, the likelihood alone would choose 0."""


class TemperatureScaling(Callback):
    """Fits a temperature in each validation of `fit`, and sets it on the model before its checkpoint is written.

    The checkpoint keeps it; log-scores of later evaluations and predictions are divided by it and normalised again.
    No prediction changes, and the loss of training knows nothing of it. In the validations of `fit` themselves the
    temperature is 1, so that `val/nll` and `val/ece` of two epochs compare.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses a method that has nothing to scale.

        Raises:
            UserError: Its scores are no probabilities.
        """
        if stage == "fit" and not pl_module.has_probabilities:
            raise UserError(f"TemperatureScaling: {type(pl_module).__name__} gives no probabilities: leave it out")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Starts anew."""
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        if _fits(trainer):
            pl_module.temperature = 1.0

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores and labels."""
        if _fits(trainer):
            scores = outputs["log_scores"].double().cpu().numpy()
            self._parts.append((scores, batch["labels"][: len(scores)].cpu().numpy()))  # a filler has no scores

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Fits over the rows of all processes."""
        if not _fits(trainer):
            return
        parts = [part for process in gather(self._parts, trainer) for part in process]
        temperature = 1.0
        if parts:
            scores, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            temperature = fit_temperature(scores, labels)
        pl_module.temperature = trainer.strategy.broadcast(temperature)
        pl_module.log("val/temperature", pl_module.temperature, sync_dist=True)


def fit_temperature(log_scores: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature with the lowest negative log-likelihood.

    Args:
        log_scores: Log-probabilities, float64, `(rows, num_classes)`. Rows of NaN, and rows whose label has
            probability 0, say nothing of the temperature, and are left out.
        labels: Class indices, `(rows,)`.

    Returns:
        A number within `BOUNDS`; 1 where no other is better.
    """
    from scipy.optimize import minimize_scalar

    told = np.isfinite(log_scores[np.arange(len(labels)), labels])
    log_scores, labels = log_scores[told], labels[told]
    if not len(labels):
        return 1.0

    def loss(log_temperature: float) -> float:
        return mean_nll(log_scores, labels, float(np.exp(log_temperature)))

    # In 1 / temperature the likelihood is concave, so there is one optimum, and none other to be caught in.
    found = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def mean_nll(log_scores: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood of the labels, in nats, at a temperature.

    Args:
        log_scores: Log-probabilities, `(rows, num_classes)`.
        labels: Class indices, `(rows,)`.
        temperature: What the scores are divided by before they are normalised again.
    """
    scaled = log_scores / temperature
    highest = scaled.max(axis=1, keepdims=True)
    totals = np.log(np.exp(scaled - highest).sum(axis=1)) + highest[:, 0]
    return float((totals - scaled[np.arange(len(labels)), labels]).mean())


def _fits(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
