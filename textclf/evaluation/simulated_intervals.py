"""How often intervals cover the truth on simulated test sets of independent rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from textclf.evaluation.answers import MEAN_METRICS
from textclf.evaluation.intervals import (
    CONFIDENCE,
    COUNT_METRICS,
    FEWEST_OF_A_KIND,
    FEWEST_ROWS,
    TAILS,
    accuracy_interval,
)
from textclf.evaluation.simulated_rows import Population, Setting, chunks, invent

GAIN = 0.02
"""How much higher the accuracy of the second method is where intervals of differences are measured."""
RESAMPLES = 400
"""Bootstrap resamples of an interval: fewer than in a report, which lowers its coverage by 0.3 points."""
DIFFERENCE = "difference_"


def measure_intervals(setting: Setting, draws: int) -> dict[str, Any]:
    """The coverage of intervals with independent rows; see `measure`."""
    generator = setting.generator()
    population = invent(setting, generator, GAIN)
    covered: dict[str, list[np.ndarray]] = {}
    warned = []
    for size in chunks(draws, max(setting.rows, RESAMPLES * len(population.cells))):
        drawn = generator.integers(len(population.labels), size=(size, setting.rows))
        counts = population.counts(drawn)
        warned.append(is_warned(population, counts))
        found = {**mean_coverage(population, drawn, counts), **count_coverage(population, counts, generator)}
        for name, inside in found.items():
            covered.setdefault(name, []).append(inside)
    result: dict[str, Any] = {"warned": float(np.concatenate(warned).mean())}
    for name, parts in covered.items():
        kind = "difference_coverage" if name.startswith(DIFFERENCE) else "coverage"
        result.setdefault(kind, {})[name.removeprefix(DIFFERENCE)] = float(np.concatenate(parts).mean())
    return result


def is_warned(population: Population, counts: np.ndarray) -> np.ndarray:
    """Whether `narrow_reasons` warns of the first method's table, bool, shape `(sets,)`."""
    labels, predictions = population.cells[:, 0], population.cells[:, 1]
    support = np.stack([counts[:, labels == each].sum(axis=1) for each in range(population.num_classes)], axis=1)
    rarest = support.min(axis=1)
    wrong = counts[:, labels != predictions].sum(axis=1)
    few: np.ndarray = (rarest < FEWEST_OF_A_KIND) | (wrong < FEWEST_OF_A_KIND) | (counts.sum(axis=1) < FEWEST_ROWS)
    return few


def mean_coverage(population: Population, drawn: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Whether the intervals of the `MEAN_METRICS` cover the truth, bool, each of shape `(sets,)`."""
    right = population.cells[:, 0] == population.cells[:, 1]
    low, high = wilson_bounds(counts[:, right].sum(axis=1), drawn.shape[1])
    covered = {"accuracy": inside(population.losses("accuracy")[0].mean(), low, high)}
    for metric in MEAN_METRICS:
        losses = population.losses(metric)
        if metric != "accuracy":
            covered[metric] = inside(losses[0].mean(), *mean_bounds(losses[0][drawn]))
        difference = losses[0] - losses[1]
        covered[f"{DIFFERENCE}{metric}"] = inside(difference.mean(), *mean_bounds(difference[drawn]))
    return covered


def wilson_bounds(correct: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """`accuracy_interval` of many tables; bounds of shape `(sets,)`."""
    different, places = np.unique(correct, return_inverse=True)
    bounds = np.array([accuracy_interval(int(each), rows)[1:] for each in different])[places]
    return bounds[:, 0], bounds[:, 1]


def mean_bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`mean_interval` of many tables.

    Args:
        values: Shape `(sets, rows)`.

    Returns:
        Bounds, each of shape `(sets,)`.
    """
    from scipy.stats import t

    rows = values.shape[1]
    mean = values.mean(axis=1)
    width = float(t.ppf((1 + CONFIDENCE) / 2, rows - 1)) * values.std(axis=1, ddof=1) / math.sqrt(rows)
    return mean - width, mean + width


def count_coverage(population: Population, counts: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Whether bootstrapped intervals of the `COUNT_METRICS` cover the truth, bool, each of shape `(sets,)`."""
    rows = int(counts[0].sum())
    shape = len(counts), RESAMPLES, counts.shape[1]
    drawn = generator.multinomial(rows, (counts / rows)[:, None, :], size=shape[:2])
    metrics = [population.count_metrics(drawn.reshape(-1, shape[2]), method) for method in (0, 1)]
    whole = np.bincount(population.cell_of_row)[None]
    truth = [population.count_metrics(whole, method)[0] for method in (0, 1)]
    covered = {}
    for index, name in enumerate(COUNT_METRICS):
        first, second = (each[:, index].reshape(shape[:2]) for each in metrics)
        covered[name] = inside(truth[0][index], *np.quantile(first, TAILS, axis=1))
        bounds = np.quantile(first - second, TAILS, axis=1)
        covered[f"{DIFFERENCE}{name}"] = inside(truth[0][index] - truth[1][index], *bounds)
    return covered


def inside(truth: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether intervals hold a value, which may differ from a bound in the last bits."""
    covered: np.ndarray = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
    return covered
