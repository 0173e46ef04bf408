"""The checkpoints of a run, and the random states that make a resumed run the same run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn

from textclf.console import say
from textclf.files import atomic_path
from textclf.processes import run_folder


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically: to a temporary file in the same folder, which is then renamed.

    (Lightning writes to the system's temporary folder. Where that is another file system, the file is copied over the
    old checkpoint, which is lost if the copy fails.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Saves a checkpoint; an older one at `path` is replaced once the new one is complete."""
        # Given a path instead of a file, torch hides the reason of a failure.
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)


class BestCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/best.ckpt`: the highest `val/macro_f1`, or the best by what the model names in `best_by`.

    It holds what evaluation and prediction need; the states of the optimizer and of callbacks are in `last.ckpt` alone.
    """

    def __init__(self) -> None:
        """Takes no options."""
        super().__init__(
            filename="best",
            monitor="val/macro_f1",
            mode="max",
            enable_version_counter=False,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=False,
            save_weights_only=True,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run folder, and the metric by which checkpoints of the model are compared."""
        self.dirpath = str(run_folder(trainer) / "checkpoints")
        monitor, mode = getattr(pl_module, "best_by", (self.monitor, self.mode))
        self.monitor = monitor
        self.mode = mode
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the best score where the run folder has moved, or its path is now spelled differently.

        (Lightning forgets the best score where `dirpath` is not equal to the one in the checkpoint.)
        """
        path = str(Path(self.dirpath or "", "best.ckpt"))
        best = state_dict["best_model_score"]
        moved: dict[str, Any] = {
            "dirpath": self.dirpath,
            "best_model_path": path,
            "kth_best_model_path": path,
            "best_k_models": {},
        }
        if best is not None:
            moved["best_k_models"] = {path: best}
        super().load_state_dict({**state_dict, **moved})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the checkpoint if it is the best so far, and prints the metrics of the validation."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            say(validation_line(trainer, self.monitor, self.best_model_score))


SHOWN_METRICS = {"val/nll": "loss", "val/accuracy": "accuracy", "val/macro_f1": "macro-F1"}
"""The metrics that are printed after each validation, and their names there."""


def validation_line(trainer: Trainer, monitor: str | None, best: torch.Tensor | None) -> str:
    """The metrics of a validation in `fit`, in one line.

    Args:
        trainer: After the validation.
        monitor: The metric by which checkpoints are compared.
        best: Its best value so far; None where no checkpoint is kept.
    """
    logged = trainer.callback_metrics
    found = [f"{name} {float(logged[key]):.4f}" for key, name in SHOWN_METRICS.items() if key in logged]
    line = f"validation at epoch {trainer.current_epoch + 1}, step {trainer.global_step}: {', '.join(found)}"
    if best is not None:
        line += f" (best {SHOWN_METRICS.get(monitor or '', monitor)} so far: {float(best):.4f})"
    return line


class LastCheckpoint(Checkpoint):
    """Keeps `checkpoints/last.ckpt`: after every 100 steps, after each validation, and at the end of training."""

    def __init__(self, every_n_steps: int = 100) -> None:
        """Stores the interval.

        Args:
            every_n_steps: Number of optimiser steps after which the checkpoint is saved.
        """
        self.every_n_steps = every_n_steps
        self._saved_at = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run folder."""
        self.path = run_folder(trainer) / "checkpoints" / "last.ckpt"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Does not save again the step that was resumed from."""
        self._saved_at = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Saves during an epoch."""
        if trainer.global_step % self.every_n_steps == 0 and trainer.global_step != self._saved_at:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the state that was just validated."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the final state."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
            self._saved_at = trainer.global_step
            trainer.save_checkpoint(self.path, weights_only=False)


class RandomStates(Callback):
    """Keeps the random states in checkpoints: Lightning does not, and dropout would differ after a resume."""

    def __init__(self) -> None:
        """Starts without a state to restore."""
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The states of Python, NumPy, torch, and each CUDA device, as tensors and lists."""
        version, internal, gauss = random.getstate()
        _, keys, position, has_gauss, cached = np.random.get_state()
        return {
            "python": [version, list(internal), gauss],
            "numpy": [torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the states until the first batch: code that runs before it draws random numbers too."""
        self._loaded = state_dict

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restores the states before the first batch."""
        if self._loaded is None:
            return
        state = self._loaded
        self._loaded = None
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        keys, *rest = state["numpy"]
        np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"].cpu())
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])
