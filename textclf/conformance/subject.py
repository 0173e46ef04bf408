"""A method under check: how it is made, prepared, run and scored on a few invented rows."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng

from textclf.data.base import TextDataModule
from textclf.data.labels import normalized_names
from textclf.data.splitting import Split
from textclf.evaluation.prediction_table import PredictionTable, read_predictions
from textclf.models.base import TextClassifier
from textclf.run.experiment import run_experiment
from textclf.types import Dataset

SEED = 7
TEXTS = (
    "a joy to watch, and to hear",
    "지루한 영화",
    "film",
    "the plot goes nowhere, and takes two hours and a half to arrive there; I left before the end",
    "",
    "최고의 배우, wonderful music",
    "dull",
    "neither good nor bad 🙂",
    "one of those films",
)
"""The test rows: in batches of 4, the last one has a single row."""
PAIRS = tuple(reversed(TEXTS))
BATCH = 4
WORDS = (("dull", "지루한", "awful"), ("a joy", "최고의", "great"), ("long", "긴", "slow"))
"""Words of the train rows of each label."""
ROWS = {"train": 24, "validation": 7, "test": len(TEXTS)}
Make = Callable[[Sequence[str]], TextClassifier]


class NotCheckable(Exception):  # noqa: N818 - not an error
    """A check does not apply to the method; the message says why."""


class InventedRows(TextDataModule):
    """A few texts in English and Korean, one of them empty, with any labels."""

    def __init__(self, label_names: Sequence[str], pairs: bool = False) -> None:
        """Takes the labels, and whether the rows have two texts each."""
        super().__init__(batch_size=BATCH, eval_batch_size=BATCH, seed=SEED, cleaning=[])
        self.label_names = normalized_names(label_names)
        self.text_pair_column = "text_pair" if pairs else None

    def source_splits(self) -> tuple[Split, ...]:
        """All three."""
        return ("train", "validation", "test")

    def load_split(self, split: Split) -> Dataset:
        """The rows of a split, its labels in turn."""
        from datasets import Dataset as Rows

        texts, pairs, labels = [], [], []
        for row in range(ROWS[split]):
            label = row % len(self.label_names)
            word = WORDS[label % len(WORDS)][row % 3]
            text = TEXTS[row % len(TEXTS)]
            texts.append(text if split == "test" else f"{word}, {text} {row} {split}")
            pairs.append(PAIRS[row % len(PAIRS)])
            labels.append(label)
        columns = {"text": texts, "label": labels}
        if self.text_pair_column is not None:
            columns["text_pair"] = pairs
        return Rows.from_dict(columns)


@dataclass(frozen=True)
class Run:
    """A method after its training and test.

    Attributes:
        model: With the weights that were tested.
        table: Its predictions for the test rows.
        checkpoint: The file that was tested; None for a method that is not trained.
    """

    model: TextClassifier
    table: PredictionTable
    checkpoint: Path | None


class Subject:
    """A method, and the labels that it is checked with."""

    def __init__(self, make: Make, label_names: Sequence[str], folder: Path) -> None:
        """Takes how objects of it are made.

        Args:
            make: Makes a new object for some labels.
            label_names: The labels.
            folder: For all that is written.
        """
        self.make = make
        self.label_names = tuple(label_names)
        self.folder = folder
        self._runs = 0

    def new(self, label_names: Sequence[str] | None = None) -> TextClassifier:
        """A new object, for other labels if they are given; the random numbers of its making are always the same."""
        seed_everything(SEED)
        return self.make(self.label_names if label_names is None else label_names)

    def ready(self, model: TextClassifier) -> TextClassifier:
        """Prepares a new object on the train rows, and loads its weights; it is not trained."""
        data = InventedRows(model.label_names)
        data.show_examples(model, "test")
        if is_overridden("training_step", model):
            model.prepare(data.rows("train"))
        model.configure_model()
        return model.eval()

    def run(self, pairs: bool = False) -> Run:
        """Trains a new object for two steps where it trains, and tests it.

        Args:
            pairs: Whether the rows have two texts each.
        """
        self._runs += 1
        folder = self.folder / f"run{self._runs}"
        model = self.new()
        experiment = run_experiment(
            model,
            InventedRows(self.label_names, pairs),
            run_dir=folder,
            seed=SEED,
            logger=False,
            accelerator="cpu",
            devices=1,
            precision="32-true",
            max_epochs=1,
            limit_train_batches=2,
            enable_progress_bar=False,
        )
        return Run(model, read_predictions(folder / "report" / "predictions.parquet"), experiment.checkpoint)


def name_of(model: TextClassifier) -> str:
    """The name of a method's class, for messages."""
    return type(model).__name__


def is_local(kind: type) -> bool:
    """Whether a class is defined inside a function, so that it can neither be pickled nor imported."""
    return "<locals>" in kind.__qualname__


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Sets the global random states, and restores them."""
    with isolate_rng(include_cuda=False):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield


@contextlib.contextmanager
def isolated() -> Iterator[Path]:
    """A temporary folder for all files and caches; output, log records, warnings and random states stay inside."""
    from datasets import config

    cache = config.HF_DATASETS_CACHE
    environment = dict(os.environ)
    with (
        TemporaryDirectory(prefix="textclf-check-", ignore_cleanup_errors=True) as folder,
        isolate_rng(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        disabled = logging.root.manager.disable
        logging.disable(logging.WARNING)
        config.HF_DATASETS_CACHE = Path(folder, "cache")
        try:
            yield Path(folder)
        finally:
            config.HF_DATASETS_CACHE = cache
            logging.disable(disabled)
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            os.environ.update(environment)
