"""Comparisons of two ways to score the same texts, and errors of a method in one line."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from textclf.models.base import TextClassifier
from textclf.models.streaming import StreamedBatches

TOLERANCE = {torch.float16: 0.05, torch.bfloat16: 0.2}
"""Largest difference in nats between two ways to score a text, by the dtype of the weights; 1e-4 for wider ones."""


def scores_of(model: TextClassifier, rows: Sequence[Mapping[str, str]], batch_size: int = 4) -> Tensor:
    """Log-scores of texts as a run checks them, in evaluation mode, float64 on the CPU, `(rows, num_classes)`.

    Args:
        model: The method.
        rows: `text` of each, and `text_pair` where there is one.
        batch_size: Rows in a batch.
    """
    found = torch.zeros(len(rows), model.num_classes, dtype=torch.float64)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in StreamedBatches(model, (dict(row) for row in rows), batch_size=batch_size):
                scores = model.checked_scores(model.transfer_batch_to_device(batch, model.device, 0))
                found[batch["row"].cpu()] = scores.double().cpu()
    finally:
        model.train(was_training)
    return found


def first_difference(one: Tensor, other: Tensor, tolerance: float) -> int | None:
    """The first row in which two matrices of scores differ; None where they agree."""
    close = torch.isclose(one, other, atol=tolerance, rtol=tolerance, equal_nan=True).all(dim=1)
    return None if close.all() else int((~close).nonzero()[0])


def tolerance_of(model: TextClassifier) -> float:
    """Largest difference that rounding makes between two ways to score a text, in nats."""
    return max((TOLERANCE.get(weight.dtype, 1e-4) for weight in model.parameters()), default=1e-4)


def shown(scores: Tensor) -> str:
    """A row of scores for a message."""
    return f"[{', '.join(f'{score:.4g}' for score in scores.tolist())}]"


def described(error: Exception, kind: type, name: str) -> str:
    """An exception in one line that names the method of a class that it came through, and the place.

    Args:
        error: The exception.
        kind: The class.
        name: What was done, for an exception that did not come through the class.
    """
    lineage = [base for base in kind.__mro__ if issubclass(base, TextClassifier) and base is not TextClassifier]
    members = [inspect.unwrap(value) for base in lineage for value in vars(base).values() if inspect.isfunction(value)]
    files = {member.__code__.co_filename for member in members}
    source, place = f"{kind.__name__}: {name}", ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename in files:
            parts = frame.f_code.co_qualname.split(".<locals>.")
            source = next((part for part in parts if "." in part), parts[0])
            place = f" ({frame.f_code.co_filename}, line {line})"
    first = (str(error).splitlines() or [""])[0]
    return f"{source} raised {type(error).__name__}: {first}{place}"
