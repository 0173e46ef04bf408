"""Whether a checkpoint holds all that a method is: a fresh object that loads it must score texts as the method does."""

from __future__ import annotations

import inspect
import random
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from textclf.data.streaming import StreamedBatches
from textclf.errors import UserError
from textclf.models.base import TextClassifier

TOLERANCE = {torch.float16: 0.05, torch.bfloat16: 0.2}
"""Largest difference in nats between two ways to score a text, by the dtype of the weights; 1e-4 for wider ones."""
REMEDY = "keep what is learnt in parameters, buffers or self.fitted, and make layers from that in configure_model"
OTHER_SEED = 1_618_033
"""Of the random numbers that a fresh object is made with."""


def check_reloading(model: TextClassifier, checkpoint: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Loads a checkpoint of a trained method into a fresh object, and compares their scores for a few rows.

    A class that is defined inside a function cannot be loaded, and is not checked.

    Args:
        model: The method as it was trained.
        checkpoint: Its checkpoint.
        rows: Texts: `text`, and `text_pair` where there is one.

    Raises:
        UserError: The checkpoint cannot be loaded, or the fresh object gives other scores.
    """
    kind = type(model)
    if "<locals>" in kind.__qualname__:
        return
    with isolate_rng():
        expected = scores_of(model, rows)
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(OTHER_SEED)  # random numbers that are not kept must come out differently
        try:
            fresh = kind.load_from_checkpoint(checkpoint, map_location=model.device)
            found = scores_of(fresh, rows)
        except UserError as error:
            keys = [line.strip() for line in str(error.__cause__).splitlines() if "key(s)" in line]
            message = str(error)
            if keys:
                message = f"{kind.__name__}: {keys[0].rstrip('.')} once its checkpoint was loaded: {REMEDY}"
            raise UserError(message) from error
        except Exception as error:  # an attribute that is missing may raise any kind
            raise UserError(f"{described(error, kind, 'loading')} once its checkpoint was loaded: {REMEDY}") from error
    row = first_difference(expected, found, tolerance_of(model))
    if row is not None:
        raise UserError(
            f"{kind.__name__} gave {shown(expected[row])} for {rows[row]['text']!r}, and {shown(found[row])} once its "
            f"checkpoint was loaded: {REMEDY}"
        )


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
