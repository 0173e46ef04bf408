"""The report of a run: collects what a test or a validation gives, writes it to the run folder, and logs it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.console import say
from textclf.data.text_values import mended
from textclf.errors import UserError
from textclf.evaluation.calibration import stored_calibrators
from textclf.evaluation.metrics import predicted_classes
from textclf.evaluation.provenance import Provenance, described_data, described_method
from textclf.processes import gather, global_seed, run_folder
from textclf.run.extra_metrics import extra_metrics
from textclf.run.logger_media import record_picture, record_table, takes_media

Reported = Literal["validation", "test"]


class Scored(NamedTuple):
    """The rows of a split, in its order, as they were scored."""

    rows: np.ndarray
    predictions: np.ndarray
    log_scores: np.ndarray
    examples_per_second: float


def report_folder(run: str | Path, split: Reported) -> Path:
    """Where the report of a split is: `report/` for the test, a folder in it for validation."""
    return Path(run, "report") if split == "test" else Path(run, "report", split)


def is_reported(trainer: Trainer) -> bool:
    """Whether a validation is one by itself; those in `fit` have no report."""
    return trainer.state.fn == TrainerFn.VALIDATING


class ReportWriter(Callback):
    """Collects the scores of the rows from all processes, and writes the report of a test, or of a validation."""

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
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's data connector
        if data is None:
            raise UserError("a report needs the rows of a data module: pass the trainer datamodule=data")
        size = len(data.rows(split))
        # Room for all at once: many small arrays among the freed ones of each batch would keep the memory in pieces.
        self._rows, self._predictions = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
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
        mine = [column[: self._count] for column in (self._rows, self._predictions, self._scores)]
        if model.needs_whole_split:
            settled = model.checked_split_scores(torch.from_numpy(mine[2]), torch.from_numpy(mine[0])).double()
            mine[1:] = [predicted_classes(settled).numpy(), settled.numpy()]
        figures, extra = figures_of(model, split), extra_metrics(trainer, model)
        gathered = gather((mine, seconds), trainer)
        if trainer.is_global_zero:
            rows, *columns = (np.concatenate(parts) for parts in zip(*(own for own, _ in gathered), strict=True))
            order = np.argsort(rows)
            speed = len(rows) / max(seconds for _, seconds in gathered)
            predictions, log_scores = (column[order] for column in columns)
            scored = Scored(rows[order], predictions, log_scores, speed)
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

        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's data connector
        folder = report_folder(self.run, split)
        path = folder / "predictions.parquet"
        write_predictions(
            path,
            data.rows(split).select(scored.rows).iter(batch_size=4096),
            predictions=scored.predictions,
            log_scores=scored.log_scores,
            label_names=data.label_names,
            has_probabilities=model.has_probabilities,
            **stored_calibrators(model.textclf.calibrators, model.label_names),
        )
        write_report(folder, path, provenance_of(trainer, model, split), scored.examples_per_second, figures, extra)
        say(f"the report is in {folder}")
        print((folder / "report.txt").read_text(encoding="utf-8"), flush=True)


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
    """What the trainer is measuring.

    Args:
        trainer: In a test or a validation.
        model: The classifier.
        split: The split whose rows are scored.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's data connector
    return Provenance(
        split=split,
        data=described_data(type(data).__name__, data.hparams),
        method=described_method(type(model).__name__, model.hparams),
        checkpoint=None if trainer.ckpt_path is None else mended(str(trainer.ckpt_path)),
        seed=model.textclf.train_seed if is_overridden("training_step", model) else global_seed(),
        train_rows=model.textclf.train_rows,
        time=datetime.now().astimezone().isoformat(timespec="seconds"),
    )


SAMPLE, MISTAKES = 100, 100
"""Rows of a test's two tables at most."""


class ReportRecord(Callback):
    """Hands a report to the loggers: the confusion matrix, a sample of the rows, and the worst mistakes."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hands over the report of a validation by itself."""
        if is_reported(trainer):
            self._record(trainer, "validation")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hands over the report of a test."""
        self._record(trainer, "test")

    def _record(self, trainer: Trainer, split: Reported) -> None:
        """Reads what the writer of the report, which comes before this, has written."""
        loggers = [logger for logger in trainer.loggers if takes_media(logger)]
        if not loggers or not trainer.is_global_zero:
            return
        from textclf.evaluation.prediction_table import (  # noqa: PLC0415 - imports pyarrow
            read_predictions,
            readable,
            sample_rows,
            worst_mistakes,
        )

        report, step = report_folder(trainer.default_root_dir, split), trainer.global_step
        path = report / "predictions.parquet"
        numbers = read_predictions(path, texts=False)
        sample, mistakes = sample_rows(numbers, SAMPLE), worst_mistakes(numbers, MISTAKES)
        for logger in loggers:
            record_picture(logger, f"{split}/confusion_matrix", report / "confusion_matrix.png", step)
            for name, rows in (("sample", sample), ("worst_mistakes", mistakes)):
                record_table(
                    logger, f"{split}/{name}", *readable(read_predictions(path, rows), np.arange(len(rows))), step
                )
