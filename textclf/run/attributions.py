"""The callback that explains the rows which the page of a report shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.console import say
from textclf.errors import UserError, check_least
from textclf.evaluation.shown_rows import shown_rows
from textclf.files import atomic_path
from textclf.models.attributions import STEPS, explainable, integrated_gradients
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.run.report import Reported, is_reported, report_folder

FILE = "attributions.json"


class TokenAttributions(Callback):
    """Writes `attributions.json`: how much each token of the rows that a report lists speaks for its prediction.

    Integrated gradients (Sundararajan et al., 2017, https://arxiv.org/abs/1703.01365) of fine-tuned encoders, for the
    most confident mistakes, the least certain hits and the near misses; the page of the report shows them. A row takes
    as long as 64 rows in training.

    On the command line: `--trainer.callbacks+=TokenAttributions`; it needs `pip install 'textclf[explain]'`.
    """

    def __init__(self, rows: int = 20, steps: int = STEPS) -> None:
        """Stores the options.

        Args:
            rows: Maximum number of rows of each list.
            steps: Points at which gradients are taken; more are more exact, and take longer.
        """
        check_least("rows", rows, 1)
        check_least("steps", steps, 2)
        self.rows = rows
        self.steps = steps

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that the method can be explained.

        Raises:
            UserError: It cannot.
        """
        model: Any = pl_module
        explainable(model)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Explains rows of the command `validate`."""
        if is_reported(trainer):
            self._write(trainer, pl_module, "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Explains rows of a test."""
        self._write(trainer, pl_module, "test")

    def _write(self, trainer: Trainer, module: Any, split: Reported) -> None:
        if not trainer.is_global_zero:
            return
        folder = report_folder(trainer.default_root_dir, split)
        try:
            found = self._attributions(explainable(module), folder)
        except UserError as error:  # the rows are scored, and their report is complete
            say(f"the rows of the report were not explained ({error})")
            return
        with atomic_path(folder / FILE) as path:
            path.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
        say(f"integrated gradients of {len(found)} rows are in {folder / FILE}")

    def _attributions(self, model: FineTunedClassifier, folder: Path) -> dict[str, dict[str, Any]]:
        """The weights of the tokens by the number of the row in the prediction table; ids may occur twice."""
        from textclf.evaluation.prediction_table import read_predictions  # noqa: PLC0415 - imports pyarrow

        path = folder / "predictions.parquet"
        numbers = read_predictions(path, texts=False)
        listed = np.unique(np.concatenate(list(shown_rows(numbers, self.rows).values())))
        answered = listed[numbers.predictions[listed] >= 0]
        table = read_predictions(path, answered)
        found = {}
        for row, number in enumerate(answered.tolist()):
            name = table.label_names[table.predictions[row]]
            pair = None if table.text_pairs is None else table.text_pairs[row]
            label = model.label_names.index(name)
            tokens, weights = integrated_gradients(model, table.texts[row], pair, label, self.steps)
            rounded = [round(weight, 5) for weight in weights]
            found[str(number)] = {"id": table.ids[row], "prediction": name, "tokens": tokens, "weights": rounded}
        return found
