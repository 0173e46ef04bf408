"""Whether scores depend on how rows are divided into batches: the largest difference, and changed predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from textclf.conformance.comparison import scores_of
from textclf.conformance.subject import TEXTS
from textclf.models.base import TextClassifier

SIZES = (1, 7, 64)
BUDGET = 256
"""Tokens of a batch, for the way with a token budget."""
TOLERANCE = 1e-4
"""Largest difference in fp32, in nats."""
NEAR_TIE = 2e-4
"""Where the two best log-scores of a row are closer, in nats, rounding may decide between them."""
BASE = f"batches of {SIZES[-1]}"
"""The way that the others are compared with."""

Ways = dict[str, Tensor]
"""Log-scores of the same rows in the same order, float64 `(rows, num_classes)`, by how the batches were formed."""
Shapes = set[tuple[int, ...]]


class Difference(NamedTuple):
    """How scores differ between two ways to form batches.

    Attributes:
        rows: Number of rows.
        largest: Largest difference of a log-score in nats; infinite where only one of two is finite.
        changed: Number of rows with another prediction.
        near_ties: Number of those whose two best labels are within `NEAR_TIE` of each other in both ways.
    """

    rows: int
    largest: float
    changed: int
    near_ties: int


def many_texts(count: int) -> list[str]:
    """Different texts of different lengths, some in Korean.

    Args:
        count: Number of texts.
    """
    texts = []
    for i in range(count):
        other = TEXTS[(5 * i + 1) % len(TEXTS)]
        texts.append(f"{TEXTS[i % len(TEXTS)]} {other[: 7 * i % 40]} {i}")
    return texts


def scores_by_way(
    model: TextClassifier, texts: Sequence[str], pairs: Sequence[str] | None = None
) -> dict[str, tuple[Tensor, Shapes]]:
    """Scores texts in batches of each of `SIZES`, with a token budget, and in another order.

    What a batch has, was also encoded together, and nothing else with it.

    Args:
        model: The method.
        texts: More than 64 texts.
        pairs: The second text of each, for a method that reads two.

    Returns:
        For each way the log-scores, and the shapes of the batches: the first inputs of all modules, and `(rows,)` of
        what `log_scores` was given.
    """
    found: dict[str, tuple[Tensor, Shapes]] = {}
    order = np.random.default_rng(0).permutation(len(texts))
    with model.scored_apart():
        for size in SIZES:
            with recorded_shapes(model) as shapes:
                found[f"batches of {size}"] = _in_groups(model, texts, pairs, size), shapes
        with recorded_shapes(model) as shapes:
            found[f"a budget of {BUDGET} tokens"] = scores_of(model, texts, pairs, max_batch_tokens=BUDGET), shapes
        with recorded_shapes(model) as shapes:
            shuffled = [texts[i] for i in order], None if pairs is None else [pairs[i] for i in order]
            scores = torch.empty(len(texts), model.num_classes, dtype=torch.float64)
            scores[torch.from_numpy(order)] = _in_groups(model, *shuffled, SIZES[1])
            found[f"batches of {SIZES[1]} in another order"] = scores, shapes
    return found


def _in_groups(model: TextClassifier, texts: Sequence[str], pairs: Sequence[str] | None, size: int) -> Tensor:
    parts = []
    for start in range(0, len(texts), size):
        part = slice(start, start + size)
        parts.append(scores_of(model, texts[part], None if pairs is None else pairs[part], size))
    return torch.cat(parts)


@contextmanager
def recorded_shapes(model: TextClassifier) -> Iterator[Shapes]:
    """Records, within it, the shapes of the first inputs of all modules, and the rows of each call of `log_scores`."""
    shapes: Shapes = set()
    log_scores = model.log_scores

    def of_modules(module: Any, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            shapes.add(tuple(inputs[0].shape))

    def of_batches(batch: dict[str, Any]) -> Tensor:
        shapes.add((len(batch["row"]),))
        return log_scores(batch)

    handle = register_module_forward_pre_hook(of_modules)
    model.__dict__["log_scores"] = of_batches
    try:
        yield shapes
    finally:
        handle.remove()
        del model.__dict__["log_scores"]


def differences(ways: Mapping[str, Tensor]) -> dict[str, Difference]:
    """Compares each way with `BASE`.

    Args:
        ways: The log-scores of each way, as `scores_by_way` gives them.
    """
    return {way: difference(ways[BASE], scores) for way, scores in ways.items() if way != BASE}


def difference(one: Tensor, other: Tensor) -> Difference:
    """Compares the log-scores of two ways, `(rows, num_classes)` each; rows of NaN are answers that fit no class."""
    apart = (one - other).abs()
    same = (one == other) | (one.isnan() & other.isnan())
    apart = apart.masked_fill(same, 0).nan_to_num(nan=torch.inf)
    changed = _predictions(one) != _predictions(other)
    near = (_margins(one) <= NEAR_TIE) & (_margins(other) <= NEAR_TIE)
    largest = float(apart.max()) if apart.numel() else 0.0
    return Difference(len(one), largest, int(changed.sum()), int((changed & near).sum()))


def _predictions(scores: Tensor) -> Tensor:
    return scores.nan_to_num(nan=-torch.inf).argmax(1).masked_fill(scores.isnan().all(1), -1)


def _margins(scores: Tensor) -> Tensor:
    """Difference between the two best log-scores of each row, in nats."""
    best = scores.nan_to_num(nan=-torch.inf).topk(2, dim=1).values
    return best[:, 0] - best[:, 1]
