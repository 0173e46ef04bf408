"""The method axis: how a text becomes tensors, and tensors become one score per label."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from textclf.classes.paths import public_path
from textclf.classes.subclassing import GuardedAttributes
from textclf.data.contract import ExampleRequest
from textclf.data.labels import normalized_names, refuse_other_labels
from textclf.errors import UserError
from textclf.evaluation.metrics import ClassificationMetrics
from textclf.findings.lengths import Tokenization
from textclf.models.checkpoint import (
    accepted,
    check_readable,
    check_restorable,
    current_facts,
    data_entry,
    read_checkpoint,
    resolve_class,
)
from textclf.models.checkpoint_checks import loading_part, refuse_remote_code
from textclf.models.dataloaders import check_batch, refuse_plain_loaders
from textclf.models.encoding_key import hash_of_encoding
from textclf.models.hooks import keep_required_hooks, required_hook
from textclf.models.read_back import CheckpointReadBack
from textclf.models.score_check import ScoreCheck, ScoreRules, check_outputs, check_predictions
from textclf.models.state import MethodState
from textclf.models.streaming import score_rows, text_rows
from textclf.models.top_features import TopFeatures
from textclf.models.truncation import cut_counters
from textclf.plain_values import plain_arguments, plain_part, plain_state
from textclf.processes import attached_trainer, callbacks_of
from textclf.types import Dataset
from textclf.version import __version__


class TextClassifier(GuardedAttributes, LightningModule):
    """Base class of all methods; a subclass defines `log_scores`, and overrides what else it needs.

    The order of calls: `prepare` (once, with the train rows), `encode` (once per split, cached on disk), then per batch
    `collate` and `log_scores`. A method that trains adds `training_step` and `configure_optimizers`. Weights are loaded
    in `configure_model`, never in `__init__`. What `prepare` finds goes into `self.fitted`: numbers, strings, lists,
    dictionaries and tensors, which are saved in the checkpoint and restored before anything is encoded. `fitted` is
    then replaced as a whole: build objects from it when they are used, not before.

    Validation, test and prediction are the same for every method: scores are checked, counted and logged as `val/...`
    and `test/...`. A subclass may override the hooks of Lightning that are defined here, with or without calling
    `super()`: the work of this class is done as well (`textclf.models.hooks`). What an overridden `validation_step` or
    `test_step` returns is added to the results that the callbacks get: a tensor as `loss`, a dictionary entry by entry.

    Attributes:
        architecture: Arguments that must be as they were when the checkpoint was made.
        encoded_together: Most rows in one call of `encode`.
        encodes_by_model: Whether `encode` runs a model, so that its time is part of the time of scoring.
        autocast: Whether evaluation calls `log_scores` in the trainer's autocast, as training does. By default scores
            are computed in the precision of the weights.
        has_probabilities: False for a method that has answers but no probabilities.
        loses_mass: Whether the probabilities of a row may sum to less than 1, for instance because those of some labels
            are dropped.
        may_not_answer: Whether all rows of an evaluation may be answers that fit no class; by default that is an error.
            It never is for a method without probabilities.
        needs_whole_split: True where a row's score depends on all rows of the split; see `calibrate_split`.
        best_by: The validation metric by which `best.ckpt` is chosen, and whether its `max` or `min` is the best.
        fitted: What `prepare` found.
        textclf: State that the package keeps for the method; a subclass only reads it.
    """

    architecture: ClassVar[tuple[str, ...]] = ("pretrained",)
    encoded_together: ClassVar[int] = 1000
    encodes_by_model: ClassVar[bool] = False
    autocast: ClassVar[bool] = False
    has_probabilities: bool = True
    loses_mass: bool = False
    may_not_answer: bool = False
    needs_whole_split: bool = False
    best_by: tuple[str, Literal["max", "min"]] = ("val/macro_f1", "max")

    attribute_types = {
        "num_classes": (int, "the number of labels"),
        "label_names": ((tuple, list), "the names of the labels"),
        "architecture": ((tuple, list), "the names of arguments, in a tuple"),
        "autocast": (bool, "true or false"),
        "has_probabilities": (bool, "true or false"),
        "loses_mass": (bool, "true or false"),
        "may_not_answer": (bool, "true or false"),
        "needs_whole_split": (bool, "true or false"),
        "best_by": (tuple, "the name of a figure, and max or min"),
        "textclf": (MethodState, "what the package keeps of the method"),
        "textclf_metrics": (nn.ModuleDict, "what the package counts"),
    }
    former_names = {
        "judged_together": "needs_whole_split",
        "see": "set_examples",
        "settle": "calibrate_split",
        "wanted": "example_request",
    }
    init_call = "super().__init__(num_classes, label_names)"

    def __init_subclass__(cls, **options: Any) -> None:
        """Makes the hooks that the subclass overrides run those of this class as well."""
        super().__init_subclass__(**options)
        keep_required_hooks(cls)

    def __init__(self, num_classes: int, label_names: Sequence[str]) -> None:
        """Takes the facts of the data; a subclass passes them on, first thing in its own `__init__`.

        Args:
            num_classes: Number of labels; the command line links it from the data.
            label_names: Name of each class, linked as well; normalized by `textclf.data.labels`.

        Raises:
            UserError: Two names are the same, or their number is not `num_classes`.
        """
        self._base_begins()
        super().__init__()
        self.num_classes = num_classes
        self.label_names = normalized_names(label_names)
        self.textclf = MethodState()
        self.textclf_metrics = nn.ModuleDict()  # made on first use: `has_probabilities` may be set by then
        self.save_hyperparameters(logger=False)
        if num_classes != len(label_names):
            raise UserError(
                f"num_classes is {num_classes}, but there are {len(label_names)} label_names: {list(label_names)}"
            )
        self.fitted: dict[str, Any] = {}

    # What a subclass defines

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Scores of each label.

        Args:
            batch: What `collate` gave, on this module's device.

        Returns:
            Log-probabilities in nats, float32 or float64, shape `(batch, num_classes)`, also for a batch of one row. A
            row of NaN is an answer that fits no class.
        """
        raise UserError(f"{type(self).__name__} must define log_scores(batch)")

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """From texts to per-row fields and a `length` for batching; by default the length in characters.

        A method that cuts long texts gives `cut`, the number of tokens cut off each row, so that they are reported.

        Args:
            rows: Columns `text`, and `text_pair` where there is one.

        Returns:
            New columns with one entry per row, `length` among them.
        """
        return {"length": [max(1, len(text)) for text in rows["text"]]}

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """From encoded rows to a batch; by default the texts themselves.

        Args:
            rows: The columns that `encode` gave, and `text` (and `text_pair`).
        """
        return {name: rows[name] for name in ("text", "text_pair") if name in rows}

    def prepare(self, train_rows: Dataset) -> None:
        """Fits what must be known before rows can be encoded, and puts it into `self.fitted`; by default nothing.

        It runs on one process, which sends `self.fitted` to the others.

        Args:
            train_rows: The train split, on disk: columns `id`, `text`, `label`, and `text_pair` where there is one.
        """

    def example_request(self) -> ExampleRequest | None:
        """Requests labelled rows for a method without training; by default it needs none.

        The data module asks for it in `test`, `validate` and `predict`, before any row is encoded, and answers by
        calling `set_examples`. Rows that are scored are never among those it gives.
        """
        return None

    def set_examples(self, shown: Dataset | None, fit: Dataset | None, of_test: bool = False) -> None:
        """Takes the requested rows; called on every process, with the same ones. May also be called by hand.

        Rows have the columns `id`, `text`, `label` (an index into `label_names`), and `text_pair` where there is one.

        Args:
            shown: Examples for the prompts, in this order; all train rows, if `ExampleRequest.all_rows` asks for them.
            fit: Rows to fit a few numbers to, or None where there are none.
            of_test: Whether `fit` was taken out of the test split for this purpose alone.
        """

    def calibrate_split(self, log_scores: Tensor) -> Tensor:
        """Corrects scores once all rows of a split have theirs; called on all processes, where `needs_whole_split`.

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

    def top_features(self, number: int) -> TopFeatures | None:
        """The features with the largest weights of each class, for the report; by default there are none to show.

        Args:
            number: Maximum number of features of a class.
        """
        return None

    def tokenization(self) -> Tokenization | None:
        """How the texts become tokens, for `scripts/explore.py`; by default there are none to count.

        `textclf.models.tokenizations.tokenization_with` describes a tokenizer of transformers.

        Raises:
            UserError: The tokenizer cannot be loaded, or the prompt leaves no room for a text.
        """
        return None

    def for_workers(self) -> Self:
        """A copy that can `collate`, for the processes of `num_workers`: its parameters, buffers and modules are None.

        Where processes are not forked, it is pickled. An override leaves out what else `collate` does not need: what is
        large, or cannot be pickled.
        """
        light = copy(self)  # without the trainer
        # The private dictionaries of `torch.nn.Module`: its public setters would change those of the original as well,
        # as a shallow copy shares them.
        for tensors in ("_parameters", "_buffers", "_modules"):
            light.__dict__[tensors] = dict.fromkeys(light.__dict__[tensors])
        return light

    def share_frozen(self, copy: Self) -> None:
        """Gives a copy of this method what is frozen and large, and would be loaded again; by default nothing."""

    def frozen_parameters(self) -> int:
        """Number of parameters of frozen networks that are not modules of this one; by default 0."""
        return 0

    def scoring_dtype(self) -> torch.dtype:
        """The precision in which evaluation computes: that of autocast, else the lowest of the weights."""
        trainer = attached_trainer(self)
        if self.autocast and trainer is not None:
            for prefix, dtype in (("bf16", torch.bfloat16), ("16", torch.float16)):
                if str(trainer.precision).startswith(prefix):
                    return dtype
        return lowest_precision(self.parameters())

    def scored_apart(self) -> AbstractContextManager[None]:
        """A context for scoring rows again, beside an evaluation: nothing is counted or read from a cache of results.

        By default there is nothing to do.
        """
        return nullcontext()

    @property
    def trains_by_batches(self) -> bool:
        """Whether it learns from each batch of `fit`, so that it matters which rows a batch has."""
        return is_overridden("training_step", self)

    # The key of cached rows

    def encoding_facts(self) -> list[Any]:
        """What `encode` depends on beyond the texts: strings, numbers, and lists and dictionaries of them.

        A method that overrides `encode` may override this as well, so that its cached rows are kept when its source or
        an argument that is not among the facts changes.
        """
        return []

    def encoding_key(self) -> str:
        """A hash of all that `encode` depends on: part of the name of the cached rows.

        See `textclf.models.encoding_key`.
        """
        return hash_of_encoding(self, TextClassifier, self._fitted_state())

    def _fitted_state(self) -> dict[str, Any]:
        """What was fitted; nothing where `fitted` is an attribute of a subclass, such as a flag."""
        return self.fitted if isinstance(self.fitted, dict) else {}

    # Hooks of Lightning: set-up, and the start of a loop

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """Weights that DDP must not send among processes: each process has loaded them itself.

        They are packed for oneDNN (`textclf.hardware.kernels`), and have no storage that could be sent. DDP reads this
        private attribute of the module, and has no public way to name such weights: an argument of
        `DistributedDataParallel` would replace it.
        """
        return [name for name, weight in self.named_parameters() if weight.is_mkldnn]

    @required_hook
    def setup(self, stage: str) -> None:
        """Refuses to train without rows to prepare with: a DataLoader has only batches.

        Raises:
            UserError: There is no data module, and nothing is fitted.
        """
        prepares = is_overridden("prepare", self, TextClassifier)
        if stage == "fit" and self._data_module() is None and prepares and not self.fitted:
            raise UserError(
                f"{type(self).__name__} must see the train rows before the first batch: pass a data module, as in "
                "trainer.fit(model, datamodule=data), or call model.prepare(data.rows('train')) before"
            )

    @required_hook
    def configure_callbacks(self) -> Sequence[Callback]:
        """The check of the checkpoint at the end of `fit`.

        It is the first hook that a trainer calls, before rows are read and encoded: the clock of the run starts here.
        """
        self.textclf.started = time.perf_counter()
        known = any(isinstance(callback, CheckpointReadBack) for callback in callbacks_of(self.trainer))
        return [] if known else [CheckpointReadBack()]

    @required_hook
    def on_train_start(self) -> None:
        """Checks the loader of training."""
        self._check_loaders("train", self.trainer.train_dataloader)

    @required_hook
    def on_validation_start(self) -> None:
        """Checks the loaders of validation; in `fit`, drops calibrators, which belong to scores of other weights."""
        self._start_counting("val")
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.textclf.calibrators = ()
        self._check_loaders("validation", self.trainer.val_dataloaders)

    @required_hook
    def on_test_start(self) -> None:
        """Checks the loaders of the test."""
        self._start_counting("test")
        self._check_loaders("test", self.trainer.test_dataloaders)

    def _check_loaders(self, split: str, loaders: Any) -> None:
        """Refuses loaders that would give every process the same rows; reports, once, what was cut off the texts."""
        refuse_plain_loaders(loaders, self.trainer.world_size)
        if split not in self.textclf.checked_splits:
            self.textclf.checked_splits.add(split)
            for counter in cut_counters(loaders):
                counter.report(split, getattr(self, "max_length", None))

    # Hooks of Lightning: validation, test and prediction

    @required_hook
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; returns what `test_step` returns.

        In `fit` no calibrator is applied: the best checkpoint is chosen, and the next calibrator fitted, by the
        method's own scores.
        """
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        return self._evaluate(batch, "val", calibrate=not fitting)

    @required_hook
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; returns its results for the callbacks.

        Returns:
            `row` and `prediction`, int64 `(batch,)`, `log_scores` `(batch, num_classes)`, and, where a calibrator
            such as thresholds decides, `deciding_scores` of the same shape, unnormalized.
        """
        return self._evaluate(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Scores one batch of texts; returns what `test_step` returns, in the order of the model's own `label_names`.

        An override must return the same entries.
        """
        check_batch(batch, "row")
        results = {"row": batch["row"], **self.textclf.results(self.checked_scores(batch))}
        return _without_rows(results) if batch.get("filler") else results

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
        log_scores = self.checked_scores(batch, self.textclf.score_check)
        results = {"row": batch["row"], **self.textclf.results(log_scores, self.textclf.columns, calibrate)}
        labels = batch["labels"]
        if batch.get("filler"):
            results = _without_rows(results)
            labels = labels[:0]
        if self.needs_whole_split:
            self.textclf.pending_batches.append((results["row"], results["log_scores"], labels))
        elif len(labels):
            self._metrics(split).update(results["log_scores"], labels, results["prediction"])
        return results

    def _start_counting(self, split: Literal["val", "test"]) -> None:
        """Starts without rows: an evaluation before this one may have been interrupted."""
        self.textclf.columns = self._columns_of_data()
        self.textclf.score_check = ScoreCheck(self.trainer.world_size)
        self.textclf.pending_batches.clear()
        self._metrics(split).reset()

    def _log_metrics(self, split: Literal["val", "test"]) -> None:
        self.check_evaluation()
        metrics = self._metrics(split)
        if self.textclf.pending_batches:
            rows, scores, labels = (torch.cat(parts) for parts in zip(*self.textclf.pending_batches, strict=True))
            metrics.update(self.checked_split_scores(scores, rows), labels)
            self.textclf.pending_batches.clear()
        values = {f"{split}/{name}": value.float() for name, value in metrics.compute().items()}
        # compute() has already reduced over the processes. Without sync_dist Lightning warns, and the mean of equal
        # values changes nothing.
        self.log_dict(values, sync_dist=True)
        metrics.reset()

    def _metrics(self, split: Literal["val", "test"]) -> ClassificationMetrics:
        if split not in self.textclf_metrics:
            metrics = ClassificationMetrics(self.num_classes, self.has_probabilities)
            self.textclf_metrics[split] = metrics.to(self.device)
        return cast(ClassificationMetrics, self.textclf_metrics[split])

    def _columns_of_data(self) -> list[int] | None:
        """The columns of scores in the order of the data's labels, matched by name; None if it is the method's order.

        Raises:
            UserError: The data has other labels.
        """
        if self.num_classes != len(self.label_names):
            raise UserError(
                f"{type(self).__name__}.num_classes is {self.num_classes}, but there are {len(self.label_names)} "
                "label_names: give an attribute of your own another name"
            )
        data = self._data_module()
        if data is None:
            return None
        names = normalized_names(data.label_names)
        refuse_other_labels("model", self.label_names, names)
        return None if names == self.label_names else [self.label_names.index(name) for name in names]

    def _data_module(self) -> Any:
        """The data module that the trainer runs this method on; None where there is none."""
        return getattr(attached_trainer(self), "datamodule", None)

    # Checks of scores

    def checked_scores(self, batch: dict[str, Any], check: ScoreCheck | None = None) -> Tensor:
        """Calls `log_scores` and checks the result; every evaluation and prediction gets its scores here.

        Args:
            batch: What `collate` gave, with `row`, on this module's device.
            check: That of an evaluation, which may raise later; by default a fault is raised at once.

        Returns:
            A copy of the scores, without gradients, on this module's device.

        Raises:
            UserError: They break the rules of `textclf.models.score_check`.
        """
        if check is None:
            check = ScoreCheck()
        precision = nullcontext() if self.autocast else torch.autocast(self.device.type, enabled=False)
        with precision:
            scores = self.log_scores(copy(batch))  # which may take entries out of it
        counted = not batch.get("filler")
        return check.add(self._rules_of("log_scores"), scores, batch["row"], self.device, counted)

    def checked_split_scores(self, log_scores: Tensor, rows: Tensor) -> Tensor:
        """Calls `calibrate_split` and checks the result; on all processes.

        Args:
            log_scores: What `log_scores` gave for the rows of this process, shape `(rows, num_classes)`.
            rows: Index of each row in the split, shape `(rows,)`.

        Raises:
            UserError: The scores break the rules, on any process.
        """
        check = ScoreCheck(self.trainer.world_size)
        return check.add(self._rules_of("calibrate_split"), self.calibrate_split(log_scores), rows, log_scores.device)

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
        self.check_answered(rows, invalid)

    def check_answered(self, rows: int, invalid: int) -> None:
        """Raises an error if no row of an evaluation or a prediction has an answer, unless the method allows that.

        Args:
            rows: Number of rows.
            invalid: Number of those whose answer fits no class.

        Raises:
            UserError: All are invalid.
        """
        may_be_invalid = self.may_not_answer or not self.has_probabilities
        if rows == invalid > 0 and not may_be_invalid:
            trains = is_overridden("training_step", self) and any(each.requires_grad for each in self.parameters())
            diverged = trains and not self.trainer.sanity_checking
            raise self._rules_of("log_scores").all_invalid(rows, diverged)

    def _rules_of(self, method: str) -> ScoreRules:
        trainer = attached_trainer(self)
        return ScoreRules(
            source=f"{type(self).__name__}.{method}",
            num_classes=self.num_classes,
            has_probabilities=self.has_probabilities,
            loses_mass=self.loses_mass,
            precision=None if trainer is None else str(trainer.precision),
        )

    # Checkpoints: weights, what was fitted, and how to build the object again

    @required_hook
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what `load_from_checkpoint` and the command line need: plain values only, so that it loads safely."""
        check_readable(checkpoint.get("callbacks", {}), "the state_dict of a callback")
        if isinstance(self.fitted, dict):
            self.fitted = plain_state(self.fitted, f"{type(self).__name__}.fitted")
        checkpoint["hyper_parameters"] = plain_arguments(self)
        checkpoint["textclf"] = {
            "version": __version__,
            "class_path": public_path(type(self)),
            "label_names": list(self.label_names),
            "fitted": self._fitted_state(),
            **self.textclf.stored(self.label_names),
        }
        data = self._data_module()
        if data is not None:
            checkpoint["textclf"]["data"] = data_entry(data, checkpoint)

    @required_hook
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes what was fitted, after checking that the checkpoint is of this method, architecture and labels."""
        self.restore(checkpoint)

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Takes from a checkpoint all but the weights: before its rows are encoded, or its network is built.

        Raises:
            UserError: The checkpoint is of another class, architecture, or set of labels.
        """
        hparams = plain_part(self.hparams)
        architecture = {name: hparams.get(name) for name in self.architecture}
        check_restorable(checkpoint, type(self), self.label_names, architecture)
        saved = current_facts(checkpoint)
        self.label_names = normalized_names(saved["label_names"])
        if saved["fitted"] or isinstance(self.fitted, dict):
            self.fitted = saved["fitted"]
        with loading_part("state"):
            self.textclf.restore(saved, self.label_names)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # one path, one way: no hparams file, no strictness
        cls, checkpoint_path: str | Path, map_location: Any = None, **arguments: Any
    ) -> Self:
        """Builds the classifier that a checkpoint holds, in evaluation mode.

        Nothing but the file is needed, save for pretrained weights that were frozen.

        Args:
            checkpoint_path: A `.ckpt` of a run.
            map_location: Device of the weights, the CPU by default.
            **arguments: Instead of the stored ones.

        Raises:
            UserError: The file is missing, damaged or not safe, of another class, or its class is not imported.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        refuse_remote_code(checkpoint, arguments, checkpoint_path)
        kind = resolve_class(checkpoint["textclf"]["class_path"], cls, repr(str(checkpoint_path)))
        model = kind.built_from(checkpoint, **arguments)
        try:
            model.load_state_dict(checkpoint["state_dict"])
        except RuntimeError as error:
            raise UserError(
                f"{str(checkpoint_path)!r} does not fit its own architecture ({str(error).splitlines()[0]}): train "
                "again"
            ) from error
        return model.to(map_location or "cpu").eval()

    @classmethod
    def built_from(cls, checkpoint: Mapping[str, Any], **arguments: Any) -> Self:
        """Builds an object of this class from a checkpoint, all but its weights.

        Args:
            checkpoint: As `read_checkpoint` gives it.
            **arguments: Instead of the stored ones.

        Raises:
            UserError: The stored arguments do not fit this class.
        """
        stored = accepted(cls, checkpoint["hyper_parameters"])
        # A wrong argument of the caller's own is reported as any other.
        with nullcontext() if arguments else loading_part("arguments"):
            model = cls(**{**stored, **arguments})
        model.restore(checkpoint)
        model.configure_model()
        model.on_load_checkpoint(dict(checkpoint))  # a subclass may read what it has stored there
        return model

    # Use

    def classify(
        self, texts: Iterable[Any], text_pairs: Iterable[Any] | None = None, *, max_batch_tokens: int | None = None
    ) -> list[dict[str, Any]]:
        """The most probable label of each text, in order, with a progress bar where there is a terminal.

        Args:
            texts: Any number of texts; a missing one (None, NaN) is an empty text, as `textclf.data.text_values` says.
            text_pairs: The second text of each, for a method that reads two.
            max_batch_tokens: Tokens in a padded batch; by default 4,096 on a CPU, and 32,768 on other devices.

        Returns:
            One `{"label": name, "score": probability}` per text; the label is None for an answer that fits no class.
            With tuned thresholds also `decision` and `thresholded_scores`; see
            `textclf.models.streaming.prediction_of`.

        Raises:
            UserError: `texts` is one text or no series of texts, or one of them is a list, an object, or bytes.
        """
        rows = text_rows(texts, text_pairs)
        if max_batch_tokens is None:
            max_batch_tokens = 4096 if self.device.type == "cpu" else 32_768
        total = len(texts) if isinstance(texts, Sized) else None
        answers = list(score_rows(self, rows, max_batch_tokens, total))
        for answer in answers:
            del answer["scores"]
        return answers


def _without_rows(results: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Results of the same names for no row: those of a filler batch are not counted."""
    return {name: values[:0] for name, values in results.items()}


def lowest_precision(weights: Iterable[Tensor]) -> torch.dtype:
    """The floating-point type of the fewest bits among some weights; float32 where there are none."""
    types = {weight.dtype for weight in weights if weight.is_floating_point()}
    return min(types, key=lambda dtype: dtype.itemsize, default=torch.float32)
