"""A data set of somebody else's."""

from datasets import Dataset

from textclf.data import TextDataModule


class WeatherDataModule(TextDataModule):
    label_names = ("dry", "wet")

    def source_splits(self):
        return ("train", "test")

    def load_split(self, split):
        size = {"train": 200, "test": 41}[split]
        words = (("햇볕", "sunny"), ("소나기", "rain"))
        texts = [f"{split}, day {i}: {words[i % 2][i // 2 % 2]}" for i in range(size)]
        return Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(size)]})
