"""Metrics of single-label classification, from one row of log scores per example."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError, MulticlassConfusionMatrix

KEYS = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "macro_precision",
    "macro_recall",
    "precision",
    "recall",
    "f1",
    "mcc",
    "nll",
    "brier",
    "ece",
    "nll_uncalibrated",
    "ece_uncalibrated",
    "majority_accuracy",
    "invalid",
)
"""Names of the metrics of every report, in its order."""
LARGEST_BELOW_ONE = 1 - 2**-24  # in float32
CALIBRATION_BINS = 15
"""Bins of the expected calibration error."""


def predicted_classes(log_scores: Tensor) -> Tensor:
    """The class with the highest score of each row.

    Args:
        log_scores: Float scores, shape (batch, num_classes). A row with NaN is an invalid answer, one that fits no
            class.

    Returns:
        Class indices, int64, shape (batch,): the first of equal scores, -1 for a row with NaN.
    """
    return log_scores.argmax(dim=1).masked_fill(log_scores.isnan().any(dim=1), -1)


class SummedLoss(Metric):
    """Sum of a loss over the rows.

    The batch sums are kept in a list: the state is then float64 wherever the device has it, also after
    `module.to(torch.bfloat16)`, which would round a tensor state.
    """

    full_state_update = False
    batch_sums: list[Tensor]

    def __init__(self, **options: Any) -> None:
        """Starts with no rows.

        Args:
            **options: Options of every torchmetrics `Metric`, such as `sync_on_compute`.
        """
        super().__init__(**options)
        self.add_state("batch_sums", default=[], dist_reduce_fx="cat")

    def update(self, losses: Tensor) -> None:
        """Adds a batch.

        Args:
            losses: One number for each row, float, shape (batch,).
        """
        dtype = torch.float32 if losses.device.type == "mps" else torch.float64
        self.batch_sums.append(losses.sum(dtype=dtype).reshape(1))

    def compute(self) -> Tensor:
        """The sum as a float64 scalar on the CPU."""
        sums: list[Tensor] | Tensor = self.batch_sums
        if isinstance(sums, list):  # after a synchronisation it is one tensor
            sums = torch.cat(sums)
        return sums.cpu().double().sum()


class ClassificationMetrics(nn.Module):
    """All metrics of a report, accumulated batch by batch and exact for any number of processes.

    An invalid answer (a row with NaN) is a wrong answer everywhere; only `nll`, `brier` and `ece`, which
    need probabilities, are means over the answered rows. Macro averages are over the classes of the data; a class
    without support or predictions counts 0 there, as in scikit-learn with
    `labels=range(num_classes), zero_division=0`. The keys are:

    - `accuracy`: share of correct rows;
    - `macro_f1`, `macro_precision`, `macro_recall`: plain means over the classes;
    - `weighted_f1`: mean over the classes, weighted by support;
    - `mcc`: Matthews correlation coefficient for several classes, 0 where it is undefined
      (Gorodkin, 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006);
    - `nll`: mean negative log-likelihood of the target in nats; inf where a target has probability 0;
    - `brier`: mean over the rows of the squared errors of the probabilities, summed over all classes, 0 to 2
      (Brier, 1950, https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2); scikit-learn halves it for
      two classes;
    - `ece`: expected calibration error of the most probable class, 15 equal bins, L1
      (Guo et al., 2017, https://arxiv.org/abs/1706.04599);
    - `majority_accuracy`: share of the most frequent target class;
    - `invalid`, `examples`: numbers of rows;
    - `precision`, `recall`, `f1`: of class 1, for two classes only.
    """

    def __init__(self, num_classes: int, has_probabilities: bool = True, sync_on_compute: bool = True) -> None:
        """Starts with no rows.

        Args:
            num_classes: Number of classes.
            has_probabilities: Whether the scores are log-probabilities. If not, `nll`, `brier` and `ece` are
                absent.
            sync_on_compute: Whether `compute` and `confusion_matrix` count the rows of all processes, which
                must then all call them. If not, only the rows of this process count.
        """
        super().__init__()
        self.num_classes = num_classes
        self.has_probabilities = has_probabilities
        # No cache: `update` drops it, so after an update on some ranks only, the others would not take part
        # in the gathering, and all would hang.
        options: dict[str, Any] = {"sync_on_compute": sync_on_compute, "compute_with_cache": False}
        self.confusion = MulticlassConfusionMatrix(num_classes + 1, validate_args=False, **options)
        if has_probabilities:
            self.summed_nll = SummedLoss(**options)
            self.summed_brier = SummedLoss(**options)
            self.ece = MulticlassCalibrationError(
                num_classes, n_bins=CALIBRATION_BINS, norm="l1", validate_args=False, **options
            )

    @torch.no_grad()
    def update(self, log_scores: Tensor, targets: Tensor, predictions: Tensor | None = None) -> None:
        """Adds a batch, which may be empty.

        Args:
            log_scores: Float32 or float64 log-probabilities (any scores without probabilities), shape
                (batch, num_classes), NaN for an invalid answer.
            targets: Class indices, int64, shape (batch,).
            predictions: Predicted classes, -1 for an invalid answer; by default those of the highest score.

        Raises:
            ValueError: The scores are not one row of `num_classes` per target.
        """
        if log_scores.shape != (len(targets), self.num_classes):
            raise ValueError(
                f"log_scores has shape {tuple(log_scores.shape)}, expected {(len(targets), self.num_classes)}: one row "
                "per target, one score per class"
            )
        if predictions is None:
            predictions = predicted_classes(log_scores)
        answered = predictions >= 0
        self.confusion.update(predictions.masked_fill(~answered, self.num_classes), targets)
        if self.has_probabilities:
            log_scores, targets = log_scores[answered], targets[answered]
            probabilities = log_scores.exp()
            errors = probabilities - nn.functional.one_hot(targets, self.num_classes)
            self.summed_nll.update(-log_scores.gather(1, targets.unsqueeze(1)).squeeze(1))
            self.summed_brier.update(errors.square().sum(dim=1))
            # torchmetrics gives confidence 1 a bin of its own, and takes anything above 1 for logits.
            self.ece.update(probabilities.float().clamp(max=LARGEST_BELOW_ONE), targets)

    def compute(self) -> dict[str, Tensor]:
        """Computes all metrics over what was added so far.

        Returns:
            Scalars by key on the device of the metrics, float64 (float32 on MPS), also where they count rows,
            since Lightning's `log_dict` requires floating-point values. A mean over no rows is NaN.
        """
        matrix = self.confusion_matrix()
        scores = scores_of_confusion_matrix(matrix.cpu())
        if self.has_probabilities:
            answered = scores["examples"] - scores["invalid"]
            scores["nll"] = self.summed_nll.compute() / answered
            scores["brier"] = self.summed_brier.compute() / answered
            scores["ece"] = self.ece.compute()
        dtype = torch.float32 if matrix.device.type == "mps" else torch.float64
        return {key: score.to(dtype).to(matrix.device) for key, score in scores.items()}

    def confusion_matrix(self) -> Tensor:
        """Counts the rows by target and prediction.

        Returns:
            Int64, shape (num_classes, num_classes + 1): row = target, column = prediction, the last column
            being the invalid answers.
        """
        if not self.confusion.update_called:
            # A rank without rows takes part in the gathering with states of the right type.
            device = self.confusion.device
            self.update(
                torch.empty(0, self.num_classes, device=device),
                torch.empty(0, dtype=torch.int64, device=device),
            )
        matrix: Tensor = self.confusion.compute()
        return matrix[: self.num_classes]

    def reset(self) -> None:
        """Removes all rows."""
        self.confusion.reset()
        if self.has_probabilities:
            self.summed_nll.reset()
            self.summed_brier.reset()
            self.ece.reset()


def scores_of_confusion_matrix(matrix: Tensor) -> dict[str, Tensor]:
    """Computes the metrics that need no probabilities.

    Args:
        matrix: Counts on the CPU, shape (num_classes, num_classes + 1), as
            `ClassificationMetrics.confusion_matrix` gives them.

    Returns:
        Float64 scalars by the keys of `ClassificationMetrics`.
    """
    return scores_of_margins(matrix.diagonal(), matrix.sum(dim=1), matrix.sum(dim=0))


def scores_of_margins(correct_in_class: Tensor, support: Tensor, predicted: Tensor) -> dict[str, Tensor]:
    """Computes the metrics of one or more confusion matrices from their diagonals and margins.

    Args:
        correct_in_class: Right rows of each class, shape (..., num_classes).
        support: Rows of each class, shape (..., num_classes).
        predicted: Rows that are predicted as each class, the invalid answers last, shape (..., num_classes + 1).

    Returns:
        Float64 tensors of shape (...) by the keys of `ClassificationMetrics`.
    """
    correct_in_class = correct_in_class.double()
    support = support.double()
    predicted = predicted.double()
    in_class = predicted[..., :-1]
    correct = correct_in_class.sum(dim=-1)
    examples = support.sum(dim=-1)
    precision = _ratio(correct_in_class, in_class)
    recall = _ratio(correct_in_class, support)
    f1 = _ratio(2 * correct_in_class, support + in_class)
    covariance = correct * examples - (support * in_class).sum(dim=-1)
    variances = (examples**2 - predicted.square().sum(dim=-1)) * (examples**2 - support.square().sum(dim=-1))
    scores = {
        "accuracy": correct / examples,
        "macro_f1": f1.mean(dim=-1),
        "weighted_f1": (f1 * support).sum(dim=-1) / examples,
        "macro_precision": precision.mean(dim=-1),
        "macro_recall": recall.mean(dim=-1),
        "mcc": _ratio(covariance, variances.sqrt()),
        "majority_accuracy": support.amax(dim=-1) / examples,
        "invalid": predicted[..., -1],
        "examples": examples,
    }
    if support.shape[-1] == 2:
        scores |= {"precision": precision[..., 1], "recall": recall[..., 1], "f1": f1[..., 1]}
    return scores


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, 0.0)
