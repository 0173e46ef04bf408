"""Callbacks that fit a calibrator to validation rows, in every validation of `fit`, before its checkpoint."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from textclf.console import say
from textclf.data.base import data_module_of
from textclf.data.labels import normalized_names
from textclf.errors import UserError
from textclf.evaluation.calibration import Calibrator, Temperature, Thresholds
from textclf.processes import callbacks_of, gather, on_first_process


class Calibration(Callback):
    """Fits a calibrator in each validation of `fit` to the scores of all rows, and sets it on the model.

    The checkpoint keeps it; it is applied in every later evaluation and prediction. The validations of `fit` themselves
    score without calibration: the calibrator is fitted to the method's own scores, and `val/...` of two epochs can be
    compared.

    On the command line: `--trainer.callbacks+=Calibration --trainer.callbacks.calibrator=my_package.VectorScaling`.
    """

    def __init__(self, calibrator: Calibrator) -> None:
        """Takes the calibrator to fit.

        Args:
            calibrator: A copy of it is fitted in each validation; see `textclf.evaluation.calibration.Calibrator`.
        """
        self.calibrator = calibrator
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that the calibrator can have an effect.

        Raises:
            UserError: The method has no probabilities to change, or two callbacks fit the same.
        """
        decides = self.calibrator.decides
        if stage == "fit" and not decides and not pl_module.has_probabilities:
            raise UserError(
                f"{type(self.calibrator).__name__}: {type(pl_module).__name__} gives no probabilities: leave it out"
            )
        fitted = [each.calibrator for each in callbacks_of(trainer) if isinstance(each, Calibration)]
        same = [type(each).__name__ for each in fitted if each.decides == decides]
        if len(same) > 1:
            effect = "choose the answer" if decides else "change the probabilities"
            raise UserError(f"the calibrators {' and '.join(same)} both {effect}: give one of them")

    def calibrator_of(self, model: Any) -> Calibrator | None:
        """The calibrator of this kind that the model has; None where none is fitted."""
        found: Calibrator | None = model.textclf.calibrator(self.calibrator.decides)
        return found

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts without rows."""
        self._parts = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores and labels."""
        if is_fitting(trainer):
            model: Any = pl_module
            outputs = model.checked_outputs("validation_step", outputs, batch)
            scores = outputs["log_scores"].double().cpu().numpy()
            # Rows that fill the last batches of several processes have labels, but no scores.
            self._parts.append((scores, batch["labels"][: len(scores)].cpu().numpy()))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Fits on the first process, and sets the same calibrator on all."""
        if not is_fitting(trainer):
            return
        pl_module.check_evaluation()
        parts = [part for process in gather(self._parts, trainer) for part in process]
        state = on_first_process(partial(self._fit, trainer, pl_module, parts), trainer)
        calibrators = [each for each in pl_module.textclf.calibrators if each.decides != self.calibrator.decides]
        if state is not None:
            # From the state that a checkpoint keeps, so that it gives the same here and after loading.
            calibrators.append(type(self.calibrator).from_state(state))
        pl_module.textclf.calibrators = tuple(calibrators)

    def _fit(self, trainer: Trainer, model: Any, parts: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any] | None:
        """The state of a newly fitted calibrator; None where there are no rows with an answer."""
        if not parts:
            return None
        scores = np.concatenate([part[0] for part in parts])
        labels = np.concatenate([part[1] for part in parts])
        answered = ~np.isnan(scores).any(axis=1)
        if not answered.any():
            return None
        # Scores and labels are in the order of the data's label names; a calibrator has that of the method.
        names = list(model.label_names)
        data = data_module_of(trainer)
        if data is not None:
            names = list(normalized_names(data.label_names))
        order = [names.index(name) for name in model.label_names]
        scores = scores[answered][:, order]
        labels = np.argsort(order)[labels[answered]]
        calibrator = deepcopy(self.calibrator)
        fitted = calibrator.fit(scores, labels)
        if fitted is None:  # the calibrator has no `return self`
            fitted = calibrator
        if type(fitted) is not type(calibrator):
            raise UserError(f"{type(calibrator).__name__}.fit gave a {type(fitted).__name__}: return self")
        return fitted.state


def is_fitting(trainer: Trainer) -> bool:
    """Whether this is a validation in `fit`, and not the sanity check before it."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


class TemperatureScaling(Calibration):
    """Fits a temperature in each validation of `fit`, and sets it on the model before its checkpoint is written.

    The checkpoint keeps it; log-scores of later evaluations and predictions are divided by it and normalised again.
    No prediction changes, and neither does the loss of training.
    """

    def __init__(self) -> None:
        """Takes no options."""
        super().__init__(Temperature())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits the temperature, and logs it as `val/temperature`."""
        super().on_validation_epoch_end(trainer, pl_module)
        if is_fitting(trainer):
            temperature = 1.0  # where there were no rows to fit it to
            fitted = self.calibrator_of(pl_module)
            if isinstance(fitted, Temperature):
                temperature = fitted.temperature
            pl_module.log("val/temperature", temperature, sync_dist=True)


class TunedThresholds(Calibration):
    """Tunes a threshold for each class for macro-F1 in each validation of `fit`; checkpoints keep the thresholds.

    `val/macro_f1` is still that of the most probable class, so that the best checkpoint is chosen without thresholds.
    Scores do not change, and neither do NLL and ECE. Add it with `--trainer.callbacks+=TunedThresholds`.
    """

    def __init__(self) -> None:
        """Takes no options."""
        super().__init__(Thresholds())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Tunes the thresholds, and prints them."""
        super().on_validation_epoch_end(trainer, pl_module)
        fitted = self.calibrator_of(pl_module)
        if is_fitting(trainer) and isinstance(fitted, Thresholds) and trainer.is_global_zero:
            names = pl_module.label_names
            pairs = zip(names, fitted.thresholds.tolist(), strict=True)
            say("thresholds: " + ", ".join(f"{name} {threshold:.3f}" for name, threshold in pairs))
