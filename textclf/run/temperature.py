"""The callback of temperature scaling: one number, fitted on the validation split, that makes probabilities honest."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer

from textclf.evaluation.calibration import BOUNDS, Temperature, fit_temperature, mean_nll
from textclf.run.calibration import Calibration, is_fitting

__all__ = ["BOUNDS", "TemperatureScaling", "fit_temperature", "mean_nll"]


class TemperatureScaling(Calibration):
    """Fits a temperature in each validation of `fit`, and sets it on the model before its checkpoint is written.

    The checkpoint keeps it; log-scores of later evaluations and predictions are divided by it and normalised again.
    No prediction changes, and neither does the loss of training.
    """

    def __init__(self) -> None:
        """Takes no options."""
        super().__init__(Temperature())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits it, and logs it."""
        super().on_validation_epoch_end(trainer, pl_module)
        if is_fitting(trainer):
            fitted = self.calibrator_of(pl_module)
            temperature = fitted.temperature if isinstance(fitted, Temperature) else 1.0
            pl_module.log("val/temperature", temperature, sync_dist=True)
