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


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    (Lightning's own way writes to the system's temporary folder; from another file system that is copied over the old
    one.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Saves it; what stood at `path` stays whole until then."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:  # given a path, torch hides why it failed
            torch.save(checkpoint, file)


class BestCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/best.ckpt`: the highest `val/macro_f1`, or what the model names in `best_by`.

    It holds what evaluation and prediction need; the states of optimizer and callbacks are in `last.ckpt` alone.
    """

    def __init__(self) -> None:
        """Nothing is left to choose."""
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
        """Finds the run folder, and what the model is judged by."""
        self.dirpath = str(run_folder(trainer) / "checkpoints")
        self.monitor, self.mode = getattr(pl_module, "best_by", (self.monitor, self.mode))
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the best score where the run folder is now written otherwise, or has moved."""
        path, best = str(Path(self.dirpath or "", "best.ckpt")), state_dict["best_model_score"]
        paths = {"best_model_path": path, "kth_best_model_path": path}
        known = {"dirpath": self.dirpath, "best_k_models": {} if best is None else {path: best}}
        super().load_state_dict({**state_dict, **paths, **known})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the checkpoint if it is the best so far, and says what the validation gave."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            variant = getattr(getattr(pl_module, "textclf", None), "variant", "")
            say(validation_line(trainer, variant, self.monitor, self.best_model_score))


FIGURES = {"val/nll": "loss", "val/accuracy": "accuracy", "val/macro_f1": "macro-F1"}
"""The figures that are said after each validation, and what they are called there."""


def validation_line(trainer: Trainer, variant: str, monitor: str | None, best: torch.Tensor | None) -> str:
    """What a validation in `fit` gave, in a line.

    Args:
        trainer: After the validation.
        variant: What the method tried in it; may be empty.
        monitor: The figure by which checkpoints are compared.
        best: Its best value so far; None where no checkpoint is kept.
    """
    logged = trainer.callback_metrics
    found = [f"{name} {float(logged[key]):.4f}" for key, name in FIGURES.items() if key in logged]
    line = f"validation at epoch {trainer.current_epoch + 1}, step {trainer.global_step}: "
    line += ", ".join([variant, *found] if variant else found)
    return line if best is None else f"{line} (best {FIGURES.get(monitor or '', monitor)} so far: {float(best):.4f})"


class LastCheckpoint(Checkpoint):
    """Keeps `checkpoints/last.ckpt`: after every 100 steps, each validation, and the end of training."""

    def __init__(self, every_n_steps: int = 100) -> None:
        """Takes the number of optimiser steps between two savings."""
        self.every_n_steps = every_n_steps
        self._saved_at = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run folder."""
        self.path = run_folder(trainer) / "checkpoints" / "last.ckpt"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Knows that what was resumed from is saved."""
        self._saved_at = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Saves in mid-epoch."""
        if trainer.global_step % self.every_n_steps == 0 and trainer.global_step != self._saved_at:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves what was just measured."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the end."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
            self._saved_at = trainer.global_step
            trainer.save_checkpoint(self.path, weights_only=False)


class RandomStates(Callback):
    """Keeps the random states in checkpoints: Lightning does not, and dropout would differ after a resume."""

    def __init__(self) -> None:
        """Starts with nothing to give back."""
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """States of Python, NumPy, torch, and each CUDA device, as tensors and lists."""
        version, internal, gauss = random.getstate()
        _, keys, position, has_gauss, cached = np.random.get_state()
        return {
            "python": [version, list(internal), gauss],
            "numpy": [torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps them until the first batch: what comes before it draws numbers too."""
        self._loaded = state_dict

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Gives them back."""
        if self._loaded is None:
            return
        state, self._loaded = self._loaded, None
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        keys, *rest = state["numpy"]
        np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"].cpu())
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
