"""State that the package keeps for a method, apart from the attributes of a subclass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from textclf.data.cleaning import TextStep
from textclf.evaluation.calibration import Calibrator, calibrated, restored_calibrators, stored_calibrators
from textclf.evaluation.metrics import predicted_classes
from textclf.models.checkpoint import resolve_class
from textclf.models.score_check import ScoreCheck


@dataclass
class MethodState:
    """State of a `TextClassifier`, under `self.textclf`: no attribute of a subclass can have the same name.

    Attributes:
        restored: Whether the method's state comes from a checkpoint.
        train_rows: Number of labelled rows that it was trained on; None where a checkpoint does not say.
        train_seed: The seed of its training; None where none was set, or a checkpoint does not say.
        text_steps: Cleaning steps that changed the texts it was trained on; `classify` and `predict` apply them too.
        calibrators: Corrections of its scores that were fitted to validation rows: at most one that changes the
            probabilities, and one that decides.
        checked_splits: Splits whose loaders were checked.
        columns: Columns of scores in the order of the labels of the data that is evaluated; None where that is the
            method's order.
        pending_batches: Rows, scores and labels of the batches so far, for a method that needs the whole split.
        score_check: The checks of the scores of the current evaluation.
        started: When the trainer began with the current command, in the seconds of `time.perf_counter`; None outside of
            a run.
        encoding_seconds: Seconds that encoding a split took in this run; None where vectors were kept from an earlier
            one.
        reused_texts: Number of texts whose vectors were read from the cache of vectors.
        hook_calls: Results of the required hooks that ran within each override that is running; see
            `textclf.models.hooks`.
    """

    restored: bool = False
    train_rows: int | None = 0
    train_seed: int | None = None
    text_steps: Sequence[Any] = ()
    calibrators: tuple[Calibrator, ...] = ()
    checked_splits: set[str] = field(default_factory=set)
    columns: list[int] | None = None
    pending_batches: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    score_check: ScoreCheck = field(default_factory=ScoreCheck)
    started: float | None = None
    encoding_seconds: dict[str, float | None] = field(default_factory=dict)
    reused_texts: int = 0
    hook_calls: list[dict[Callable[..., Any], Any]] = field(default_factory=list)

    def calibrator(self, decides: bool) -> Calibrator | None:
        """The calibrator that decides, or the one that changes the probabilities; None where there is none."""
        return next((each for each in self.calibrators if each.decides == decides), None)

    def results(
        self, log_scores: Tensor, columns: Sequence[int] | None = None, calibrate: bool = True
    ) -> dict[str, Tensor]:
        """Calibrates the log-scores of a batch, and gives the classes that are answered.

        Each calibrator is applied to the method's own log-scores, to which it was fitted: none depends on another.

        Args:
            log_scores: What the method gave, `(batch, num_classes)`.
            columns: Of `log_scores`, in the order of the results; by default they stay as they are.
            calibrate: Whether calibrators are applied.

        Returns:
            `log_scores`, `prediction`, int64 `(batch,)`, and, where a calibrator decides, `deciding_scores`.
        """
        scaling = self.calibrator(decides=False)
        rule = self.calibrator(decides=True)
        if not calibrate:
            scaling = rule = None
        scores = log_scores if scaling is None else calibrated(scaling, log_scores)
        deciding = scores if rule is None else calibrated(rule, log_scores)
        if columns is not None:
            scores = scores[:, columns]
            deciding = deciding[:, columns]
        results = {
            "log_scores": scores.to(log_scores),
            "prediction": predicted_classes(deciding).to(log_scores.device),
        }
        if rule is not None:
            results["deciding_scores"] = deciding.to(log_scores)
        return results

    def stored(self, label_names: Sequence[str]) -> dict[str, Any]:
        """What a checkpoint keeps of it, as plain values.

        Args:
            label_names: Name of each class, in the method's order.
        """
        return {
            "train_rows": self.train_rows,
            "seed": self.train_seed,
            "text_steps": [step.as_config() for step in self.text_steps],
            **stored_calibrators(self.calibrators, label_names),
        }

    def restore(self, saved: Mapping[str, Any], label_names: Sequence[str]) -> None:
        """Takes what `stored` gave.

        Args:
            saved: The package's entry of a checkpoint; those of earlier versions lack some values.
            label_names: Name of each class, in the order of the checkpoint.

        Raises:
            UserError: A cleaning step or calibrator is of a class that is not imported.
        """
        self.train_rows = saved.get("train_rows")
        self.train_seed = saved.get("seed")
        self.text_steps = [_text_step(step) for step in saved["text_steps"]]
        self.calibrators = restored_calibrators(saved, label_names, _calibrator_class)
        self.restored = True


def _text_step(config: Mapping[str, Any]) -> TextStep:
    kind = resolve_class(config["class_path"], TextStep, "the checkpoint")  # type: ignore[type-abstract]
    return kind(**config["init_args"])


def _calibrator_class(class_path: str) -> type[Calibrator]:
    return resolve_class(class_path, Calibrator, "the checkpoint")  # type: ignore[type-abstract]
