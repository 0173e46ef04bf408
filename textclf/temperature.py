"""Temperature scaling: one number, fitted on the validation split, that makes probabilities honest.

Source: Guo et al., 2017, https://arxiv.org/abs/1706.04599.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from lightning.pytorch import LightningModule, Trainer

from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.validation import FittedOnValidation, is_fitting

BOUNDS = (0.05, 20.0)
"""Of the temperature: where every row is right, the likelihood alone would choose 0."""


class TemperatureScaling(FittedOnValidation):
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

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts anew."""
        super().on_validation_epoch_start(trainer, pl_module)
        if is_fitting(trainer):
            self.keep(cast(TextClassifier, pl_module), None)

    def fit(self, scores: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...]) -> float:
        """Gives the temperature."""
        return fit_temperature(scores, labels)

    def keep(self, model: TextClassifier, found: float | None) -> None:
        """Sets it on the model."""
        model.temperature = found or 1.0

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits it, and logs it."""
        super().on_validation_epoch_end(trainer, pl_module)
        if is_fitting(trainer):
            pl_module.log("val/temperature", cast(TextClassifier, pl_module).temperature, sync_dist=True)


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
