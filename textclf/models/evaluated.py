"""Validation, test and prediction, the same for every method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from textclf.data.labels import listed, normalized_names
from textclf.errors import UserError
from textclf.evaluation.calibration import calibrated
from textclf.evaluation.metrics import ClassificationMetrics, predicted_classes
from textclf.models.loaders import refuse_plain_loaders, say_what_was_cut
from textclf.models.state import MethodState
from textclf.subclassing import GuardedAttributes


class EvaluatedModule(GuardedAttributes, LightningModule):
    """Judges log-scores, counts them, and logs `val/...` and `test/...`.

    Attributes:
        has_probabilities: False for a method that has answers but no probabilities.
        judged_together: True where a row's score depends on all rows of the split; see `settle`.
        best_by: The figure of validation by which `best.ckpt` is chosen, and whether its `max` or `min` is the best.
        textclf: What the package itself keeps of the method; a subclass only reads it.
    """

    has_probabilities: bool = True
    judged_together: bool = False
    best_by: tuple[str, Literal["max", "min"]] = ("val/macro_f1", "max")

    attribute_types = {
        "num_classes": (int, "the number of labels"),
        "label_names": ((tuple, list), "the names of the labels"),
        "has_probabilities": (bool, "true or false"),
        "judged_together": (bool, "true or false"),
        "best_by": (tuple, "the name of a figure, and max or min"),
        "fitted": (dict, "a dictionary of what `prepare` found"),
        "textclf": (MethodState, "what the package keeps of the method"),
        "textclf_metrics": (nn.ModuleDict, "what the package counts"),
    }
    init_call = "super().__init__(num_classes, label_names)"

    def __init__(self, num_classes: int, label_names: Sequence[str]) -> None:
        """Takes the facts of the data.

        Args:
            num_classes: Number of labels.
            label_names: Name of each class; each gets its one spelling.

        Raises:
            UserError: Two names are the same.
        """
        self._base_begins()
        super().__init__()
        self.num_classes = num_classes
        self.label_names = normalized_names(label_names)
        self.textclf = MethodState()
        self.textclf_metrics = nn.ModuleDict(
            {split: ClassificationMetrics(num_classes, self.has_probabilities) for split in ("val", "test")}
        )

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Scores of each label.

        Args:
            batch: What `collate` gave, on this module's device.

        Returns:
            Log-probabilities in nats, fp32 or wider, shape `(batch, num_classes)`. A row of NaN is an answer that fits
            no class.
        """
        raise NotImplementedError(f"{type(self).__name__} must define log_scores(batch)")

    def settle(self, log_scores: Tensor) -> Tensor:
        """Settles scores once all rows of a split have theirs; called on all processes, where `judged_together`.

        Args:
            log_scores: What `log_scores` gave for the rows of this process, shape `(rows, num_classes)`.

        Returns:
            Log-probabilities of the same shape.
        """
        return log_scores

    def figures(self, split: Literal["validation", "test"]) -> dict[str, float]:
        """Other figures of an evaluation for `metrics.json`; called on all processes, at its end.

        Args:
            split: The split whose rows were scored.
        """
        return {}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; gives what `test_step` gives.

        In `fit` no calibrator is applied: the best checkpoint is chosen, and the next calibrator fitted, by the
        method's own scores.
        """
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        return self._evaluate(batch, "val", calibrate=not fitting)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; gives its rows to the callbacks.

        Returns:
            `row` and `prediction`, int64 `(batch,)`, `log_scores` `(batch, num_classes)`, and, where a calibrator
            such as thresholds decides, `deciding_scores` of the same shape, unnormalized.
        """
        return self._evaluate(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Scores one batch of texts without labels; gives what `test_step` gives."""
        return {"row": batch["row"], **self._judge(self.log_scores(batch))}

    def on_train_start(self) -> None:
        """Looks at the loader of training."""
        self._look_at("train", self.trainer.train_dataloader)

    def on_validation_start(self) -> None:
        """Looks at the loaders of validation; in `fit`, forgets what was fitted to the scores of other weights."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.textclf.calibrators = ()
        self._look_at("validation", self.trainer.val_dataloaders)

    def on_test_start(self) -> None:
        """Looks at the loaders of the test."""
        self._look_at("test", self.trainer.test_dataloaders)

    def _look_at(self, split: str, loaders: Any) -> None:
        """Refuses loaders that would give every process the same rows; says, once, what was cut off the texts."""
        refuse_plain_loaders(loaders, self.trainer.world_size)
        if split not in self.textclf.seen_splits:
            self.textclf.seen_splits.add(split)
            say_what_was_cut(loaders, split, getattr(self, "max_length", None))

    def on_validation_epoch_end(self) -> None:
        """Logs `val/...` over the whole split."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Logs `test/...` over the whole split."""
        self._log_metrics("test")

    def _evaluate(
        self, batch: dict[str, Any], split: Literal["val", "test"], calibrate: bool = True
    ) -> dict[str, Tensor]:
        log_scores = self.log_scores(batch)
        if log_scores.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(f"{type(self).__name__}.log_scores gave {log_scores.dtype}: it must be float32 or wider")
        result = {"row": batch["row"], **self._judge(log_scores, self._names_of_data(), calibrate)}
        filler = bool(batch.get("filler"))
        if filler:
            result = {name: values[:0] for name, values in result.items()}
        if self.judged_together:
            self.textclf.waiting.append((result["log_scores"], batch["labels"][: len(result["row"])]))
        elif not filler:
            self._metrics(split).update(result["log_scores"], batch["labels"], result["prediction"])
        return result

    def _judge(
        self, log_scores: Tensor, names: Sequence[str] | None = None, calibrate: bool = True
    ) -> dict[str, Tensor]:
        """The calibrated log-scores, the answered classes, and the scores that decided where a calibrator does.

        (Every calibrator was fitted on the method's own log-scores, so that none depends on another.)

        Args:
            log_scores: As `log_scores` gives them, `(batch, num_classes)`.
            names: The data's labels, in the order that columns and classes are wanted in; the method's own by default.
            calibrate: Whether calibrators are applied.
        """
        scaling = self.textclf.calibrator(decides=False) if calibrate else None
        rule = self.textclf.calibrator(decides=True) if calibrate else None
        scores = log_scores if scaling is None else calibrated(scaling, log_scores)
        deciding = scores if rule is None else calibrated(rule, log_scores)
        if names is not None and names != self.label_names:
            order = [self.label_names.index(name) for name in names]
            scores, deciding = scores[:, order], deciding[:, order]
        result = {
            "log_scores": scores.to(log_scores),
            "prediction": predicted_classes(deciding).to(log_scores.device),
        }
        if rule is not None:
            result["deciding_scores"] = deciding.to(log_scores)
        return result

    def _names_of_data(self) -> tuple[str, ...]:
        """The data's labels in their order; they are matched by name."""
        data: Any = getattr(self.trainer, "datamodule", None)
        names = self.label_names if data is None else normalized_names(data.label_names)
        if set(names) != set(self.label_names):
            raise UserError(
                f"the model's labels are {listed(self.label_names, names)}, the data's are "
                f"{listed(names, self.label_names)}: evaluate it on data with the same labels"
            )
        return names

    def _metrics(self, split: Literal["val", "test"]) -> ClassificationMetrics:
        metrics = cast(ClassificationMetrics, self.textclf_metrics[split])
        if metrics.has_probabilities != self.has_probabilities:  # set in the `__init__` of a subclass
            metrics = ClassificationMetrics(self.num_classes, self.has_probabilities).to(self.device)
            self.textclf_metrics[split] = metrics
        return metrics

    def _log_metrics(self, split: Literal["val", "test"]) -> None:
        metrics = self._metrics(split)
        if waiting := self.textclf.waiting:
            scores, labels = (torch.cat(parts) for parts in zip(*waiting, strict=True))
            metrics.update(self.settle(scores), labels)
            waiting.clear()
        values = {f"{split}/{name}": value.float() for name, value in metrics.compute().items()}
        # compute() has already reduced over the processes; Lightning warns where it is not told to reduce, and the mean
        # of equal values changes nothing.
        self.log_dict(values, sync_dist=True)
        metrics.reset()
