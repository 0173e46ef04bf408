"""The check at the end of `fit` that a checkpoint holds the whole method: it is loaded once, and scores a few rows."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from textclf.console import say
from textclf.data.columns import without_kept
from textclf.data.contract import batch_of, encoded
from textclf.errors import UserError
from textclf.evaluation.calibration import calibrated
from textclf.models.checkpoint import read_checkpoint
from textclf.models.protocol import Classifier
from textclf.processes import on_first_process
from textclf.scoring.planning import is_out_of_memory

ROWS = 8
"""Number of rows that are scored."""
LARGEST = 1_000_000_000
"""Most parameters of a network that is built a second time: a larger one would cost too much memory and time."""
OTHER_SEED = 1_618_033
"""Seed of the random numbers with which the method is built again."""
TOLERANCE = 1e-3
"""Largest difference of a log-probability: with the same weights, scores differ by rounding only."""
REMEDY = (
    "keep what prepare and training find in self.fitted or in buffers (what encode reads, in self.fitted), and make "
    "layers in __init__ or configure_model"
)


class CheckpointReadBack(Callback):
    """Loads the last checkpoint at the end of `fit`, and compares its scores with those of the trained method.

    It finds attributes and layers that were made in `prepare` or in training: they are in memory, but not in the
    checkpoint. Both methods score the same rows with the same weights, in evaluation mode, with the same random
    numbers. The first process does it, and the others wait. The check is skipped for a network of more than `LARGEST`
    parameters, for weights that are divided among processes, and where no checkpoint was saved.
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares the scores of the trained method with those of its checkpoint.

        Raises:
            UserError: The checkpoint does not hold all of the method; on all processes.
        """
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            return
        on_first_process(partial(self._compare, trainer, pl_module), trainer)

    def _compare(self, trainer: Any, model: Any) -> None:
        path = saved_checkpoint(trainer)
        if path is None:
            return
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if parameters > LARGEST:
            say(f"the checkpoint is not read back to check it: the network has {parameters:,} parameters")
            return
        checkpoint = read_checkpoint(path, mmap=True)
        with isolate_rng(), torch.compiler.set_stance("force_eager"):
            # Random numbers that are drawn but not kept must differ from those of the run, so that they are found.
            torch.manual_seed(OTHER_SEED)
            np.random.seed(OTHER_SEED)
            random.seed(OTHER_SEED)
            try:
                read_back(checkpoint, trainer, model)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                say("the checkpoint is not read back to check it: there is no memory for a second network")


def read_back(checkpoint: Mapping[str, Any], trainer: Any, model: Classifier) -> None:
    """Builds a method from its checkpoint, and compares its scores with those of the trained method.

    Args:
        checkpoint: The checkpoint.
        trainer: The trainer of the method.
        model: The trained method.

    Raises:
        UserError: The checkpoint does not hold all of the method.
    """
    copy = rebuilt(model, checkpoint)
    same_step = checkpoint["global_step"] == trainer.global_step
    rows: dict[str, Any] = {}
    if same_step and trainer.datamodule is not None:
        # Before its weights are loaded, as in a test: `encode` must not depend on them.
        rows = some_rows(trainer.datamodule)
        try:
            columns = _encoded(copy, rows)
        except Exception as error:  # the code of the class may raise any error
            raise _failed(type(model).__name__, error) from error
    load_weights(model, copy, checkpoint)
    if not same_step:
        say(
            "the scores of the checkpoint are not compared with those of the trained method: it was saved at step "
            f"{checkpoint['global_step']}, and training ended at step {trainer.global_step}"
        )
    elif rows:
        compare_scores(model, copy, rows, columns, trainer)


def saved_checkpoint(trainer: Any) -> Path | None:
    """The checkpoint that a trainer has saved last; None where there is none."""
    found = []
    for name in ("path", "last_model_path", "best_model_path"):
        for callback in trainer.checkpoint_callbacks:
            path = getattr(callback, name, None)
            if path and Path(path).is_file():
                found.append(Path(path))
    # Of files that were written at the same time, the first one: `path` is that of `last.ckpt`.
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def some_rows(data: Any) -> dict[str, Any]:
    """The columns of a few rows of validation, or of train where there is none, before they are encoded."""
    rows = without_kept(data.rows("validation" if data.has_split("validation") else "train"))
    indices = list(range(min(ROWS, len(rows))))
    return {**rows[indices], "row": indices, "filler": False}


def rebuilt(model: Classifier, checkpoint: Mapping[str, Any]) -> Classifier:
    """Builds a method from a checkpoint, all but its weights.

    Args:
        model: The trained method.
        checkpoint: Its checkpoint.

    Raises:
        UserError: It cannot be built, or the copy has other layers.
    """
    name = type(model).__name__
    try:
        copy = type(model).built_from(checkpoint)
    except UserError:
        raise
    except Exception as error:  # the code of the class may raise any error
        raise _failed(name, error) from error
    model.share_frozen(copy)
    layers = [key for key in checkpoint["state_dict"] if key not in copy.state_dict()]
    if layers:
        raise UserError(
            f"{name}: the checkpoint has {', '.join(layers[:5])}, which are not there when it is loaded: make layers "
            "and buffers in __init__ or configure_model (with sizes from self.fitted), not in prepare or training"
        )
    return copy


def load_weights(model: Classifier, copy: Classifier, checkpoint: Mapping[str, Any]) -> None:
    """Gives a copy of a method the weights of its checkpoint, then those of the method itself.

    Args:
        model: The trained method.
        copy: The method that was built from its checkpoint.
        checkpoint: The checkpoint.

    Raises:
        UserError: The weights do not fit.
    """
    try:
        copy.load_state_dict(checkpoint["state_dict"])
        copy.load_state_dict(model.state_dict())
    except (RuntimeError, ValueError) as error:
        raise _failed(type(model).__name__, error) from error


def compare_scores(
    model: Classifier, copy: Classifier, rows: dict[str, Any], rows_of_copy: dict[str, Any], trainer: Any
) -> None:
    """Refuses a copy whose scores differ from those of the method itself.

    A method whose own scores differ from one call to the next is not compared.

    Args:
        model: The trained method.
        copy: The method that was built from its checkpoint, with the same weights.
        rows: Columns of a few rows.
        rows_of_copy: The same rows, as the copy encoded them before its weights were loaded.
        trainer: The trainer of the method.

    Raises:
        UserError: The scores differ, or the copy cannot score.
    """
    name = type(model).__name__
    was_training = model.training
    copy = trainer.precision_plugin.convert_module(copy).to(model.device).eval()
    model.eval()
    try:
        try:
            scores = _scores(model, _encoded(model, rows))
            repeatable = _agree(scores, _scores(model, _encoded(model, rows)))
        except Exception as error:  # it needs what only a running trainer has
            if is_out_of_memory(error):
                raise
            return
        if not repeatable:
            return
        try:
            others = _scores(copy, rows_of_copy)
        except Exception as error:  # the code of the class may raise any error
            raise _failed(name, error) from error
    finally:
        model.train(was_training)
    for one, other in zip(scores, others, strict=True):
        if not _agree([one], [other]):
            difference = (one - other).abs().nan_to_num(torch.inf).max().item()
            raise UserError(
                f"{name} scores rows in another way once its checkpoint is loaded (a log-probability differs by "
                f"{difference:.3g}): {REMEDY}"
            )


def _encoded(model: Classifier, rows: dict[str, Any]) -> dict[str, Any]:
    """Columns of a few rows, with those that `encode` gives for them."""
    torch.manual_seed(0)
    return {**rows, **encoded(model, rows)}


def _scores(model: Classifier, rows: dict[str, Any]) -> list[Tensor]:
    """Log-scores of a few encoded rows, the calibrated ones, and those that decide, float64 on the CPU."""
    torch.manual_seed(0)
    batch = batch_of(model.collate, rows)
    batch = {**batch, "id": rows["id"], "row": torch.tensor(rows["row"]), "filler": False}
    with torch.inference_mode():
        scores = model.checked_scores(model.transfer_batch_to_device(batch, model.device, 0))
    uncalibrated = scores.double().cpu()
    matrices = [uncalibrated]
    for decides in (False, True):
        calibrator = model.textclf.calibrator(decides)
        # A calibrator may be missing on one of the two sides: its scores are then compared with uncalibrated ones.
        matrices.append(uncalibrated if calibrator is None else calibrated(calibrator, uncalibrated))
    return matrices


def _agree(scores: list[Tensor], others: list[Tensor]) -> bool:
    pairs = zip(scores, others, strict=True)
    return all(torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True) for one, other in pairs)


def _failed(name: str, error: Exception) -> Exception:
    """The error about a copy that fails; where memory is missing, that error itself."""
    if is_out_of_memory(error):
        return error
    message = (str(error).splitlines() or [""])[0]
    return UserError(
        f"{name} cannot be used once its checkpoint is loaded ({type(error).__name__}: {message}): {REMEDY}"
    )
