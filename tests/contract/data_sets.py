"""Data sets that give something other than rows in columns."""

import pandas as pd
import pyarrow as pa
from datasets import Dataset, DatasetDict

from tests.contract.basis import SKIES, Forecasts, forecasts
from textclf.data import TextDataModule

SPLITS = {  # name: what `load_split` gives
    "none": lambda rows: None,
    "texts": lambda rows: rows["text"],
    "pairs": lambda rows: list(zip(rows["text"], rows["label"], strict=True)),
    "generator": lambda rows: ({"text": text, "label": 0} for text in rows["text"]),
    "dataset_dict": lambda rows: DatasetDict({"test": Dataset.from_dict(rows)}),
    "iterable_dataset": lambda rows: Dataset.from_dict(rows).to_iterable_dataset(),
    "series": lambda rows: pd.Series(rows["text"]),
    "path": lambda rows: "rows.csv",
    "empty_list": lambda rows: [],
    "uneven_columns": lambda rows: {**rows, "label": [0]},
    "rows_of_other_keys": lambda rows: [{"text": "drizzle", "label": 1}, {"txt": "sunshine", "label": 0}],
    "no_text": lambda rows: {"label": rows["label"]},
    "no_label": lambda rows: {"text": rows["text"]},
    "label_out_of_range": lambda rows: {**rows, "label": [label + 1 for label in rows["label"]]},
    "unknown_label": lambda rows: {**rows, "label": ["snowy"] * len(rows["text"])},
    "labels_in_lists": lambda rows: {**rows, "label": [[label] for label in rows["label"]]},
    "texts_in_lists": lambda rows: {**rows, "text": [text.split() for text in rows["text"]]},
}
KEPT = {
    "dictionary": lambda rows: rows,
    "list_of_rows": lambda rows: [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)],
    "data_frame": lambda rows: pd.DataFrame(rows),
    "data_frame_with_index": lambda rows: pd.DataFrame(rows)[::-1],
    "table": lambda rows: pa.table(rows),
    "label_names": lambda rows: {**rows, "label": [SKIES[label] for label in rows["label"]]},
}


class Loaded(Forecasts):
    """`load_split` is one of those above."""

    def __init__(self, kind: str, eval_batch_size: int = 8):
        super().__init__(eval_batch_size=eval_batch_size)
        self.kind = kind

    def load_split(self, split):
        return {**SPLITS, **KEPT}[self.kind](forecasts(split))


class NoLabelNames(TextDataModule):
    def source_splits(self):
        return ("test",)

    def load_split(self, split):
        return Dataset.from_dict(forecasts(split))


class OneString(Forecasts):
    label_names = "dry wet"


class OneLabel(Forecasts):
    label_names = ("dry",)


class NoLabels(Forecasts):
    label_names = ()


class SameLabels(Forecasts):
    label_names = ("dry", "dry")


class SetOfLabels(Forecasts):
    label_names = {"dry", "wet"}


class NumbersAsLabels(Forecasts):
    label_names = (0, 1)


class NoSource(TextDataModule):
    label_names = SKIES


class SuperLast(Forecasts):
    def __init__(self, eval_batch_size: int = 8):
        self.batch_size = eval_batch_size
        self.data_dir = "here"
        super().__init__(eval_batch_size=eval_batch_size)


class NoSuper(Forecasts):
    def __init__(self, eval_batch_size: int = 8):
        self.eval_batch_size = eval_batch_size


class OwnSetup(Forecasts):
    """`setup` is overridden, as in Lightning's own examples."""

    def setup(self, stage):
        self.texts = forecasts(stage)


class OwnLoader(Forecasts):
    def test_dataloader(self):
        return [{"text": ["drizzle"], "labels": [1]}]


class UnknownSplit(Forecasts):
    def source_splits(self):
        return ("train", "dev", "test")


class OneSplitAsString(Forecasts):
    def source_splits(self):
        return "test"


class FailingSource(Forecasts):
    def load_split(self, split):
        return {}["forecasts"]
