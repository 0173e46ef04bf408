"""How well label errors are found: planted ones, of which is known where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from textclf.data.columns import text_keys
from textclf.data.folds import fold_of_rows
from textclf.findings.label_errors import FOLDS, find_suspects, out_of_fold_probabilities
from textclf.findings.rows import ExploredSplit


def plant_errors(labels: np.ndarray, share: float, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives a share of the rows another label, each of the others with the same probability.

    Args:
        labels: Class indices, shape `(rows,)`.
        share: Share of the rows, from 0 to 1.
        num_classes: Number of classes, 2 or more.
        seed: Seed of the draw.

    Returns:
        The labels, and whether each is wrong, both of the shape `(rows,)`.
    """
    draw = np.random.default_rng(seed)
    chosen = draw.choice(len(labels), round(share * len(labels)), replace=False)
    given = labels.copy()
    given[chosen] = (labels[chosen] + draw.integers(1, num_classes, len(chosen))) % num_classes
    return given, given != labels


def measure_planted_errors(split: ExploredSplit, share: float, seeds: Sequence[int]) -> dict[str, Any]:
    """Plants errors, and compares what is found with them, for `find_suspects` and for cleanlab's default rule.

    Errors that the labels had before count as false alarms: precision is a lower bound.

    Args:
        split: Rows with valid labels.
        share: Share of the rows that get a wrong label.
        seeds: Of several draws; counts are summed over them.

    Returns:
        `rows` and `planted` of one draw, `agreement` (the share of the labels after planting that the classifier gives
        out of fold), for both rules `found`, `precision` and `recall`, and `first_precision`: that of the most doubtful
        rows, as many as are planted.
    """
    from cleanlab.filter import find_label_issues

    num_classes = len(split.label_names)
    texts = [[text for window in split.windows(column) for text in window] for column in split.text_columns]
    keys = text_keys(split.rows)
    planted = 0
    first = 0
    agreement = []
    counts = {"": np.zeros(2, dtype=int), "cleanlab_": np.zeros(2, dtype=int)}
    for seed in seeds:
        labels, wrong = plant_errors(split.labels, share, num_classes, seed)
        folds = fold_of_rows(labels, keys, FOLDS, split.label_names)
        probabilities = out_of_fold_probabilities(texts, labels, folds, num_classes)
        found = {
            "": find_suspects(labels, probabilities).errors,
            "cleanlab_": np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1)),
        }
        for rule, rows in found.items():
            counts[rule] += [len(rows), int(wrong[rows].sum())]
        planted += int(wrong.sum())
        first += int(wrong[np.argsort(probabilities[np.arange(len(labels)), labels])[: int(wrong.sum())]].sum())
        agreement.append(float((probabilities.argmax(axis=1) == labels).mean()))
    measured: dict[str, Any] = {
        "rows": len(split),
        "planted": planted // len(seeds),
        "agreement": float(np.mean(agreement)),
        "first_precision": first / max(1, planted),
    }
    for rule, (number, hits) in counts.items():
        measured[f"{rule}found"] = round(int(number) / len(seeds))
        measured[f"{rule}precision"] = int(hits) / max(1, int(number))
        measured[f"{rule}recall"] = int(hits) / max(1, planted)
    return measured
