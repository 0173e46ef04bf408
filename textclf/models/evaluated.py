"""Validation, test and prediction, the same for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from textclf.data.labels import listed, normalized_names
from textclf.errors import UserError
from textclf.evaluation.calibration import calibrated
from textclf.evaluation.metrics import ClassificationMetrics, predicted_classes
from textclf.models.dataloaders import check_batch, refuse_plain_loaders, say_what_was_cut
from textclf.models.hooks import keep_required_hooks, required_hook
from textclf.models.score_check import ScoreCheck, ScoreRules, check_outputs, check_predictions
from textclf.models.state import MethodState
from textclf.subclassing import GuardedAttributes


class EvaluatedModule(GuardedAttributes, LightningModule):
    """Checks and counts log-scores, and logs `val/...` and `test/...`.

    A subclass may override the hooks of Lightning that are defined here, with or without calling `super()`: the work of
    this class is done as well (`textclf.models.hooks`). What an overridden `validation_step` or `test_step` returns is
    added to the results that the callbacks get: a tensor as `loss`, a dictionary entry by entry.

    Attributes:
        autocast: Whether evaluation calls `log_scores` in the trainer's autocast, as training does. By default scores
            are computed in the precision of the weights.
        has_probabilities: False for a method that has answers but no probabilities.
        loses_mass: Whether the probabilities of a row may sum to less than 1, as where those of some labels are
            dropped.
        may_not_answer: Whether all rows of an evaluation may be answers that fit no class, which is an error otherwise;
            those of a method without probabilities always may.
        judged_together: True where a row's score depends on all rows of the split; see `settle`.
        best_by: The figure of validation by which `best.ckpt` is chosen, and whether its `max` or `min` is the best.
        textclf: What the package itself keeps of the method; a subclass only reads it.
    """

    autocast: ClassVar[bool] = False
    has_probabilities: bool = True
    loses_mass: bool = False
    may_not_answer: bool = False
    judged_together: bool = False
    best_by: tuple[str, Literal["max", "min"]] = ("val/macro_f1", "max")

    attribute_types = {
        "num_classes": (int, "the number of labels"),
        "label_names": ((tuple, list), "the names of the labels"),
        "autocast": (bool, "true or false"),
        "has_probabilities": (bool, "true or false"),
        "loses_mass": (bool, "true or false"),
        "may_not_answer": (bool, "true or false"),
        "judged_together": (bool, "true or false"),
        "best_by": (tuple, "the name of a figure, and max or min"),
        "textclf": (MethodState, "what the package keeps of the method"),
        "textclf_metrics": (nn.ModuleDict, "what the package counts"),
    }
    init_call = "super().__init__(num_classes, label_names)"

    def __init_subclass__(cls, **options: Any) -> None:
        """Keeps the work of the hooks that the subclass overrides."""
        super().__init_subclass__(**options)
        keep_required_hooks(cls)

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
            Log-probabilities in nats, float32 or float64, shape `(batch, num_classes)`, also for a batch of one row. A
            row of NaN is an answer that fits no class.
        """
        raise UserError(f"{type(self).__name__} must define log_scores(batch)")

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

    @required_hook
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; gives what `test_step` gives.

        In `fit` no calibrator is applied: the best checkpoint is chosen, and the next calibrator fitted, by the
        method's own scores.
        """
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        return self._evaluate(batch, "val", calibrate=not fitting)

    @required_hook
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; gives its rows to the callbacks.

        Returns:
            `row` and `prediction`, int64 `(batch,)`, `log_scores` `(batch, num_classes)`, and, where a calibrator
            such as thresholds decides, `deciding_scores` of the same shape, unnormalized.
        """
        return self._evaluate(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Scores one batch of texts; gives what `test_step` gives, in the order of the model's own `label_names`.

        An override must give the same entries.
        """
        check_batch(batch, "row")
        result = {"row": batch["row"], **self._judge(self.checked_scores(batch))}
        return {name: values[:0] for name, values in result.items()} if batch.get("filler") else result

    # Checked scores

    def checked_scores(self, batch: dict[str, Any], check: ScoreCheck | None = None) -> Tensor:
        """Calls `log_scores`, and checks what it gives: each evaluation and prediction gets its scores here.

        Args:
            batch: What `collate` gave, with `row`, on this module's device.
            check: That of an evaluation, which may raise later; by default a fault is raised at once.

        Returns:
            A copy of the scores, without gradients, on this module's device.

        Raises:
            UserError: They break the rules of `textclf.models.score_check`.
        """
        check = ScoreCheck() if check is None else check
        with self._evaluation_precision():
            scores = self.log_scores(batch)
        counted = not batch.get("filler")
        return check.add(self._rules_of("log_scores"), scores, batch["row"], self.device, counted)

    def settled_scores(self, log_scores: Tensor, rows: Tensor) -> Tensor:
        """Calls `settle`, and checks what it gives; on all processes.

        Args:
            log_scores: What `log_scores` gave for the rows of this process, shape `(rows, num_classes)`.
            rows: Place of each row in the split, shape `(rows,)`.

        Raises:
            UserError: The scores break the rules, on any process.
        """
        check = ScoreCheck(self.trainer.world_size)
        return check.add(self._rules_of("settle"), self.settle(log_scores), rows, log_scores.device)

    def checked_outputs(self, step: str, outputs: Any, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Checks what a step returned, before it is read.

        Args:
            step: Name of the method, which may be a subclass's own.
            outputs: What it returned.
            batch: The batch, with `row`.

        Raises:
            UserError: The results of some rows are missing, or the scores of `predict_step` break the rules.
        """
        names = ["row", "prediction", "log_scores"]
        if step == "predict_step" and self.textclf.calibrator(decides=True) is not None:
            names.append("deciding_scores")
        rows = batch["row"][:0] if batch.get("filler") else batch["row"]
        check_outputs(self._rules_of(step), outputs, names, rows)
        if step == "predict_step":
            ScoreCheck().add(self._rules_of(step), outputs["log_scores"], rows, outputs["log_scores"].device)
            check_predictions(self._rules_of(step), outputs["prediction"])
        checked: Mapping[str, Tensor] = outputs
        return checked

    def check_evaluation(self) -> None:
        """Raises, on all processes, what was wrong with the scores of an evaluation; called before they are reported.

        Raises:
            UserError: The scores break the rules, no row was counted, or all scores are NaN.
        """
        batches, rows, invalid = self.textclf.score_check.finish()
        if not batches:
            raise UserError(
                f"{type(self).__name__} counted no batch of this evaluation: define validation_step and test_step as "
                "methods of the class, or call those of TextClassifier"
            )
        if rows == invalid > 0 and self.has_probabilities and not self.may_not_answer:
            source = f"{type(self).__name__}.log_scores"
            raise UserError(f"{source} gave NaN for all {rows} rows: {self._reason_of_nan()}")

    def _reason_of_nan(self) -> str:
        trains = is_overridden("training_step", self) and any(weight.requires_grad for weight in self.parameters())
        if trains and not self.trainer.sanity_checking:
            return (
                "training has diverged: try a lower learning rate, --trainer.gradient_clip_val 1.0, or "
                f"--trainer.precision 32-true (it is {self.trainer.precision})"
            )
        return (
            "not one has an answer: look at the inputs and weights, or set may_not_answer = True where answers may fit "
            "no class"
        )

    def _rules_of(self, method: str) -> ScoreRules:
        return ScoreRules(
            source=f"{type(self).__name__}.{method}",
            num_classes=self.num_classes,
            has_probabilities=self.has_probabilities,
            loses_mass=self.loses_mass,
            precision=None if self._trainer is None else str(self._trainer.precision),
        )

    def _evaluation_precision(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.autocast else torch.autocast(self.device.type, enabled=False)

    # Loaders and metrics

    @required_hook
    def on_train_start(self) -> None:
        """Looks at the loader of training."""
        self._look_at("train", self.trainer.train_dataloader)

    @required_hook
    def on_validation_start(self) -> None:
        """Looks at the loaders of validation; in `fit`, forgets what was fitted to the scores of other weights."""
        self.textclf.score_check = ScoreCheck(self.trainer.world_size)
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.textclf.calibrators = ()
        self._look_at("validation", self.trainer.val_dataloaders)

    @required_hook
    def on_test_start(self) -> None:
        """Looks at the loaders of the test."""
        self.textclf.score_check = ScoreCheck(self.trainer.world_size)
        self._look_at("test", self.trainer.test_dataloaders)

    def _look_at(self, split: str, loaders: Any) -> None:
        """Refuses loaders that would give every process the same rows; says, once, what was cut off the texts."""
        refuse_plain_loaders(loaders, self.trainer.world_size)
        if split not in self.textclf.seen_splits:
            self.textclf.seen_splits.add(split)
            say_what_was_cut(loaders, split, getattr(self, "max_length", None))

    @required_hook
    def on_validation_epoch_end(self) -> None:
        """Logs `val/...` over the whole split."""
        self._log_metrics("val")

    @required_hook
    def on_test_epoch_end(self) -> None:
        """Logs `test/...` over the whole split."""
        self._log_metrics("test")

    def _evaluate(
        self, batch: dict[str, Any], split: Literal["val", "test"], calibrate: bool = True
    ) -> dict[str, Tensor]:
        check_batch(batch, "row", "labels")
        names = self._names_of_data()
        log_scores = self.checked_scores(batch, self.textclf.score_check)
        result = {"row": batch["row"], **self._judge(log_scores, names, calibrate)}
        filler = bool(batch.get("filler"))
        if filler:
            result = {name: values[:0] for name, values in result.items()}
        if self.judged_together:
            self.textclf.waiting.append((result["row"], result["log_scores"], batch["labels"][: len(result["row"])]))
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
        if self.num_classes != len(self.label_names):
            raise UserError(
                f"{type(self).__name__}.num_classes is {self.num_classes}, but there are {len(self.label_names)} "
                "label_names: give an attribute of your own another name"
            )
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
        self.check_evaluation()
        metrics = self._metrics(split)
        if waiting := self.textclf.waiting:
            rows, scores, labels = (torch.cat(parts) for parts in zip(*waiting, strict=True))
            metrics.update(self.settled_scores(scores, rows), labels)
            waiting.clear()
        values = {f"{split}/{name}": value.float() for name, value in metrics.compute().items()}
        # compute() has already reduced over the processes; Lightning warns where it is not told to reduce, and the mean
        # of equal values changes nothing.
        self.log_dict(values, sync_dist=True)
        metrics.reset()
