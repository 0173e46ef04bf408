"""Checks of the scores of a method: type, shape and dtype of each batch, and the values of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textclf.errors import UserError
from textclf.processes import raise_on_all, share

TOLERANCE = 1e-3
"""Largest absolute log of a row's summed probabilities, in nats."""
ROUNDED = 0.1
"""Up to this value the scores are probably log-probabilities that were rounded."""
SHOWN = 5
"""Most entries of a row in a message."""


class Fault(IntEnum):
    """What is wrong with the values of a row; 0 is a row without a fault."""

    SUM_TOO_LOW = 1
    SUM_TOO_HIGH = 2
    NO_CLASS = 3
    INFINITE = 4
    PARTLY_NAN = 5


@dataclass(frozen=True)
class ScoreRules:
    """What the scores of a method must be.

    Attributes:
        source: Class and method that returned them, such as `KNN.log_scores`: the beginning of each message.
        num_classes: Number of columns.
        has_probabilities: Whether the scores are log-probabilities.
        loses_mass: Whether the probabilities of a row may sum to less than 1.
        precision: The trainer's precision; None without a trainer.
    """

    source: str
    num_classes: int
    has_probabilities: bool = True
    loses_mass: bool = False
    precision: str | None = None

    def checked(self, scores: Any, rows: int, device: torch.device) -> Tensor:
        """Checks type, shape and dtype.

        Args:
            scores: What the method returned.
            rows: Number of rows in the batch.
            device: Device of the result.

        Returns:
            A copy of the scores, shape `(rows, num_classes)`, without gradients: the method may reuse its own tensor.

        Raises:
            UserError: They are not a float32 or float64 tensor of this shape.
        """
        shape = (rows, self.num_classes)
        wanted = f"wanted a float32 or float64 tensor of shape {shape}, one row per text and one column per label"
        if not isinstance(scores, Tensor):
            raise UserError(f"{self.source} gave {_kind_of(scores)}: {wanted}{_conversion_of(scores)}")
        dtype = _name_of(scores.dtype)
        article = "an" if dtype[0] in "aeiou" else "a"
        given = f"{self.source} gave {article} {dtype} tensor of shape {tuple(scores.shape)}"
        if scores.layout != torch.strided:
            raise UserError(f"{given} that is sparse: {wanted}; call .to_dense()")
        if scores.is_meta:
            raise UserError(f"{given} on the device meta, where there are no values: {wanted}")
        if scores.dtype not in (torch.float32, torch.float64):
            raise UserError(f"{given}: {wanted}{self._reason_of(scores.dtype)}")
        if scores.shape != shape:
            raise UserError(f"{given}: {wanted}{_remedy_of_shape(tuple(scores.shape), shape)}")
        if device.type == "mps":  # it has no float64
            scores = scores.float()
        copied: Tensor = scores.detach().to(device, copy=True)
        return copied

    def _reason_of(self, dtype: torch.dtype) -> str:
        """Where a dtype probably comes from, and what to write instead."""
        precisions = {torch.bfloat16: "bf16", torch.float16: "16"}
        if dtype not in precisions:
            return ""
        cause = ""
        if self.precision is not None and self.precision.startswith(precisions[dtype]):
            cause = f"precision {self.precision} computes in {_name_of(dtype)}: "
        return f"; {cause}write logits.float().log_softmax(dim=-1)"

    def all_normalized(self, scores: Tensor) -> bool:
        """Whether the probabilities of every row sum to 1: a fast test that most batches pass.

        Such a row has no other fault: with NaN, +inf, or no possible class the sum would not be 1.
        """
        return self.has_probabilities and bool((scores.logsumexp(dim=1).abs() <= TOLERANCE).all())

    def faults(self, scores: Tensor) -> Tensor:
        """Finds what is wrong with each row.

        Args:
            scores: Float, shape `(batch, num_classes)`.

        Returns:
            A `Fault` or 0 for each row, int64, shape `(batch,)`.
        """
        invalid = scores.isnan()
        found = torch.zeros(len(scores), dtype=torch.int64)
        if self.has_probabilities:
            total = scores.logsumexp(dim=1)
            found.masked_fill_(total > TOLERANCE, Fault.SUM_TOO_HIGH)
            if not self.loses_mass:
                found.masked_fill_(total < -TOLERANCE, Fault.SUM_TOO_LOW)
        found.masked_fill_(scores.isneginf().all(dim=1), Fault.NO_CLASS)
        found.masked_fill_(scores.isposinf().any(dim=1), Fault.INFINITE)
        return found.masked_fill_(invalid.any(dim=1) & ~invalid.all(dim=1), Fault.PARTLY_NAN)

    def error(self, fault: Fault, scores: np.ndarray, row: int) -> UserError:
        """The error about a row.

        Args:
            fault: What is wrong with it.
            scores: Of the row, shape `(num_classes,)`.
            row: Its index in the split, from 0.
        """
        given = f"{self.source} gave {_row_of(scores)} for row {row} (counted from 0)"
        wanted = "wanted log-probabilities, at most 0" if self.has_probabilities else "wanted finite scores or -inf"
        match fault:
            case Fault.PARTLY_NAN:
                text = f"{given}: wanted NaN in no entry, or in the whole row where the answer fits no class"
            case Fault.INFINITE:
                text = f"{given}: {wanted}"
            case Fault.NO_CLASS:
                text = f"{given}: wanted a class that is possible; an answer that fits no class is a row of NaN"
            case _:
                total = np.exp(np.logaddexp.reduce(scores))
                text = f"{given}, whose exponentials sum to {total:.4g}: wanted log-probabilities, whose exponentials "
                text += f"sum to 1; {_remedy_of_sum(scores, fault)}"
        return UserError(text)

    def all_invalid(self, rows: int, diverged: bool) -> UserError:
        """The error of an evaluation in which every score is NaN.

        Args:
            rows: Number of rows.
            diverged: Whether the method was trained, so that the cause is probably its training.
        """
        if diverged:
            reason = (
                "training has diverged: try a lower learning rate, --trainer.gradient_clip_val 1.0, or "
                f"--trainer.precision 32-true (it is {self.precision})"
            )
        else:
            reason = (
                "not one has an answer: look at the inputs and weights, or set may_not_answer = True where answers may "
                "fit no class"
            )
        return UserError(f"{self.source} gave NaN for all {rows} rows: {reason}")


