"""Texts as a data module, and what a model is given of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textclf.data.base import TextDataModule


def data_module(texts: Sequence[str], labels: Sequence[int], label_names: Sequence[str], **options: Any) -> Any:
    """Makes a data module whose train and test split are the same texts; there is no validation split.

    Args:
        texts: The texts.
        labels: Class of each.
        label_names: Name of each class.
        **options: Of the data module, such as `batch_size`.
    """
    from datasets import Dataset

    from textclf.data.base import TextDataModule

    names = tuple(label_names)

    class Rows(TextDataModule):
        label_names = names
        hub_splits = ("train", "test")

        def load_split(self, split: Any) -> Any:
            return Dataset.from_dict({"text": list(texts), "label": list(labels)})

    module: TextDataModule = Rows(val_size=0, cleaning=[], **options)
    return module


def count_tokens(model: Any) -> dict[str, int]:
    """Counts, from now on, the `tokens` that a model is given in batches, and the `places` with padding."""
    seen, collate = {"tokens": 0, "places": 0}, model.collate

    def counting(rows: dict[str, list[Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = collate(rows)
        for chunk in batch.get("chunks", [batch]):
            seen["tokens"] += int(chunk["attention_mask"].sum())
            seen["places"] += chunk["attention_mask"].numel()
        return batch

    model.collate = counting
    return seen
