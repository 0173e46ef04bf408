"""Decision thresholds that are tuned on validation rows, and on nothing else."""

from __future__ import annotations

import numpy as np

from textclf.console import say
from textclf.evaluation.thresholds import tune_thresholds
from textclf.models.base import TextClassifier
from textclf.validation import FittedOnValidation


class TunedThresholds(FittedOnValidation):
    """Tunes a threshold for each class for macro-F1 at every validation in `fit`; checkpoints keep them with the model.

    `val/macro_f1` stays that of the most probable class, so that the best checkpoint is chosen without them. Add it
    with `--trainer.callbacks+=TunedThresholds`. Scores stay as they are: NLL and ECE do not change.
    """

    def fit(self, scores: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...]) -> dict[str, float]:
        """Gives the threshold of each class by name."""
        found = dict(zip(label_names, tune_thresholds(scores, labels).tolist(), strict=True))
        say("thresholds: " + ", ".join(f"{name} {threshold:.3f}" for name, threshold in found.items()))
        return found

    def keep(self, model: TextClassifier, found: dict[str, float] | None) -> None:
        """Sets them on the model."""
        model.thresholds = found