class ScoreCheck:
    """Checks the scores of an evaluation.

    In one process an error is raised as soon as it is found, in `add`. Of several processes, all raise the error of one
    of them: at the first batch, in which most wrong methods are wrong already, or in `finish`.
    """

    def __init__(self, processes: int = 1) -> None:
        """Starts without rows.

        Args:
            processes: Number of processes of the evaluation.
        """
        self.processes = processes
        self._batches = 0
        self._rows = 0
        self._invalid = 0
        self._pending: list[tuple[ScoreRules, Tensor, Tensor, bool]] = []
        self._error: UserError | None = None
        self._counts: tuple[int, int, int] | None = None

    def add(self, rules: ScoreRules, scores: Any, rows: Tensor, device: torch.device, counted: bool = True) -> Tensor:
        """Checks the scores of a batch.

        Args:
            rules: What they must be.
            scores: What the method returned.
            rows: Index of each row in its split, int64, shape `(batch,)`.
            device: Device of the result.
            counted: Whether the rows are counted; those of a filler batch are not.

        Returns:
            A copy of the scores, shape `(batch, num_classes)`; NaN where they cannot be used and the error is raised
            later.

        Raises:
            UserError: The scores break the rules.
        """
        self._batches += 1
        try:
            checked = rules.checked(scores, len(rows), device)
        except UserError as error:
            if self.processes == 1:
                raise
            # The other processes wait for this one in their next exchange: it must get there.
            self._error = self._error or error
            checked = torch.full((len(rows), rules.num_classes), torch.nan, device=device)
        if counted:
            self._rows += len(rows)
        self._pending.append((rules, checked, rows, counted))
        first = self._batches == 1
        if first or len(self._pending) >= batches_per_check(device):
            self._check_pending()
        if first or self.processes == 1:
            raise_on_all(self._error, self.processes)
        return checked

    def _check_pending(self) -> None:
        """Checks the values of the pending batches; keeps the error of the first wrong row, and counts rows of NaN."""
        pending = self._pending
        self._pending = []
        if not pending:
            return
        rules = pending[0][0]
        if rules.all_normalized(torch.cat([scores for _, scores, _, _ in pending])):
            return
        for rules, scores, rows, counted in pending:
            scores = scores.cpu()
            if counted:
                self._invalid += int(scores.isnan().all(dim=1).sum())
            faults = rules.faults(scores)
            if faults.any() and self._error is None:
                place = int(faults.nonzero()[0])
                fault = Fault(int(faults[place]))
                self._error = rules.error(fault, scores[place].double().numpy(), int(rows[place]))

    def finish(self) -> tuple[int, int, int]:
        """Raises what was found in the evaluation; called on all processes. A second call has no effect.

        Returns:
            Of all processes: the batches that were checked, the rows that count, and the rows of NaN among these.

        Raises:
            UserError: The scores of a process break the rules.
        """
        if self._counts is None:
            self._check_pending()
            raise_on_all(self._error, self.processes)
            counts = share((self._batches, self._rows, self._invalid), self.processes)
            batches, rows, invalid = (sum(column) for column in zip(*counts, strict=True))
            self._counts = batches, rows, invalid
        return self._counts


