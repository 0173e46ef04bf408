"""Validation, test and prediction, the same for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from textclf.data.labels import listed, normalized_names
from textclf.errors import UserError
from textclf.evaluation.metrics import ClassificationMetrics, divided_by_thresholds, predicted_classes
from textclf.models.loaders import refuse_plain_loaders, say_what_was_cut


class EvaluatedModule(LightningModule):
    """Judges log-scores, counts them, and logs `val/...` and `test/...`.

    Attributes:
        has_probabilities: False for a method that has answers but no probabilities.
        judged_together: True where a row's score depends on all rows of the split; see `settle`.
        best_by: The figure of validation by which `best.ckpt` is chosen, and whether its `max` or `min` is the best.
        temperature: What the log-scores are divided by in evaluation; see `textclf.temperature`.
        variant: What is tried in this part of the training, such as one value of several; named after its validation.
        thresholds: Of each class by name, where they were tuned: the class of the highest multiple of its threshold is
            answered, not the most probable one; see `textclf.thresholds`.
    """

    has_probabilities: bool = True
    judged_together: bool = False
    best_by: tuple[str, Literal["max", "min"]] = ("val/macro_f1", "max")

    def __init__(self, num_classes: int, label_names: Sequence[str]) -> None:
        """Takes the facts of the data.

        Args:
            num_classes: Number of labels.
            label_names: Name of each class; each gets its one spelling.

        Raises:
            UserError: Two names are the same.
        """
        super().__init__()
        self.num_classes = num_classes
        self.label_names = normalized_names(label_names)
        self.temperature = 1.0
        self.thresholds: dict[str, float] | None = None
        self.variant = ""
        self._seen_splits: set[str] = set()
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self.val_metrics = ClassificationMetrics(num_classes, self.has_probabilities)
        self.test_metrics = ClassificationMetrics(num_classes, self.has_probabilities)

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

        In `fit` the most probable classes are counted, so that the best checkpoint is chosen without the thresholds
        that are tuned on the same rows.
        """
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        return self._evaluate(batch, self.val_metrics, None if fitting else self.thresholds)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; gives its rows to the callbacks.

        Returns:
            `row` and `prediction`, int64 `(batch,)`, `log_scores` `(batch, num_classes)`, and, where thresholds
            decide, `deciding_scores` of the same shape: the log-scores divided by the thresholds, unnormalized.
        """
        return self._evaluate(batch, self.test_metrics, self.thresholds)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Scores one batch of texts without labels; gives what `test_step` gives."""
        return {"row": batch["row"], **self._judge(self.log_scores(batch), self.thresholds)}

    def on_train_start(self) -> None:
        """Looks at the loader of training."""
        self._look_at("train", self.trainer.train_dataloader)

    def on_validation_start(self) -> None:
        """Looks at the loaders of validation."""
        self._look_at("validation", self.trainer.val_dataloaders)

    def on_test_start(self) -> None:
        """Looks at the loaders of the test."""
        self._look_at("test", self.trainer.test_dataloaders)

    def _look_at(self, split: str, loaders: Any) -> None:
        """Refuses loaders that would give every process the same rows; says, once, what was cut off the texts."""
        refuse_plain_loaders(loaders, self.trainer.world_size)
        if split not in self._seen_splits:
            self._seen_splits.add(split)
            say_what_was_cut(loaders, split, getattr(self, "max_length", None))

    def on_validation_epoch_end(self) -> None:
        """Logs `val/...` over the whole split."""
        self._log_metrics("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Logs `test/...` over the whole split."""
        self._log_metrics("test", self.test_metrics)

    def _evaluate(
        self, batch: dict[str, Any], metrics: ClassificationMetrics, thresholds: Mapping[str, float] | None = None
    ) -> dict[str, Tensor]:
        log_scores = self.log_scores(batch)
        if log_scores.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(f"{type(self).__name__}.log_scores gave {log_scores.dtype}: it must be float32 or wider")
        names = self._names_of_data()
        if names != self.label_names:
            log_scores = log_scores[:, [self.label_names.index(name) for name in names]]
        result = {"row": batch["row"], **self._judge(log_scores, thresholds, names)}
        filler = bool(batch.get("filler"))
        if filler:
            result = {name: values[:0] for name, values in result.items()}
        if self.judged_together:
            self._waiting.append((result["log_scores"], batch["labels"][: len(result["row"])]))
        elif not filler:
            metrics.update(result["log_scores"], batch["labels"], result["prediction"])
        return result

    def _judge(
        self, log_scores: Tensor, thresholds: Mapping[str, float] | None, names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """The answered classes, by thresholds where there are some, and the log-scores at the fitted temperature.

        (Both are fitted on the method's own log-scores, so that neither depends on the other.)
        """
        result = {"log_scores": self.calibrated(log_scores)}
        if thresholds is None:
            return {**result, "prediction": predicted_classes(log_scores)}
        limits = torch.tensor([thresholds[name] for name in names or self.label_names])
        deciding = divided_by_thresholds(log_scores, limits)
        return {**result, "prediction": predicted_classes(log_scores, limits), "deciding_scores": deciding}

    def calibrated(self, log_scores: Tensor) -> Tensor:
        """Log-scores at the fitted temperature: divided by it, and normalised again; never used in a loss.

        Args:
            log_scores: As `log_scores` gives them, `(batch, num_classes)`.
        """
        if self.temperature == 1 or not self.has_probabilities:
            return log_scores
        return (log_scores / self.temperature).log_softmax(dim=-1)

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

    def _log_metrics(self, split: str, metrics: ClassificationMetrics) -> None:
        if self._waiting:
            scores, labels = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
            metrics.update(self.settle(scores), labels)
            self._waiting.clear()
        values = {f"{split}/{name}": value.float() for name, value in metrics.compute().items()}
        # compute() has already reduced over the processes; Lightning warns where it is not told to reduce, and the mean
        # of equal values changes nothing.
        self.log_dict(values, sync_dist=True)
        metrics.reset()
