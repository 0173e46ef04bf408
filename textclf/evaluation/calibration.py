"""Calibrators: fitted to validation rows, they correct the scores or the decisions of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from textclf.classes.paths import public_path
from textclf.data.labels import normalized_name
from textclf.errors import UserError
from textclf.plain_values import plain_state

BOUNDS = (0.05, 20.0)
"""Smallest and largest temperature: if every row is correct, the likelihood alone would choose 0."""
ROUNDS = 10
"""Maximum number of passes over the classes; the search nearly always ends earlier, when a pass changes nothing."""
LARGEST_ERROR = 1e-3
"""Largest absolute log of the sum of a row's probabilities that a calibrator may return."""


class Calibrator(ABC):
    """Base class of calibrators, which are fitted to validation rows and correct the scores of a method.

    A subclass defines `fit`, which stores its result in attributes, and `apply`. The attributes are saved in the
    checkpoint: numbers, strings, lists, dictionaries and NumPy arrays. The callback that fits one is
    `textclf.run.calibration.Calibration`.

    Attributes:
        decides: False if `apply` returns log-probabilities, which are reported instead of the method's own. True if it
            returns scores whose highest is the prediction, while the reported probabilities are the method's own.
    """

    decides: ClassVar[bool] = False

    @abstractmethod
    def fit(self, scores: np.ndarray, labels: np.ndarray) -> Self:
        """Fits, and stores the result in attributes.

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
            Log-probabilities of the same shape; if `decides`, scores whose highest is the prediction.
        """

    @property
    def state(self) -> dict[str, Any]:
        """The attributes as the checkpoint keeps them.

        Raises:
            UserError: One of them is not a plain value.
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
        """Takes an initial temperature, which `fit` replaces."""
        self.temperature = temperature

    def fit(self, scores: np.ndarray, labels: np.ndarray) -> Self:
        """Finds the temperature of the lowest negative log-likelihood."""
        self.temperature = fit_temperature(scores, labels)
        return self

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Divides, and normalises again."""
        return log_softmax(scores / self.temperature)


class Thresholds(Calibrator):
    """Decision thresholds of high macro-F1: the class with the highest ratio of probability to threshold is predicted.

    Attributes:
        thresholds: Of the classes' probabilities, above 0, shape `(num_classes,)`.
    """

    decides = True

    def __init__(self, thresholds: Sequence[float] | np.ndarray = ()) -> None:
        """Takes initial thresholds, which `fit` replaces."""
        self.thresholds = np.asarray(thresholds, dtype=np.float64)

    def fit(self, scores: np.ndarray, labels: np.ndarray) -> Self:
        """Tunes the thresholds for macro-F1."""
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
        what = f"a {type(given).__name__}"
        if isinstance(given, np.ndarray):
            what = f"a {given.dtype} array of shape {given.shape}"
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


