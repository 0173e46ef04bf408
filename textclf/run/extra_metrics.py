"""The callback that adds metrics by name to the logs and reports of every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from textclf.console import say
from textclf.errors import UserError
from textclf.evaluation.metrics import predicted_classes
from textclf.evaluation.named_metrics import Given, NamedMetric
from textclf.processes import callbacks_of, share

PREFIXES = {"validation": "val", "test": "test"}


class ScoredRows(NamedTuple):
    """Rows of an evaluation.

    Attributes:
        rows: Their places in the split, `(rows,)`.
        log_scores: `(rows, num_classes)`.
        predictions: Predicted classes, `(rows,)`; -1 where the answer fits no class.
        labels: Class indices, `(rows,)`.
    """

    rows: np.ndarray
    log_scores: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray


class ExtraMetrics(Callback):
    """Computes further metrics over all rows of each validation and test.

    They are logged as `val/<name>` and `test/<name>`, where `EarlyStopping` and loggers find them, and written to
    `metrics.json` and `report.txt`. Values are exact for any number of processes: each metric is computed once, over
    the rows of all of them, in the order of the split. A metric is given probabilities if its value depends on them,
    and predicted classes if it does not; classes are in the order of the data's labels. Rows whose answer fits no class
    are left out.

    On the command line: `--trainer.callbacks+=ExtraMetrics
    --trainer.callbacks.metrics='[torchmetrics.classification.MulticlassCohenKappa]'`.
    """

    def __init__(self, metrics: Sequence[str | dict[str, Any]] | str) -> None:
        """Stores the metrics.

        Args:
            metrics: Class paths, such as `torchmetrics.classification.MulticlassCohenKappa`, or mappings with
                `class_path` and any of `init_args`, `name`, and `given`: `predictions`, `probabilities`, or
                `probability`, that of class 1; by default what the value of the metric depends on. `num_classes` is
                filled in. One class path needs no list.

        Raises:
            UserError: There is no such class, or two have the same name.
        """
        entries = [metrics] if isinstance(metrics, str) else metrics
        self.metrics = [NamedMetric.of(entry) for entry in entries]
        names = [metric.name for metric in self.metrics]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"metrics: two are called {twice[0]!r}: give one a `name` of its own")
        self._given: list[Given] = []
        self._parts: list[ScoredRows] = []
        self._found: dict[str, float] | None = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Decides what each metric is given.

        Raises:
            UserError: A metric cannot be computed, or needs probabilities, and the method has none.
        """
        if self._given:
            return
        for metric in self.metrics:
            given = metric.wants(pl_module.num_classes)
            if given != "predictions" and not pl_module.has_probabilities:
                raise UserError(
                    f"metric {metric.class_path} needs probabilities, and {type(pl_module).__name__} gives none: leave "
                    "it out"
                )
            self._given.append(given)
            say(f"{metric.name} is computed from {given.replace('probability', 'the probability of class 1')}")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Starts without rows."""
        self._parts = []
        self._found = None

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores."""
        self._keep(pl_module.checked_outputs("validation_step", outputs, batch), batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores."""
        self._keep(pl_module.checked_outputs("test_step", outputs, batch), batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Logs `val/...`."""
        self._log(trainer, pl_module, "validation")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Logs `test/...`."""
        self._log(trainer, pl_module, "test")

    def values(self, trainer: Trainer, model: Any) -> dict[str, float]:
        """The metrics by name, NaN where there are no rows; called on all processes, at the end of an evaluation."""
        if self._found is None:
            model.check_evaluation()
            rows = self._all_rows(trainer, model)
            answered = rows.predictions >= 0
            arrays = (rows.log_scores[answered], rows.predictions[answered], rows.labels[answered])
            log_scores, predictions, labels = (torch.from_numpy(array) for array in arrays)
            self._found = {}
            for metric, given in zip(self.metrics, self._given, strict=True):
                value = float("nan")
                if len(labels):
                    value = float(metric.value(model.num_classes, given, log_scores.double(), predictions, labels))
                self._found[metric.name] = value
        return self._found

    def _log(self, trainer: Trainer, model: Any, split: Literal["validation", "test"]) -> None:
        if trainer.sanity_checking:
            return
        values = {f"{PREFIXES[split]}/{name}": value for name, value in self.values(trainer, model).items()}
        # The values are equal on all processes; their mean changes nothing, and Lightning warns without it.
        model.log_dict(values, sync_dist=True)

    def _keep(self, outputs: Any, batch: Mapping[str, Any]) -> None:
        rows = outputs["row"].cpu().numpy()
        # Rows that fill the last batches of several processes have labels, but no scores.
        labels = batch["labels"][: len(rows)].cpu().numpy()
        log_scores = outputs["log_scores"].detach().cpu().numpy()
        self._parts.append(ScoredRows(rows, log_scores, outputs["prediction"].cpu().numpy(), labels))

    def _all_rows(self, trainer: Trainer, model: Any) -> ScoredRows:
        """The rows of all processes, in the order of the split."""
        nothing = np.empty(0, dtype=np.int64)
        no_rows = ScoredRows(nothing, np.empty((0, model.num_classes)), nothing, nothing)
        own = _joined([no_rows, *self._parts])
        if model.needs_whole_split:
            log_scores = model.checked_split_scores(torch.from_numpy(own.log_scores), torch.from_numpy(own.rows)).cpu()
            own = own._replace(log_scores=log_scores.numpy(), predictions=predicted_classes(log_scores).numpy())
        whole = _joined(share(own, trainer.world_size))
        order = np.argsort(whole.rows, kind="stable")
        return ScoredRows(*(array[order] for array in whole))


def _joined(parts: Sequence[ScoredRows]) -> ScoredRows:
    return ScoredRows(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def extra_metrics(trainer: Trainer, model: Any) -> dict[str, float]:
    """The values of all `ExtraMetrics` of a trainer, by name; called on all processes, at the end of an evaluation."""
    found: dict[str, float] = {}
    for callback in callbacks_of(trainer):
        if isinstance(callback, ExtraMetrics):
            found |= callback.values(trainer, model)
    return found
