"""What the package itself keeps of a method, apart from the attributes that a subclass has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from textclf.evaluation.calibration import Calibrator
from textclf.models.score_check import ScoreCheck


@dataclass
class MethodState:
    """The bookkeeping of a `TextClassifier`, under `self.textclf`: no attribute of a subclass can have the same name.

    Attributes:
        restored: Whether the method's state comes from a checkpoint.
        train_rows: Number of labelled rows that it has learnt from; None where a checkpoint does not tell.
        train_seed: The seed of its training; None where none was set, or a checkpoint does not tell.
        text_steps: Cleaning steps that changed the texts it was trained on; `classify` and `predict` apply them too.
        calibrators: What was fitted to validation rows and corrects its scores: at most one that changes the
            probabilities, and one that decides.
        variant: What is tried in this part of the training, such as one value of several; named after its validation.
        seen_splits: Splits whose loaders were looked at.
        waiting: Rows, scores and labels of the batches of a split that is judged as a whole.
        score_check: What was found wrong with the scores of the current evaluation.
        hook_calls: Results of the required hooks that ran within each override that is running; see
            `textclf.models.hooks`.
    """

    restored: bool = False
    train_rows: int | None = 0
    train_seed: int | None = None
    text_steps: Sequence[Any] = ()
    calibrators: tuple[Calibrator, ...] = ()
    variant: str = ""
    seen_splits: set[str] = field(default_factory=set)
    waiting: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    score_check: ScoreCheck = field(default_factory=ScoreCheck)
    hook_calls: list[dict[Callable[..., Any], Any]] = field(default_factory=list)

    def calibrator(self, decides: bool) -> Calibrator | None:
        """The calibrator that decides, or the one that changes the probabilities; None where there is none."""
        return next((each for each in self.calibrators if each.decides == decides), None)