def batches_per_check(device: torch.device) -> int:
    """Batches whose values are checked together: each check waits for a device that is not the CPU."""
    return 1 if device.type == "cpu" else 16


def check_outputs(rules: ScoreRules, outputs: Any, names: Sequence[str], rows: Tensor) -> None:
    """Checks what a step returned for a batch: that every result of every row is there.

    Args:
        rules: Of the step; `source` names it.
        outputs: What it returned.
        names: The results that are read.
        rows: Index of each row in its split, shape `(rows,)`.

    Raises:
        UserError: A result is missing, or is not that of the batch's rows.
    """
    wanted = f"wanted a dictionary with {', '.join(names)}; override log_scores to change what is predicted"
    if not isinstance(outputs, Mapping):
        raise UserError(f"{rules.source} gave {_kind_of(outputs)}: {wanted}")
    if missing := [name for name in names if name not in outputs]:
        raise UserError(f"{rules.source} gave a dictionary without {', '.join(missing)}: {wanted}")
    for name in names:
        value = outputs[name]
        per_row = name in ("row", "prediction")
        shape = (len(rows),) if per_row else (len(rows), rules.num_classes)
        if not isinstance(value, Tensor) or value.shape != shape:
            given = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"as {_kind_of(value)}"
            raise UserError(f"{rules.source} gave {name} {given}: wanted a tensor of shape {shape}")
        if per_row and value.dtype != torch.int64:
            raise UserError(f"{rules.source} gave {name} of dtype {_name_of(value.dtype)}: wanted int64")
    if outputs["row"] is not rows and not torch.equal(outputs["row"].cpu(), rows.cpu()):
        raise UserError(f"{rules.source} gave other places as row than the batch has: return batch['row']")


def check_predictions(rules: ScoreRules, predictions: Tensor) -> None:
    """Checks that each answer is a class.

    Args:
        rules: Of the step that gave them.
        predictions: Class indices, -1 for an answer that fits no class, shape `(batch,)`.

    Raises:
        UserError: One of them is not a class.
    """
    wrong = predictions[(predictions < -1) | (predictions >= rules.num_classes)].tolist()
    if wrong:
        raise UserError(
            f"{rules.source} gave prediction {wrong[0]}: wanted a class from 0 to {rules.num_classes - 1}, or -1 for "
            "an answer that fits no class"
        )


def _kind_of(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape}"
    if value is None:
        return "None"
    return f"an object of type {type(value).__name__}"


def _conversion_of(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "; write torch.from_numpy(scores)"
    if value is None:
        return "; return the scores"
    if hasattr(value, "logits"):
        return "; write output.logits.float().log_softmax(dim=-1)"
    return ""


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _remedy_of_shape(shape: Sequence[int], wanted: Sequence[int]) -> str:
    if len(shape) < len(wanted) and tuple(shape) == tuple(size for size in wanted if size != 1):
        return "; .squeeze() without a dimension also removes the one of a single row"
    if tuple(shape) == tuple(reversed(wanted)):
        return "; transpose it"
    return ""


def _row_of(scores: np.ndarray) -> str:
    shown = [f"{score:.4g}" for score in scores[:SHOWN]]
    if len(scores) > SHOWN:
        shown.append("...")
    return f"[{', '.join(shown)}]"


def _remedy_of_sum(scores: np.ndarray, fault: Fault) -> str:
    """What a row whose probabilities do not sum to 1 probably is, and what to write."""
    if scores.min() >= 0 and abs(scores.sum() - 1) <= ROUNDED:
        return "these look like probabilities: take .log()"
    if scores.min() >= 0 and abs(np.exp(-scores).sum() - 1) <= TOLERANCE:
        return "these look like negative log-probabilities: change their sign"
    if abs(np.logaddexp.reduce(scores)) <= ROUNDED:
        return "these look rounded: take .float() before .log_softmax(dim=-1)"
    if fault == Fault.SUM_TOO_HIGH:
        return "these look like logits: take .log_softmax(dim=-1)"
    return "take .log_softmax(dim=-1), or set loses_mass = True where probability is lost on purpose"
