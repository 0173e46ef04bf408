"""Part `checks` of `benchmark.py`: the cost of checking the scores of each batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch

from benchmarks.frame import Counts, Work
from benchmarks.training import ours
from textclf.models.score_check import ScoreCheck, ScoreRules


@contextmanager
def unchecked() -> Iterator[None]:
    """Switches the checks off; rows are still counted."""

    def add(
        self: ScoreCheck,
        rules: ScoreRules,
        scores: torch.Tensor,
        rows: torch.Tensor,
        device: torch.device,
        counted: bool = True,
    ) -> torch.Tensor:
        self._batches += 1
        if counted:
            self._rows += len(rows)
        return scores.detach()

    with patch.object(ScoreCheck, "add", add):
        yield


def contenders(texts: Sequence[str]) -> dict[str, Work]:
    """Tests of MiniLM by name, without the checks and with them.

    Args:
        texts: To score.
    """
    labels = [number % 2 for number in range(len(texts))]
    test = ours(texts, labels, train=False)
    return {"unchecked scores": partial(without_checks, test), "checked scores": test}


def without_checks(test: Work) -> Counts:
    """Runs a test without the checks."""
    with unchecked():
        return test()
