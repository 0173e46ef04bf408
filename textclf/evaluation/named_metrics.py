"""Metrics given by class path, such as those of torchmetrics, computed over all rows of a split."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from textclf.classes.user_code import import_path
from textclf.errors import UserError
from textclf.evaluation.answers import METRICS
from textclf.evaluation.metrics import KEYS

Given = Literal["probabilities", "probability", "predictions"]
"""Input of a metric: probabilities `(rows, num_classes)`, those of class 1 `(rows,)`, or class indices `(rows,)`."""
ENTRY = ("class_path", "init_args", "name", "given")
BOUNDS = tuple(f"{metric}_{bound}" for metric in METRICS for bound in ("low", "high"))
TAKEN = (*KEYS, *BOUNDS, "examples")
"""Names of numbers of every report."""


@dataclass(frozen=True)
class NamedMetric:
    """A metric by its class path.

    Attributes:
        class_path: Of a class with `update(preds, target)` and `compute()`, as torchmetrics has them.
        name: Its name in logs and reports.
        init_args: Arguments of the class; `num_classes` and `task` are filled in where it takes them.
        given: What `update` is given; None to find out.
    """

    class_path: str
    name: str
    init_args: Mapping[str, Any] = field(default_factory=dict)
    given: Given | None = None

    @classmethod
    def of(cls, entry: str | Mapping[str, Any]) -> NamedMetric:
        """Reads an entry of a configuration: a class path, or a mapping with `class_path` and any of the others.

        Raises:
            UserError: There is no such class, or the mapping has other keys.
        """
        settings: dict[str, Any] = {"class_path": entry} if isinstance(entry, str) else dict(entry)
        unknown = [key for key in settings if key not in ENTRY]
        if unknown or "class_path" not in settings:
            key = unknown[0] if unknown else "class_path"
            raise UserError(f"metrics: {key!r} in {entry!r}: give class_path, and any of {', '.join(ENTRY[1:])}")
        path = str(settings["class_path"])
        given = settings.get("given")
        if "." not in path:
            raise UserError(f"metrics: {path!r} is not a dotted path: write it as torchmetrics.classification.{path}")
        if given is not None and given not in get_args(Given):
            raise UserError(f"metrics: given {given!r} of {path}: choose one of {', '.join(get_args(Given))}")
        name = str(settings.get("name") or default_name(path))
        if name in TAKEN:
            raise UserError(f"metrics: {path} would take the place of {name!r}: give it another name")
        metric = cls(path, name, settings.get("init_args") or {}, given)
        metric.kind()
        return metric

    def kind(self) -> type[Any]:
        """The class."""
        found = import_path(self.class_path, "metric")
        if not (isinstance(found, type) and hasattr(found, "update") and hasattr(found, "compute")):
            methods = "update(preds, target) and compute()"
            raise UserError(f"metric {self.class_path!r} is not a class with {methods}: give one of torchmetrics")
        return found

    def build(self, num_classes: int) -> Any:
        """A metric without rows.

        Raises:
            UserError: The class does not take the arguments.
        """
        kind = self.kind()
        known = {"num_classes": num_classes, "task": "multiclass"}
        taken = inspect.signature(kind).parameters
        arguments = {name: value for name, value in known.items() if name in taken}
        arguments.update(self.init_args)
        try:
            metric = kind(**arguments)
        except (TypeError, ValueError) as error:
            raise UserError(f"metric {self.class_path}: {str(error).splitlines()[0]}: change its init_args") from error
        metric.distributed_available_fn = lambda: False  # it is given the rows of all processes
        return metric

    def value(self, num_classes: int, given: Given, scores: Tensor, predictions: Tensor, labels: Tensor) -> Any:
        """Computes it.

        Args:
            num_classes: Number of classes.
            given: What to give it.
            scores: Log-probabilities, `(rows, num_classes)`.
            predictions: Class indices, `(rows,)`.
            labels: Class indices, `(rows,)`.
        """
        # Above 1 by rounding, torchmetrics would take them for logits.
        probabilities = scores.exp().clamp(max=1).float()
        inputs = {"probabilities": probabilities, "predictions": predictions, "probability": probabilities[:, -1]}
        metric = self.build(num_classes)
        metric.update(inputs[given], labels)
        return metric.compute()

    def wants(self, num_classes: int) -> Given:
        """Finds out its input: probabilities where its value depends on them, else predictions.

        It is computed on invented rows twice: with the same most probable classes, but with other probabilities.

        Raises:
            UserError: It takes neither, or has not one value.
        """
        if num_classes > 2 and self.kind().__name__.startswith("Binary"):
            raise UserError(f"metric {self.class_path} is for 2 classes, and the data has {num_classes}")
        values = self._tried(num_classes)
        probabilities = [given for given in values if given != "predictions"]
        chosen = next(iter(values))
        if probabilities and not _same(*values[probabilities[0]]):
            chosen = probabilities[0]
        value = values[chosen][0]
        if not _is_number(value):
            what = f"values of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise UserError(
                f"metric {self.class_path} gives {what}, and one number is wanted: give init_args such as "
                "{average: macro}, or another metric"
            )
        return chosen

    def _tried(self, num_classes: int) -> dict[Given, list[Any]]:
        """Its values on two sets of invented rows, for each kind of input that it takes."""
        scores, other, labels = invented_rows(num_classes)
        predictions = scores.argmax(1)
        kinds: list[Given] = ["predictions", "probabilities"]
        if num_classes == 2:
            kinds.append("probability")
        values: dict[Given, list[Any]] = {}
        reasons = []
        for given in [self.given] if self.given else kinds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    first = self.value(num_classes, given, scores, predictions, labels)
                    second = self.value(num_classes, given, other, predictions, labels)
                    values[given] = [first, second]
                except UserError:
                    raise
                except Exception as error:  # any class may raise any error for an input that it does not take
                    message = str(error).partition("\n")[0]
                    reasons.append(f"{given}: {type(error).__name__}: {message}")
        if not values:
            raise UserError(f"metric {self.class_path} fails with all inputs that were tried ({'; '.join(reasons)})")
        return values


def default_name(class_path: str) -> str:
    """The name of a metric of this class, such as `cohen_kappa` for `MulticlassCohenKappa`.

    The prefix stays if the name would otherwise be that of a metric of every report: `multiclass_accuracy`.
    """
    full = class_path.rpartition(".")[2]
    short = re.sub(r"^(Multiclass|Binary)(?=[A-Z])", "", full)
    name = _snake_case(short)
    return _snake_case(full) if name in TAKEN else name


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def invented_rows(num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of invented rows, others with the same most probable classes, and labels."""
    generator = torch.Generator().manual_seed(0)
    rows = 6 * num_classes + 1  # not as many as classes: shapes that do not match must not pass
    labels = torch.arange(rows) % num_classes
    scores = torch.randn(rows, num_classes, generator=generator).double().log_softmax(1)
    sure = torch.nn.functional.one_hot(scores.argmax(1), num_classes).double()
    share = torch.rand(rows, 1, generator=generator).double()
    other = (share * scores.exp() + (1 - share) * sure).log()
    return scores, other, labels


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float | np.number)


def _same(one: Any, other: Any) -> bool:
    if not (_is_number(one) and _is_number(other)):
        return False
    return bool(torch.isclose(torch.as_tensor(float(one)), torch.as_tensor(float(other)), equal_nan=True))
