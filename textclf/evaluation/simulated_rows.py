"""Populations of invented rows, from which the test sets of a simulation are drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from textclf.evaluation.intervals import CHUNK, SEED, count_metrics

POPULATION = 50_000
"""Rows of the population that test sets are drawn from."""
LIKENESS = 0.8
"""Correlation of what makes a row hard for a method with what makes it hard for all methods."""
SHARES = {
    (2, False): (0.5, 0.5),
    (2, True): (0.9, 0.1),
    (6, False): (1 / 6,) * 6,
    (6, True): (0.5, 0.25, 0.12, 0.07, 0.04, 0.02),
}
"""Shares of the classes, by their number and whether they are skewed."""


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    Attributes:
        rows: Rows of a test set.
        accuracy: True accuracy.
        classes: Number of classes.
        skewed: Whether some classes are rare.
        seeds: Runs of each method, which differ in the seed.
        groups: Number of groups of the rows; 0 where rows are independent.
    """

    rows: int
    accuracy: float
    classes: int = 2
    skewed: bool = False
    seeds: int = 1
    groups: int = 0

    def generator(self) -> np.random.Generator:
        """Random numbers of this setting, the same each time."""
        numbers = [self.rows, round(100 * self.accuracy), self.classes, self.skewed, self.seeds, self.groups]
        return np.random.default_rng([SEED, *numbers])


@dataclass(frozen=True, eq=False)
class Population:
    """Rows, and the answers of two methods to them.

    Attributes:
        labels: True classes, shape `(rows,)`.
        predictions: Of each method, shape `(2, rows)`.
        nll: Negative log-likelihoods in nats, shape `(2, rows)`.
        brier: Brier scores, shape `(2, rows)`.
        cells: The different label and answers, shape `(cells, 3)`.
        cell_of_row: The cell of each row, shape `(rows,)`.
        num_classes: Number of classes.
    """

    labels: np.ndarray
    predictions: np.ndarray
    nll: np.ndarray
    brier: np.ndarray
    cells: np.ndarray
    cell_of_row: np.ndarray
    num_classes: int

    def losses(self, metric: str) -> np.ndarray:
        """What a metric is the mean of, shape `(2, rows)`."""
        if metric == "accuracy":
            right: np.ndarray = self.predictions == self.labels
            return right.astype(np.float64)
        return {"nll": self.nll, "brier": self.brier}[metric]

    def counts(self, drawn: np.ndarray) -> np.ndarray:
        """Rows of each cell in test sets.

        Args:
            drawn: Row numbers, shape `(sets, rows)`.

        Returns:
            Shape `(sets, cells)`.
        """
        sets, width = len(drawn), len(self.cells)
        places = self.cell_of_row[drawn] + width * np.arange(sets)[:, None]
        return np.bincount(places.ravel(), minlength=sets * width).reshape(sets, width)

    def count_metrics(self, counts: np.ndarray, method: int) -> np.ndarray:
        """The `COUNT_METRICS` of a method, shape `(sets, metrics)`."""
        return count_metrics(counts, self.cells[:, 0], self.cells[:, 1 + method], self.num_classes)


def hardness(generator: np.random.Generator, common: np.ndarray) -> np.ndarray:
    """What makes rows hard for one method: standard normal, with the correlation `LIKENESS` between methods."""
    own = generator.standard_normal(common.shape, dtype=np.float32)
    return math.sqrt(LIKENESS) * common + math.sqrt(1 - LIKENESS) * own


def limit_of(accuracy: float) -> float:
    """The hardness below which a row is answered right."""
    from scipy.stats import norm

    return float(norm.ppf(accuracy))


def invent(setting: Setting, generator: np.random.Generator, gain: float) -> Population:
    """A population.

    Args:
        setting: Its accuracy and classes.
        generator: Source of random numbers.
        gain: How much higher the accuracy of the second method is; 0 for two methods of which none is better: each row
            is then in the population a second time with the answers swapped.
    """
    num_classes = setting.classes
    shares = np.array(SHARES[num_classes, setting.skewed])
    labels = generator.choice(num_classes, POPULATION, p=shares)
    # Each class is taken for one of the next two; both methods often make the same mistake.
    mistakes = (labels + 1 + (generator.random(POPULATION) < 0.3)) % num_classes
    mistakes = np.where(mistakes == labels, (labels + 1) % num_classes, mistakes)
    common = generator.standard_normal(POPULATION, dtype=np.float32)
    predictions, nll, brier = [], [], []
    for accuracy in (setting.accuracy, setting.accuracy + gain):
        margin = limit_of(accuracy) - hardness(generator, common)
        others = np.where(generator.random(POPULATION) < 0.3, (labels + 1) % num_classes, mistakes)
        predicted = np.where(margin > 0, labels, others)
        logits = generator.uniform(-1, 0, size=(POPULATION, num_classes))
        logits[np.arange(POPULATION), labels] += 1
        logits[np.arange(POPULATION), predicted] = 1 + 2 * np.abs(margin)
        log_scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        errors = np.exp(log_scores) - np.eye(num_classes)[labels]
        predictions.append(predicted)
        nll.append(-log_scores[np.arange(POPULATION), labels])
        brier.append(np.square(errors).sum(axis=1))
    answers = [np.stack(each) for each in (predictions, nll, brier)]
    if not gain:
        labels = np.concatenate([labels, labels])
        answers = [np.concatenate([each, each[::-1]], axis=1) for each in answers]
    cells, cell_of_row = np.unique(np.stack([labels, *answers[0]], axis=1), axis=0, return_inverse=True)
    return Population(labels, answers[0], answers[1], answers[2], cells, cell_of_row, num_classes)


def chunks(total: int, numbers_of_one: int) -> Iterator[int]:
    """Sizes of the chunks in which test sets are drawn, for a bounded memory."""
    size = max(1, CHUNK // numbers_of_one)
    for start in range(0, total, size):
        yield min(size, total - start)
