"""The callback that writes the page of a report."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.console import say
from textclf.errors import UserError
from textclf.run.report import Reported, report_folder


class ReportPage(Callback):
    """Writes `index.html` into the folder of a report, at the end of a test and of the command `validate`.

    It reads the files of the report, after all other callbacks have written theirs;
    `textclf.evaluation.pages.report_page.write_report_page` writes it again later, without a model. It is one of the
    trainer's callbacks by default: a list of others replaces it, `--trainer.callbacks+=...` keeps it, and
    `--trainer.callbacks []` leaves it out.
    """

    STAGES: dict[str, Reported] = {"test": "test", "validate": "validation"}

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes the page; where that is impossible, a line gives the reason, since the report itself is complete."""
        if stage not in self.STAGES or not trainer.is_global_zero:
            return
        folder = report_folder(trainer.default_root_dir, self.STAGES[stage])
        if not (folder / "predictions.parquet").is_file():  # of a test that scored no rows
            return
        from textclf.evaluation.pages.report_page import write_report_page  # noqa: PLC0415 - imports pyarrow

        try:
            write_report_page(folder)
        except (UserError, OSError) as error:
            say(f"the page of the report was not written ({error}): the other files of the report are complete")
