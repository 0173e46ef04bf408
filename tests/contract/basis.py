"""Rows and methods that keep the contract; the violators next to this file change one thing each."""

import torch
from datasets import Dataset
from torch import nn

from textclf.data import TextDataModule
from textclf.models import PreparedClassifier, TextClassifier

SKIES = ("dry", "wet")
WORDS = {"dry": ("sunshine", "햇볕", "a clear sky"), "wet": ("drizzle", "소나기", "a heavy shower")}


def forecasts(split, rows=33):
    """Rows in English and Korean, both labels alternating; 33 leave one row for the last of the batches of 8."""
    labels = [i % 2 for i in range(rows)]
    texts = [f"{WORDS[SKIES[label]][i % 3]} on day {i}, {split}" for i, label in enumerate(labels)]
    return {"text": texts, "label": labels}


class Forecasts(TextDataModule):
    """33 rows in each of three splits."""

    label_names = SKIES

    def source_splits(self):
        return ("train", "validation", "test")

    def load_split(self, split):
        return Dataset.from_dict(forecasts(split))


class Uniform(TextClassifier):
    """Needs no training, and gives each label the same probability."""

    def log_scores(self, batch):
        return torch.full((len(batch["text"]), self.num_classes), 1 / self.num_classes).log()


class Letters(TextClassifier):
    """A linear layer on counts of letters: it learns these rows within one epoch."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.layer = nn.Linear(64, num_classes)

    def collate(self, rows):
        return {"counts": counts_of(rows["text"])}

    def log_scores(self, batch):
        return self.layer(batch["counts"]).log_softmax(-1)

    def training_step(self, batch, batch_idx):
        return nn.functional.nll_loss(self.log_scores(batch), batch["labels"])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)


class Means(PreparedClassifier):
    """The nearest of the mean letter counts of the labels, which `prepare` finds."""

    def prepare(self, train_rows):
        self.fitted = {"means": means_of(train_rows, self.num_classes)}

    def collate(self, rows):
        return {"counts": counts_of(rows["text"])}

    def log_scores(self, batch):
        return nearest(batch["counts"], self.fitted["means"])


def counts_of(texts):
    counts = torch.zeros(len(texts), 64)
    for row, text in zip(counts, texts, strict=True):
        for letter in text:
            row[ord(letter) % 64] += 1
    return counts


def means_of(rows, num_classes):
    counts, labels = counts_of(rows["text"]), torch.tensor(rows["label"])
    return torch.stack([counts[labels == label].mean(0) for label in range(num_classes)])


def nearest(counts, means):
    return (-torch.cdist(counts, means)).log_softmax(-1)
