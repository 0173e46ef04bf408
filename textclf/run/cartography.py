"""The callback that maps the train rows by how they were learned: easy, ambiguous, and hard ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.console import say
from textclf.data.base import TextDataModule, data_module_of
from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.models.modes import evaluation_mode
from textclf.processes import gather

FILE = "cartography.parquet"
WINDOW = 4096
"""Rows that are written at once."""


class Scored(NamedTuple):
    """Train rows after one epoch.

    Attributes:
        rows: Their places in the split, int64, `(rows,)`.
        probabilities: Of their labels, float32, `(rows,)`.
        correct: Whether the label is the most probable one, bool, `(rows,)`.
    """

    rows: np.ndarray
    probabilities: np.ndarray
    correct: np.ndarray


class DatasetCartography(Callback):
    """Scores all train rows after each epoch of `fit`, and writes `report/cartography.parquet`.

    Of each row it has the mean probability of its label over the epochs (`mean`, in the paper confidence), its standard
    deviation (`spread`, variability), and the share of epochs in which the label was the most probable (`correctness`).
    Rows with a high mean are easy, those with a large spread ambiguous, and those with a low mean and a small spread
    hard: label errors are among these. The page of the report shows the map and the hardest rows.

    The rows are scored without dropout by the weights at the end of the epoch, which takes as long as a validation on
    the train rows; training itself does not change. Each row counts once, for any number of processes.

    Source: Swayamdipta et al., 2020, https://aclanthology.org/2020.emnlp-main.746.

    On the command line: `--trainer.callbacks+=DatasetCartography`.
    """

    def __init__(self) -> None:
        """Takes no options."""
        self._epochs: dict[int, Scored] = {}
        self._loader: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that there are epochs to compare.

        Raises:
            UserError: The method is not trained by batches, there is one epoch only, or no data module.
        """
        if stage != "fit":
            return
        model: Any = pl_module
        if not model.trains_by_batches:
            raise UserError(
                f"DatasetCartography compares epochs of training, and {type(model).__name__} is fitted at once: leave "
                "it out, or choose a method that is trained by batches"
            )
        if trainer.max_epochs == 1:
            raise UserError("DatasetCartography compares epochs, and max_epochs is 1: give 2 or more")
        _data_of(trainer)
        self._epochs = {}
        self._loader = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Scores the train rows of this process, and gathers the results on the first one."""
        if self._loader is None:
            self._loader = _data_of(trainer).scoring_dataloader("train")
        precision = trainer.precision_plugin.val_step_context()
        # A loader draws a random number when it starts; without this, training would draw others than without the map.
        random_state = torch.random.fork_rng(devices=[])
        with evaluation_mode(pl_module), torch.no_grad(), precision, random_state:
            parts = [_score(trainer, pl_module, batch) for batch in self._loader if not batch.get("filler")]
        gathered = gather(_joined(parts), trainer)
        if trainer.is_global_zero:
            self._epochs[trainer.current_epoch] = _in_order(_joined(gathered))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        if trainer.is_global_zero and self._epochs:
            path = Path(trainer.default_root_dir, "report", FILE)
            write_cartography(path, _data_of(trainer), list(self._epochs.values()))
            say(f"the map of the train rows over {len(self._epochs)} epochs is in {path}")

    def state_dict(self) -> dict[str, Any]:
        """What was found in the epochs until now, so that a resumed training goes on with it."""
        epochs = {}
        for epoch, scored in self._epochs.items():
            epochs[str(epoch)] = [torch.from_numpy(scored.probabilities), torch.from_numpy(scored.correct)]
        return {"epochs": epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with what was found before."""
        for epoch, (probabilities, correct) in state_dict["epochs"].items():
            rows = np.arange(len(probabilities))
            self._epochs[int(epoch)] = Scored(rows, probabilities.numpy(), correct.numpy())


def _data_of(trainer: Trainer) -> TextDataModule:
    data = data_module_of(trainer)
    if data is None:
        raise UserError("DatasetCartography needs the rows of a data module: pass the trainer datamodule=data")
    return data


def _score(trainer: Trainer, model: Any, batch: Any) -> Scored:
    before = model.on_before_batch_transfer(batch, dataloader_idx=0)
    moved = trainer.strategy.batch_to_device(before)  # calls the other two hooks of the transfer
    log_scores = model.checked_scores(moved).double()
    labels = moved["labels"]
    of_label = log_scores.gather(1, labels[:, None])[:, 0].exp()
    correct = log_scores.argmax(dim=1) == labels
    return Scored(moved["row"].cpu().numpy(), of_label.float().cpu().numpy(), correct.cpu().numpy())


def _joined(parts: list[Scored]) -> Scored:
    nothing = Scored(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), np.empty(0, dtype=bool))
    return Scored(*(np.concatenate(arrays) for arrays in zip(nothing, *parts, strict=True)))


def _in_order(scored: Scored) -> Scored:
    order = np.argsort(scored.rows)
    return Scored(*(array[order] for array in scored))


def write_cartography(path: Path, data: TextDataModule, epochs: list[Scored]) -> None:
    """Writes a row for each train row, in the order of the split; the schema's metadata has the number of `epochs`.

    Args:
        path: The file.
        data: The data module, for ids, texts and labels.
        epochs: All train rows after each epoch, in the order of the split.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    probabilities = np.stack([scored.probabilities for scored in epochs]).astype(np.float64)
    figures = {
        "mean": probabilities.mean(axis=0),
        "spread": probabilities.std(axis=0),
        "correctness": np.mean([scored.correct for scored in epochs], axis=0),
    }
    rows = data.rows("train")
    texts = [name for name in ("text", "text_pair") if name in rows.column_names]
    names = ["id", *texts, "label_name"]
    types = [*((name, pa.string()) for name in names), *((name, pa.float64()) for name in figures)]
    schema = pa.schema(types, metadata={"epochs": str(len(epochs))})
    start = 0
    with atomic_path(path) as unfinished, pq.ParquetWriter(unfinished, schema) as writer:
        for window in rows.select_columns(["id", *texts, "label"]).iter(batch_size=WINDOW):
            window["label_name"] = [data.label_names[label] for label in window.pop("label")]
            end = start + len(window["id"])
            window |= {name: values[start:end] for name, values in figures.items()}
            writer.write_table(pa.table(window, schema=schema))
            start = end
