"""Methods that are fitted in `prepare` alone, without a loop over batches."""

from __future__ import annotations

from typing import Any

from textclf.models.base import TextClassifier
from textclf.models.hooks import required_hook


class PreparedClassifier(TextClassifier):
    """A method that is fitted in `prepare` alone: `fit` ends training after its first step, validates and saves.

    The trainer's `max_epochs` and `limit_train_batches` do not matter to it.
    """

    @property
    def trains_by_batches(self) -> bool:
        """It is given all train rows at once."""
        return False

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Learns nothing from batches."""

    @required_hook
    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        """Ends training after the first step; Lightning then still validates, and saves checkpoints.

        (A batch need not be a step, with `accumulate_grad_batches`; at step 0 Lightning saves no checkpoint.)
        """
        if self.trainer.global_step > 0:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> None:
        """Nothing to optimise."""
