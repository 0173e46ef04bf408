"""Calibrators: what is fitted to validation rows, and corrects the scores or the decisions of a method afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from textclf.class_paths import public_path
from textclf.data.labels import normalized_name
from textclf.errors import UserError
from textclf.evaluation.thresholds import tune_thresholds
from textclf.plain_values import plain_state

BOUNDS = (0.05, 20.0)
"""Of the temperature: where every row is right, the likelihood alone would choose 0."""
LARGEST_ERROR = 1e-3
"""Of the log of the summed probabilities that a calibrator gives."""


class Calibrator(ABC):
    """Corrects the scores of a method by what it has fitted to validation rows.

    A subclass defines `fit`, which stores what it finds in attributes, and `apply`. The attributes are kept in the
    checkpoint: numbers, strings, lists, dictionaries and NumPy arrays. The callback that fits one is
    `textclf.run.calibration.Calibration`.

    Attributes:
        decides: False where `apply` gives log-probabilities, which are reported in place of the method's own. True
            where it gives scores whose highest is the answer, while the probabilities stay as they are.
    """

    decides: ClassVar[bool] = False

    @abstractmethod
    def fit(self, scores: np.ndarray, labels: np.ndarray) -> Self:
        """Fits, and stores what it finds in attributes.

        Args:
            scores: The method's own log-probabilities of validation rows, float64, `(rows, num_classes)`, without the
                rows of answers that fit no class. They may be `-inf`.
            labels: Class indices, int64, `(rows,)`.

        Returns:
            The calibrator.
        """

    @abstractmethod
    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Corrects scores.

        Args:
            scores: The method's own log-probabilities, float64, `(batch, num_classes)`, without NaN.

        Returns:
            Log-probabilities of the same shape; where `decides`, scores to choose the answer by.
        """

    @property
    def state(self) -> dict[str, Any]:
        """The attributes as the checkpoint keeps them.

        Raises:
            UserError: One of them is no plain value.
        """
        name = type(self).__name__
        return {key: plain_state(value, f"{name}.{key}") for key, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Builds a fitted calibrator from its `state`; tensors become NumPy arrays."""
        calibrator = cls.__new__(cls)
        vars(calibrator).update({name: _with_arrays(value) for name, value in state.items()})
        return calibrator


class Temperature(Calibrator):
    """Temperature scaling: one number that log-scores are divided by before they are normalised again.

    Source: Guo et al., 2017, https://arxiv.org/abs/1706.04599.

    Attributes:
        temperature: The number, within `BOUNDS`.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        """Starts with a temperature, which `fit` replaces."""
        self.temperature = temperature

    def fit(self, scores: np.ndarray, labels: np.ndarray) -> Self:
        """Finds the temperature of the lowest negative log-likelihood."""
        self.temperature = fit_temperature(scores, labels)
        return self

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Divides, and normalises again."""
        return log_softmax(scores / self.temperature)


class Thresholds(Calibrator):
    """Decision thresholds of high macro-F1: the class of the highest multiple of its threshold is answered.

    Attributes:
        thresholds: Of the classes' probabilities, above 0, shape `(num_classes,)`.
    """

    decides = True

    def __init__(self, thresholds: Sequence[float] | np.ndarray = ()) -> None:
        """Starts with thresholds, which `fit` replaces."""
        self.thresholds = np.asarray(thresholds, dtype=np.float64)

    def fit(self, scores: np.ndarray, labels: np.ndarray) -> Self:
        """Tunes them."""
        self.thresholds = tune_thresholds(scores, labels)
        return self

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Divides the probabilities by the thresholds, in log space and without normalising."""
        corrected: np.ndarray = scores - np.log(self.thresholds)
        return corrected


def calibrated(calibrator: Calibrator, log_scores: Tensor) -> Tensor:
    """Applies a calibrator to a batch; rows of NaN stay as they are.

    Args:
        calibrator: A fitted one.
        log_scores: As the method gives them, `(batch, num_classes)`.

    Returns:
        Float64 on the CPU, of the same shape.

    Raises:
        UserError: The calibrator does not give log-probabilities.
    """
    scores = log_scores.detach().cpu().double().numpy()
    answered = ~np.isnan(scores).any(axis=1)
    result = np.full_like(scores, np.nan)
    if answered.any():
        result[answered] = _checked(calibrator, calibrator.apply(scores[answered].copy()), scores[answered].shape)
    return torch.from_numpy(result)


def _checked(calibrator: Calibrator, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    where = f"{type(calibrator).__name__}.apply gave"
    if not isinstance(given, np.ndarray) or given.shape != shape or given.dtype.kind != "f":
        what = f"a {given.dtype} array of shape {given.shape}" if isinstance(given, np.ndarray) else f"a {_kind(given)}"
        raise UserError(f"{where} {what}: wanted a NumPy array of floats of shape {shape}, as the scores have")
    if np.isnan(given).any() or np.isposinf(given).any():
        raise UserError(f"{where} NaN or inf: wanted log-probabilities")
    if not calibrator.decides:
        error = float(np.abs(np.logaddexp.reduce(given, axis=1)).max())
        if error > LARGEST_ERROR:
            raise UserError(
                f"{where} scores whose probabilities do not sum to 1 (the log of a sum is off by {error:.3g}): wanted "
                "log-probabilities; set `decides = True` for scores that only choose the answer"
            )
    return given


def _kind(value: Any) -> str:
    return type(value).__name__


def _with_arrays(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu().numpy()
    if isinstance(value, dict):
        return {key: _with_arrays(entry) for key, entry in value.items()}
    return [_with_arrays(entry) for entry in value] if isinstance(value, list) else value


# In a checkpoint and in a prediction table


def stored_calibrators(calibrators: Iterable[Calibrator], label_names: Sequence[str]) -> dict[str, Any]:
    """Gives fitted calibrators as plain values.

    Args:
        calibrators: What a method has.
        label_names: Name of each class, in the method's order.

    Returns:
        `temperature`, a number, 1 without one; `thresholds` by class name, None without them; and `calibrators`, all
        others: `class_path` and `state` of each.
    """
    stored: dict[str, Any] = {"temperature": 1.0, "thresholds": None, "calibrators": []}
    for calibrator in calibrators:
        kind = type(calibrator)
        if kind is Temperature:
            stored["temperature"] = calibrator.state["temperature"]
        elif kind is Thresholds:
            stored["thresholds"] = dict(zip(label_names, calibrator.state["thresholds"].tolist(), strict=True))
        else:
            stored["calibrators"].append({"class_path": public_path(kind), "state": calibrator.state})
    return stored


def restored_calibrators(
    stored: Mapping[str, Any], label_names: Sequence[str], resolve: Callable[[str], type[Calibrator]]
) -> tuple[Calibrator, ...]:
    """Builds what `stored_calibrators` gave.

    Args:
        stored: Its result; `calibrators` is absent in older checkpoints.
        label_names: Name of each class, in the order of the checkpoint.
        resolve: Finds the class of a class path.
    """
    calibrators: list[Calibrator] = []
    if stored["temperature"] != 1:
        calibrators.append(Temperature(stored["temperature"]))
    if stored["thresholds"] is not None:
        limits = {normalized_name(name): limit for name, limit in stored["thresholds"].items()}
        calibrators.append(Thresholds([limits[name] for name in label_names]))
    others = stored.get("calibrators", [])
    calibrators += [resolve(each["class_path"]).from_state(each["state"]) for each in others]
    return tuple(calibrators)


# Temperature


def fit_temperature(log_scores: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature with the lowest negative log-likelihood.

    Args:
        log_scores: Log-probabilities, float64, `(rows, num_classes)`. Rows of NaN, and rows whose label has
            probability 0, say nothing of the temperature, and are left out.
        labels: Class indices, `(rows,)`.

    Returns:
        A number within `BOUNDS`; 1 where no other is better.
    """
    from scipy.optimize import minimize_scalar

    usable = np.isfinite(log_scores[np.arange(len(labels)), labels])
    log_scores, labels = log_scores[usable], labels[usable]
    if not len(labels):
        return 1.0

    def loss(log_temperature: float) -> float:
        return mean_nll(log_scores, labels, float(np.exp(log_temperature)))

    # In 1 / temperature the likelihood is concave, so there is one optimum, and none other to be caught in.
    found = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def mean_nll(log_scores: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood of the labels, in nats, at a temperature.

    Args:
        log_scores: Log-probabilities, `(rows, num_classes)`.
        labels: Class indices, `(rows,)`.
        temperature: What the scores are divided by before they are normalised again.
    """
    return float(-log_softmax(log_scores / temperature)[np.arange(len(labels)), labels].mean())


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Normalises scores over the classes.

    Args:
        scores: Float64, `(rows, num_classes)`; each row has a finite one.

    Returns:
        Log-probabilities of the same shape.
    """
    highest = scores.max(axis=1, keepdims=True)
    totals = np.log(np.exp(scores - highest).sum(axis=1, keepdims=True))
    normalized: np.ndarray = scores - highest - totals
    return normalized
