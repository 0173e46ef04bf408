"""Comparisons of two ways to score or to classify the same texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from textclf.conformance.subject import BATCH, TEXTS
from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.models.streaming import StreamedBatches, text_rows

TOLERANCE = {torch.float16: 0.05, torch.bfloat16: 0.2}
"""Largest difference in nats between two ways to score a text, by the precision of scoring; 1e-4 in a higher one."""


class Answer(NamedTuple):
    """The label of a text and its probability; None for no label, and where a method has no probabilities."""

    label: str | None
    score: float | None

    def __str__(self) -> str:
        """The label, and the probability where there is one, for a message."""
        return repr(self.label) if self.score is None else f"{self.label!r} ({self.score:.4g})"


def scores_of(
    model: TextClassifier,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    batch_size: int = BATCH,
    max_batch_tokens: int | None = None,
) -> Tensor:
    """Log-scores of texts or of text pairs as a run checks them, in evaluation mode.

    Args:
        model: The method.
        texts: The texts.
        pairs: The second text of each, where there are two.
        batch_size: Rows in a batch.
        max_batch_tokens: Tokens in a padded batch, instead of `batch_size`.

    Returns:
        Float64 on the CPU, `(texts, num_classes)`.
    """
    found = torch.zeros(len(texts), model.num_classes, dtype=torch.float64)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in StreamedBatches(
                model, text_rows(texts, pairs), batch_size=batch_size, max_batch_tokens=max_batch_tokens
            ):
                scores = model.checked_scores(model.transfer_batch_to_device(batch, model.device, 0))
                found[batch["row"].cpu()] = scores.double().cpu()
    finally:
        model.train(was_training)
    return found


def answers_of(model: TextClassifier) -> list[Answer]:
    """What `classify` gives for the test rows."""
    return [Answer(each["label"], each["score"]) for each in model.classify(TEXTS)]


def first_difference(one: Tensor, other: Tensor, tolerance: float) -> int | None:
    """The first row in which two matrices of scores differ; None where they agree."""
    close = torch.isclose(one, other, atol=tolerance, rtol=tolerance, equal_nan=True).all(dim=1)
    return None if close.all() else int((~close).nonzero()[0])


def tolerance_of(model: TextClassifier) -> float:
    """Largest difference that rounding makes between two ways to score a text, in nats."""
    return TOLERANCE.get(model.scoring_dtype(), 1e-4)


def shown(scores: Tensor) -> str:
    """A row of scores for a message."""
    return f"[{', '.join(f'{score:.4g}' for score in scores.tolist())}]"


def compare_answers(
    model: TextClassifier,
    way: str,
    answers: Sequence[Answer],
    other_way: str,
    other_answers: Sequence[Answer],
    remedy: str = "",
) -> None:
    """Compares the answers that two ways give for the test rows.

    Args:
        model: The method, for the tolerance and the message.
        way: What gave the first answers, such as `test`.
        answers: One for each of the test rows.
        other_way: What gave the others.
        other_answers: One for each of the test rows.
        remedy: End of the message.

    Raises:
        UserError: They differ.
    """
    tolerance = tolerance_of(model)
    for text, answer, other in zip(TEXTS, answers, other_answers, strict=True):
        same_score = answer.score == other.score
        if answer.score and other.score:
            same_score = math.isclose(answer.score, other.score, abs_tol=tolerance)
        # Of two classes with equal scores, rounding decides which one is answered.
        tied = same_score and answer.score is not None and answer.score * 2 <= 1 + tolerance
        if not same_score or (answer.label != other.label and not tied):
            raise UserError(
                f"{type(model).__name__} gave {answer} for {text!r} in {way}, and {other} in {other_way}: wanted the "
                f"same{remedy}"
            )


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal: tensors, arrays, and lists and dictionaries of them; NaN equals NaN."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and bool(((one == other) | (one.isnan() & other.isnan())).all())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)
