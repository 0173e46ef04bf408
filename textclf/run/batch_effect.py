"""How many predictions of an evaluation in 16-bit precision depend on the batch size.

A forward pass rounds its sums differently in batches of another shape. In fp32 this does not matter; in bf16 and fp16,
a row whose two best labels are close may get the other one. A sample of the rows is scored again, each alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Trainer

from textclf.data.base import data_module_of
from textclf.data.splitting import Split
from textclf.models.streaming import StreamedBatches

MOST_ROWS = 256
"""Rows that are scored again, at most: a share of 0.4 % shows, and it takes seconds with small models."""
LOW = (torch.bfloat16, torch.float16)
PREFIX = "batch_effect"
"""Of the figures in metrics.json."""


class ScoredAlone(NamedTuple):
    """Rows that were scored in batches of one row.

    Attributes:
        rows: Their places in the split, ascending, `(rows,)`.
        predictions: Predicted classes, `(rows,)`; -1 where the answer fits no class.
        log_scores: Float64, `(rows, num_classes)`.
    """

    rows: np.ndarray
    predictions: np.ndarray
    log_scores: np.ndarray


def scored_alone(trainer: Trainer, model: Any, split: Split) -> ScoredAlone | None:
    """Scores a sample of the rows again, each alone; all processes score the same rows.

    Args:
        trainer: In a test or a validation with a data module.
        model: The method.
        split: The split whose rows are scored.

    Returns:
        The sample; None where scores are computed in fp32 or depend on the whole split, and where there are no rows.
    """
    if model.scoring_dtype() not in LOW or model.needs_whole_split:
        return None
    data = data_module_of(trainer)
    assert data is not None  # the report has checked it
    texts = data.rows(split)
    count = min(len(texts), MOST_ROWS)
    if not count:
        return None
    sample = np.sort(np.random.default_rng(0).permutation(len(texts))[:count])
    with model.scored_apart(), trainer.precision_plugin.test_step_context():
        results = [_results_of(model, row) for row in texts.select(sample)]
    return ScoredAlone(
        sample,
        np.concatenate([each["prediction"].cpu().numpy() for each in results]),
        np.concatenate([each["log_scores"].double().cpu().numpy() for each in results]),
    )


def _results_of(model: Any, row: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The results of a batch of one row, as a test step has them."""
    texts = {name: row[name] for name in ("text", "text_pair") if name in row}
    (batch,) = StreamedBatches(model, [texts], batch_size=1)
    scores = model.checked_scores(model.transfer_batch_to_device(batch, model.device, 0))
    results: dict[str, torch.Tensor] = model.textclf.results(scores, model.textclf.columns)
    return results


def batch_effect(
    alone: ScoredAlone, rows: np.ndarray, predictions: np.ndarray, log_scores: np.ndarray
) -> dict[str, float]:
    """Compares rows that were scored alone with the same rows in an evaluation.

    Args:
        alone: The rows that were scored alone.
        rows: Places in the split of the rows of the evaluation, ascending, `(rows,)`.
        predictions: Their predicted classes, `(rows,)`.
        log_scores: Float64, `(rows, num_classes)`.

    Returns:
        `batch_effect/rows`, the number of rows that were compared, `batch_effect/changed_predictions`, the number of
        those with another prediction, and `batch_effect/largest_difference_nats` of a finite log-score.
    """
    _, in_sample, in_evaluation = np.intersect1d(alone.rows, rows, assume_unique=True, return_indices=True)
    changed = alone.predictions[in_sample] != predictions[in_evaluation]
    one, other = alone.log_scores[in_sample], log_scores[in_evaluation]
    both = np.isfinite(one) & np.isfinite(other)
    differences = np.abs(one[both] - other[both])
    return {
        f"{PREFIX}/rows": len(changed),
        f"{PREFIX}/changed_predictions": int(changed.sum()),
        f"{PREFIX}/largest_difference_nats": float(differences.max(initial=0)),
    }
