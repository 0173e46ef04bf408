"""The callback that adds metrics by name to the logs and reports of every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from textclf.console import say
from textclf.errors import UserError
from textclf.evaluation.metrics import predicted_classes
from textclf.evaluation.named_metrics import Given, NamedMetric
from textclf.processes import share

PREFIXES = {"validation": "val", "test": "test"}


class ExtraMetrics(Callback):
    """Computes further metrics over all rows of each validation and test.

    They are logged as `val/<name>` and `test/<name>`, where `EarlyStopping` and loggers find them, and stand in
    `metrics.json` and `report.txt`. Values are exact for any number of processes: each metric is computed once, over
    the rows of all of them, in the order of the split. A metric is given probabilities if its value depends on them,
    else the predicted classes; classes are in the order of the data's labels. Rows whose answer fits no class are left
    out.

    On the command line: `--trainer.callbacks+=ExtraMetrics
    --trainer.callbacks.metrics='[torchmetrics.classification.MulticlassCohenKappa]'`.
    """

    def __init__(self, metrics: Sequence[str | dict[str, Any]] | str) -> None:
        """Takes the metrics.

        Args:
            metrics: Class paths, such as `torchmetrics.classification.MulticlassCohenKappa`, or mappings with
                `class_path` and any of `init_args`, `name`, and `given` (`predictions`, `probabilities`, or
                `probability`, that of class 1, where the choice is to be another one). `num_classes` is filled in. One
                class path alone will do.

        Raises:
            UserError: There is no such class, or two have the same name.
        """
        entries = [metrics] if isinstance(metrics, str) else metrics
        self.metrics = [NamedMetric.of(entry) for entry in entries]
        names = [metric.name for metric in self.metrics]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"metrics: two are called {twice[0]!r}: give one a `name` of its own")
        self._given: list[Given] = []
        self._parts: list[dict[str, np.ndarray]] = []
        self._found: dict[str, float] | None = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Finds out what each metric is to be given.

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
        self._parts, self._found = [], None

    def on_test_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Starts without rows."""
        self._parts, self._found = [], None

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
            scores, predictions, labels = self._all_rows(trainer, model)
            answered = predictions >= 0
            rows = scores[answered], predictions[answered], labels[answered]
            self._found = {
                metric.name: float(metric.value(model.num_classes, given, *rows)) if len(rows[0]) else float("nan")
                for metric, given in zip(self.metrics, self._given, strict=True)
            }
        return self._found

    def _log(self, trainer: Trainer, model: Any, split: Literal["validation", "test"]) -> None:
        if trainer.sanity_checking:
            return
        values = {f"{PREFIXES[split]}/{name}": value for name, value in self.values(trainer, model).items()}
        # The values are equal on all processes; their mean changes nothing, and Lightning warns without it.
        model.log_dict(values, sync_dist=True)

    def _keep(self, outputs: Any, batch: Mapping[str, Any]) -> None:
        kept = {name: outputs[name].detach().cpu() for name in ("row", "log_scores", "prediction")}
        labels = batch["labels"][: len(kept["row"])].cpu()  # a filler has no scores
        self._parts.append({name: values.numpy() for name, values in {**kept, "label": labels}.items()})

    def _all_rows(self, trainer: Trainer, model: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scores, predictions and labels of all processes, in the order of the split."""
        empty = {"row": np.empty(0, np.int64), "prediction": np.empty(0, np.int64), "label": np.empty(0, np.int64)}
        parts = [{**empty, "log_scores": np.empty((0, model.num_classes))}, *self._parts]
        mine = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if model.needs_whole_split:
            settled = model.checked_split_scores(
                *(torch.from_numpy(mine[name]) for name in ("log_scores", "row"))
            ).cpu()
            mine |= {"log_scores": settled.numpy(), "prediction": predicted_classes(settled).numpy()}
        each = share(mine, trainer.world_size)
        whole = {name: np.concatenate([part[name] for part in each]) for name in mine}
        order = np.argsort(whole["row"], kind="stable")
        scores, predictions, labels = (whole[name][order] for name in ("log_scores", "prediction", "label"))
        return torch.from_numpy(scores).double(), torch.from_numpy(predictions), torch.from_numpy(labels)


def extra_metrics(trainer: Trainer, model: Any) -> dict[str, float]:
    """The values of all `ExtraMetrics` of a trainer, by name; called on all processes, at the end of an evaluation."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    found: dict[str, float] = {}
    for callback in callbacks:
        if isinstance(callback, ExtraMetrics):
            found |= callback.values(trainer, model)
    return found
