"""The callback of decision thresholds that are tuned on validation rows, and on nothing else."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

from textclf.console import say
from textclf.evaluation.calibration import Thresholds
from textclf.run.calibration import Calibration


class TunedThresholds(Calibration):
    """Tunes a threshold for each class for macro-F1 at every validation in `fit`; checkpoints keep them with the model.

    `val/macro_f1` stays that of the most probable class, so that the best checkpoint is chosen without them. Add it
    with `--trainer.callbacks+=TunedThresholds`. Scores stay as they are: NLL and ECE do not change.
    """

    def __init__(self) -> None:
        """Takes no options."""
        super().__init__(Thresholds())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Tunes them, and says what was found."""
        super().on_validation_epoch_end(trainer, pl_module)
        fitted = self.calibrator_of(pl_module)
        if isinstance(fitted, Thresholds) and trainer.is_global_zero:
            names = pl_module.label_names
            pairs = zip(names, fitted.thresholds.tolist(), strict=True)
            say("thresholds: " + ", ".join(f"{name} {threshold:.3f}" for name, threshold in pairs))
