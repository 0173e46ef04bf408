"""Splits of invented rows for the tests of findings."""

import random

from datasets import Dataset

from textclf.findings.rows import ExploredSplit

WORDS = (
    "the a one some many river house letter garden market bridge winter summer kitchen window story doctor teacher "
    "music picture answer question morning evening journey village station number colour paper cloud mountain island"
).split()


def invented_texts(number, seed, least=6, most=14):
    """Texts of words that are drawn at random: they say nothing of a label."""
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(WORDS, k=draw.randint(least, most))) + f" {draw.randrange(10**6)}" for _ in range(number)
    ]


def split_of(texts, labels=None, pairs=None, split="train", label_names=("a", "b")):
    """A split of texts; labels alternate by default, and ids are `train-0`, `train-1`, ..."""
    if labels is None:
        labels = [index % len(label_names) for index in range(len(texts))]
    columns = {"id": [f"{split}-{index}" for index in range(len(texts))], "text": list(texts)}
    if pairs is not None:
        columns["text_pair"] = list(pairs)
    return ExploredSplit(split, Dataset.from_dict(columns | {"label": list(labels)}), tuple(label_names))


def places_in(rows, number, seed):
    """Row numbers drawn at random."""
    return sorted(random.Random(seed).sample(range(rows), number))
