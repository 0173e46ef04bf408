"""The report of a run: collects what a test or a validation gives, writes it to the run folder, and logs it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.console import say
from textclf.data.base import data_module_of
from textclf.data.files import FilesDataModule
from textclf.data.text_values import mended
from textclf.errors import UserError
from textclf.evaluation.calibration import stored_calibrators
from textclf.evaluation.metrics import predicted_classes
from textclf.evaluation.provenance import Provenance, data_set_name, described_data, described_method
from textclf.files import atomic_path
from textclf.processes import gather, global_seed, run_folder
from textclf.run.batch_effect import batch_effect, scored_alone
from textclf.run.extra_metrics import extra_metrics
from textclf.run.logger_media import record_table, takes_media

Reported = Literal["validation", "test"]


class Scored(NamedTuple):
    """The scored rows of a split, in the order of the split.

    Attributes:
        rows: Their places in the split, `(rows,)`.
        predictions: Predicted classes, `(rows,)`; -1 where the answer fits no class.
        log_scores: Float64, `(rows, num_classes)`.
        seconds: Time that scoring took.
    """

    rows: np.ndarray
    predictions: np.ndarray
    log_scores: np.ndarray
    seconds: float


def report_folder(run: str | Path, split: Reported) -> Path:
    """The folder of a report: `report/` of the test split, `report/validation/` of the validation split."""
    if split == "test":
        return Path(run, "report")
    return Path(run, "report", split)


def is_reported(trainer: Trainer) -> bool:
    """Whether this is a validation of the command `validate`; those of `fit` have no report."""
    return trainer.state.fn == TrainerFn.VALIDATING


class ReportWriter(Callback):
    """Collects the scores of the rows from all processes, and writes the report of a test, or of a validation.

    Attributes:
        brief: Whether one line is printed instead of the whole report.
    """

    def __init__(self) -> None:
        """Prints whole reports."""
        self.brief = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run folder."""
        self.run = run_folder(trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        if is_reported(trainer):
            self._start(trainer, "validation")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._start(trainer, "test")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores."""
        if is_reported(trainer):
            self._keep(pl_module, "validation_step", outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores."""
        self._keep(pl_module, "test_step", outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers, writes, and prints the report on the first process."""
        if is_reported(trainer):
            self._end(trainer, pl_module, "validation")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers, writes, and prints the report on the first process."""
        self._end(trainer, pl_module, "test")

    def _start(self, trainer: Trainer, split: Reported) -> None:
        data = data_module_of(trainer)
        if data is None:
            raise UserError("a report needs the rows of a data module: pass the trainer datamodule=data")
        size = len(data.rows(split))
        # Allocated at once: small arrays that are kept for each batch would fragment the heap.
        self._rows = np.empty(size, dtype=np.int64)
        self._predictions = np.empty(size, dtype=np.int64)
        self._scores = np.empty((size, data.num_classes))
        self._count = 0
        self._started = time.perf_counter()

    def _keep(self, model: Any, step: str, outputs: Any, batch: Mapping[str, Any]) -> None:
        outputs = model.checked_outputs(step, outputs, batch)
        part = slice(self._count, self._count + len(outputs["row"]))
        self._rows[part] = outputs["row"].cpu().numpy()
        self._predictions[part] = outputs["prediction"].cpu().numpy()
        self._scores[part] = outputs["log_scores"].double().cpu().numpy()
        self._count = part.stop

    def _end(self, trainer: Trainer, model: Any, split: Reported) -> None:
        seconds = time.perf_counter() - self._started
        model.check_evaluation()
        rows = self._rows[: self._count]
        predictions = self._predictions[: self._count]
        scores = self._scores[: self._count]
        if model.needs_whole_split:
            log_scores = model.checked_split_scores(torch.from_numpy(scores), torch.from_numpy(rows)).double()
            predictions = predicted_classes(log_scores).numpy()
            scores = log_scores.numpy()
        figures = figures_of(model, split)
        extra = extra_metrics(trainer, model)
        alone = scored_alone(trainer, model, split)
        gathered = gather(Scored(rows, predictions, scores, seconds), trainer)
        if trainer.is_global_zero:
            scored = in_order(gathered)
            if alone is not None:
                figures |= batch_effect(alone, scored.rows, scored.predictions, scored.log_scores)
            self._write(trainer, model, split, scored, figures, extra)
        trainer.strategy.barrier("report")

    def _write(
        self,
        trainer: Trainer,
        model: Any,
        split: Reported,
        scored: Scored,
        figures: Mapping[str, float],
        extra: Mapping[str, float],
    ) -> None:
        from textclf.evaluation.prediction_table import write_predictions  # noqa: PLC0415 - imports pyarrow
        from textclf.evaluation.report import write_report  # noqa: PLC0415 - imports matplotlib

        data = data_module_of(trainer)
        assert data is not None  # checked at the start
        folder = report_folder(self.run, split)
        path = folder / "predictions.parquet"
        rows = data.rows(split)
        types = rows.features.arrow_schema
        write_predictions(
            path,
            rows.select(scored.rows).iter(batch_size=4096),
            predictions=scored.predictions,
            log_scores=scored.log_scores,
            label_names=data.label_names,
            has_probabilities=model.has_probabilities,
            kept={name: types.field(name).type for name in data.keep_columns},
            **stored_calibrators(model.textclf.calibrators, model.label_names),
        )
        metrics = write_report(
            folder,
            path,
            provenance_of(trainer, model, split),
            examples_per_second=len(scored.rows) / scored.seconds,
            figures=figures,
            extra_metrics=extra,
        )
        write_top_features(folder, model)
        if self.brief:
            say(f"{split}: {brief_metrics(metrics, split)}; the report is in {folder}")
            return
        say(f"the report is in {folder}")
        print((folder / "report.txt").read_text(encoding="utf-8"), flush=True)


TOP_FEATURES = 20
"""Maximum number of features of each class in `weights.json`."""


def write_top_features(folder: Path, model: Any) -> None:
    """Writes `weights.json`: the features with the largest weights of each class, of a method that has such.

    Args:
        folder: That of the report.
        model: The classifier.
    """
    found = model.top_features(TOP_FEATURES)
    if found is not None:
        with atomic_path(folder / "weights.json") as path:
            path.write_text(json.dumps(found._asdict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


BRIEF_METRICS = {"nll": "loss", "accuracy": "accuracy", "macro_f1": "macro-F1"}
"""The metrics that are printed in one line, and their names there."""


def brief_metrics(metrics: Mapping[str, Any], split: Reported) -> str:
    """The metrics of a report in a few words; those that the method does not have are left out.

    Args:
        metrics: The content of `metrics.json`.
        split: The split that was scored.
    """
    found = []
    for key, name in BRIEF_METRICS.items():
        value = metrics.get(f"{split}/{key}")
        if value is not None:
            found.append(f"{name} {value:.4f}")
    return ", ".join(found)


def in_order(parts: Sequence[Scored]) -> Scored:
    """Joins what the processes of a run have scored.

    Args:
        parts: One of each process.

    Returns:
        The rows of all of them, in the order of the split.
    """
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    predictions = np.concatenate([part.predictions for part in parts])
    log_scores = np.concatenate([part.log_scores for part in parts])
    seconds = max(part.seconds for part in parts)
    return Scored(rows[order], predictions[order], log_scores[order], seconds)


def figures_of(model: Any, split: Reported) -> dict[str, float]:
    """The further numbers of a method for metrics.json, as plain numbers.

    Args:
        model: The classifier.
        split: The split whose rows were scored.

    Raises:
        UserError: One of them is not a number.
    """
    figures: dict[str, Any] = {}
    for name, value in model.figures(split).items():
        number = value
        if isinstance(value, torch.Tensor | np.ndarray | np.generic) and np.prod(value.shape) == 1:
            number = value.item()
        if not isinstance(number, int | float | None):
            raise UserError(f"{type(model).__name__}.figures gave {value!r} for {name!r}: wanted a number")
        figures[name] = number
    return figures


def provenance_of(trainer: Trainer, model: Any, split: Reported) -> Provenance:
    """What a report is of.

    Args:
        trainer: In a test or a validation with a data module.
        model: The classifier.
        split: The split whose rows are scored.
    """
    data = data_module_of(trainer)
    assert data is not None  # checked at the start
    folder = data.data_dir if isinstance(data, FilesDataModule) else None
    checkpoint = None
    if trainer.ckpt_path is not None:
        checkpoint = mended(str(trainer.ckpt_path))
    seed = global_seed()
    if is_overridden("training_step", model):
        seed = model.textclf.train_seed
    return Provenance(
        split=split,
        data=described_data(type(data).__name__, data.hparams),
        method=described_method(type(model).__name__, model.hparams),
        checkpoint=checkpoint,
        seed=seed,
        train_rows=model.textclf.train_rows,
        time=datetime.now().astimezone().isoformat(timespec="seconds"),
        data_set=data_set_name(type(data).__name__, folder, data.cleaning, data.recipe),
    )


class ReportRecord(Callback):
    """Logs a report: a sample of the rows, and the worst mistakes."""

    TABLE_ROWS = 100
    """Rows of each of the two tables, at most."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the report of the command `validate`."""
        if is_reported(trainer):
            self._record(trainer, "validation")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the report of a test."""
        self._record(trainer, "test")

    def _record(self, trainer: Trainer, split: Reported) -> None:
        """Reads what `ReportWriter`, which comes before this callback, has written."""
        loggers = [logger for logger in trainer.loggers if takes_media(logger)]
        if not loggers or not trainer.is_global_zero:
            return
        from textclf.evaluation.prediction_table import read_predictions  # noqa: PLC0415 - imports pyarrow
        from textclf.evaluation.readable_rows import readable, sample_rows, worst_mistakes  # noqa: PLC0415

        report = report_folder(trainer.default_root_dir, split)
        step = trainer.global_step
        path = report / "predictions.parquet"
        numbers = read_predictions(path, texts=False)
        tables = {
            "sample": sample_rows(numbers, self.TABLE_ROWS),
            "worst_mistakes": worst_mistakes(numbers, self.TABLE_ROWS),
        }
        for logger in loggers:
            for name, rows in tables.items():
                columns, values = readable(read_predictions(path, rows), np.arange(len(rows)))
                record_table(logger, f"{split}/{name}", columns, values, step)