def _with_arrays(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu().numpy()
    if isinstance(value, dict):
        return {key: _with_arrays(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_arrays(entry) for entry in value]
    return value


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
        calibrators.append(Temperature(float(stored["temperature"])))
    if stored["thresholds"] is not None:
        limits = {normalized_name(name): float(limit) for name, limit in stored["thresholds"].items()}
        calibrators.append(Thresholds([limits[name] for name in label_names]))
    others = stored.get("calibrators", [])
    calibrators += [resolve(each["class_path"]).from_state(each["state"]) for each in others]
    return tuple(calibrators)


# Temperature


def fit_temperature(log_scores: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature with the lowest negative log-likelihood.

    Args:
        log_scores: Log-probabilities, float64, `(rows, num_classes)`. Rows of NaN, and rows whose label has
            probability 0, do not depend on the temperature, and are ignored.
        labels: Class indices, `(rows,)`.

    Returns:
        A number within `BOUNDS`; 1 if no other is better.
    """
    from scipy.optimize import minimize_scalar

    usable = np.isfinite(log_scores[np.arange(len(labels)), labels])
    log_scores, labels = log_scores[usable], labels[usable]
    if not len(labels):
        return 1.0

    def loss(log_temperature: float) -> float:
        return mean_nll(log_scores, labels, float(np.exp(log_temperature)))

    # The likelihood is concave in 1 / temperature, so the only local optimum is the global one.
    found = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def mean_nll(log_scores: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood of the labels, in nats, at a temperature.

    Args:
        log_scores: Log-probabilities, `(rows, num_classes)`.
        labels: Class indices, `(rows,)`.
        temperature: Divisor of the scores before they are normalised again.
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


# Thresholds


def tune_thresholds(log_scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Finds thresholds of high macro-F1, never lower than without thresholds, by coordinate ascent over the classes.

    The class with the highest ratio of probability to threshold is predicted. Each step is exact: of all positions of a
    class's threshold among the rows, the best is chosen, and of equally good ones the one that changes least. Source,
    for two classes: Lipton et al., 2014, https://arxiv.org/abs/1402.1892.

    Args:
        log_scores: Log-probabilities of validation rows, shape `(rows, num_classes)`; rows of NaN are ignored.
        labels: Their classes, int64, shape `(rows,)`.

    Returns:
        Shape `(num_classes,)`, summing to 1.
    """
    answered = ~np.isnan(log_scores).any(axis=1)
    log_scores = np.maximum(log_scores[answered], -1e4)  # -inf stays the lowest, and differences are not NaN
    labels = labels[answered]
    num_classes = log_scores.shape[1]
    log_thresholds = np.zeros(num_classes)
    for _ in range(ROUNDS if len(labels) else 0):
        before = log_thresholds.copy()
        for k in range(num_classes):
            log_thresholds[k] += _best_cut(log_scores - log_thresholds, labels, k)
        if np.array_equal(before, log_thresholds):
            break
    thresholds: np.ndarray = np.exp(log_thresholds - np.logaddexp.reduce(log_thresholds))
    return thresholds


def _best_cut(shifted: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The amount to add to the log-threshold of class `k`; 0 if no other value is better.

    A row is predicted as `k` if its lead, the score of `k` minus that of the best other class (its rival), is above the
    cut. So for the rows in order of lead, each cut predicts the first ones as `k` and the others as their rivals.

    Args:
        shifted: Log-probabilities minus log-thresholds, shape (rows, num_classes).
        labels: Class of each row.
        k: The class whose threshold is moved.
    """
    rows, num_classes = shifted.shape
    others = shifted.copy()
    others[:, k] = -np.inf
    rival = others.argmax(axis=1)
    lead = shifted[:, k] - others.max(axis=1)
    order = np.argsort(-lead, kind="stable")
    lead, labels, rival = lead[order], labels[order], rival[order]
    one_hot = np.eye(num_classes, dtype=np.int64)
    rivals = one_hot[rival]
    correct_rivals = rivals * (labels == rival)[:, None]
    # Row 0: all rows are predicted as their rivals. Row m: the changes when row m - 1 is predicted as k instead.
    correct = np.zeros((rows + 1, num_classes), dtype=np.int64)
    correct[0] = correct_rivals.sum(axis=0)
    correct[1:] = one_hot[k] * (labels == k)[:, None] - correct_rivals
    predicted = np.zeros_like(correct)
    predicted[0] = rivals.sum(axis=0)
    predicted[1:] = one_hot[k] - rivals
    support = np.bincount(labels, minlength=num_classes)
    twice_correct = 2 * correct.cumsum(axis=0)
    total = predicted.cumsum(axis=0) + support
    f1 = np.divide(twice_correct, total, out=np.zeros(total.shape), where=total > 0)
    macro_f1 = f1.mean(axis=1)
    # A cut must lie between two different leads.
    cuts = np.concatenate([[lead[0] + 1], (lead[:-1] + lead[1:]) / 2, [lead[-1] - 1]])
    is_possible = np.concatenate([[True], lead[:-1] > lead[1:], [True]])
    current = int((lead > 0).sum())
    better = np.flatnonzero(is_possible & (macro_f1 > macro_f1[current] + 1e-12))
    if not len(better):
        return 0.0
    best = better[macro_f1[better] >= macro_f1[better].max() - 1e-12]
    smallest_change = np.abs(cuts[best]).argmin()
    return float(cuts[best[smallest_change]])
