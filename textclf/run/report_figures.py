"""The callback that draws the figures of a report."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.console import say
from textclf.errors import UserError
from textclf.run.logger_media import record_picture, takes_media
from textclf.run.report import Reported, is_reported, provenance_of, report_folder


class ReportFigures(Callback):
    """Draws the figures of a report into its folder, and passes them to the loggers.

    It reads `predictions.parquet`, which `ReportWriter` has written by the end of a test, or of the command `validate`;
    `textclf.evaluation.figures.report.draw_report` lists the figures. It is one of the trainer's callbacks by default:
    a list of others replaces it, `--trainer.callbacks+=...` keeps it, and `--trainer.callbacks []` leaves it out.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the report of the command `validate`."""
        if is_reported(trainer):
            self._draw(trainer, pl_module, "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the report of a test."""
        self._draw(trainer, pl_module, "test")

    def _draw(self, trainer: Trainer, model: LightningModule, split: Reported) -> None:
        """Draws on the first process; where that is impossible, a line gives the reason."""
        if not trainer.is_global_zero:
            return
        from textclf.evaluation.figures.report import draw_report  # noqa: PLC0415 - imports matplotlib
        from textclf.evaluation.prediction_table import read_predictions  # noqa: PLC0415 - imports pyarrow

        folder = report_folder(trainer.default_root_dir, split)
        try:
            table = read_predictions(folder / "predictions.parquet")
            title = provenance_of(trainer, model, split).title(len(table.labels))
            figures = draw_report(table, folder, title)
        except (UserError, OSError) as error:
            say(f"the figures of the report were not drawn ({error}): the other files of the report are complete")
            return
        for logger in trainer.loggers:
            if takes_media(logger):
                for path in figures:
                    record_picture(logger, f"{split}/{path.stem}", path, trainer.global_step)
