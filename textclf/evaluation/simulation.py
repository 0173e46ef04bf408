"""How often intervals cover the truth and tests raise false alarms, on simulated tables whose truth is known.

A population of rows is invented, with the answers of two methods to each; test sets are drawn from it, so that the
metrics of the population are the truth. What reports and comparisons compute for one table is computed here for many at
once; tests compare the two.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from textclf.evaluation.intervals import CONFIDENCE, FEWEST_GROUPS, FEWEST_ROWS, FEWEST_SEEDS
from textclf.evaluation.paired_tests import LEVEL
from textclf.evaluation.simulated_intervals import inside, measure_intervals
from textclf.evaluation.simulated_rows import LIKENESS, SHARES, Setting, chunks, hardness, limit_of
from textclf.evaluation.simulated_tests import false_alarms, family_alarms, sign_flip_p

SEED_EFFECT = 0.1
"""Standard deviation of the effect of a seed, in the units of what makes a row hard, which has 1."""
GROUP_SIZE = 10
"""Rows of a group."""
GROUP_SHARE = 0.5
"""Share of the variance of what makes a row hard that is common to the rows of a group."""


def settings() -> list[Setting]:
    """All settings: rows, classes and accuracies; then seeds; then groups."""
    found = []
    for rows in (100, 200, 500, 5_000):
        for classes, skewed in SHARES:
            for accuracy in (0.6, 0.7, 0.8, 0.9, 0.95):
                found.append(Setting(rows, accuracy, classes, skewed))
    for accuracy in (0.6, 0.8, 0.95):
        for rows in (100, 500, 5_000):
            for seeds in (3, 5):
                found.append(Setting(rows, accuracy, seeds=seeds))
        for groups in (10, 30, 100, 500):
            found.append(Setting(groups * GROUP_SIZE, accuracy, groups=groups))
    return found


def measure(setting: Setting, draws: int, tests: int) -> dict[str, Any]:
    """Measures one setting.

    Args:
        setting: What is simulated.
        draws: Test sets for the coverage of intervals.
        tests: Test sets for the false alarms of tests.

    Returns:
        The setting's fields, `coverage` of the intervals of one method, `difference_coverage`, `false_alarms`, each by
        metric or test; and `warned`, the share of the test sets whose intervals
        `textclf.evaluation.intervals.narrow_reasons` warns of.
    """
    if setting.groups:
        found = measure_groups(setting, draws, tests)
    elif setting.seeds > 1:
        found = measure_seeds(setting, draws, tests)
    else:
        found = measure_intervals(setting, draws)
        found["false_alarms"] = {**false_alarms(setting, tests), "holm": family_alarms(setting, tests)}
    return {**asdict(setting), **_rounded(found)}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    return round(value, 4)


# Seeds and groups


def measure_seeds(setting: Setting, draws: int, tests: int) -> dict[str, Any]:
    """Accuracy of methods of several seeds: coverage of a method's mean, and false alarms of Student's test."""
    from scipy.stats import norm

    generator = setting.generator()
    limit = limit_of(setting.accuracy)
    truth = float(norm.cdf(limit / math.sqrt(1 + SEED_EFFECT**2)))
    covered, alarms = [], 0
    for size in chunks(max(draws, tests), 2 * setting.seeds * setting.rows):
        common = generator.standard_normal((size, 1, setting.rows), dtype=np.float32)
        right = []
        for _ in range(2):
            effects = SEED_EFFECT * generator.standard_normal((size, setting.seeds, 1), dtype=np.float32)
            hard = hardness(generator, np.broadcast_to(common, (size, setting.seeds, setting.rows)))
            right.append((hard < limit + effects).astype(np.float32))
        mean, width, _ = student_of_seeds(right[:1])
        covered.append(inside(truth, mean - width, mean + width))
        alarms += int((student_of_seeds(right)[2] < LEVEL).sum())
    total = sum(len(part) for part in covered)
    return {
        "warned": float(setting.seeds < FEWEST_SEEDS or setting.rows < FEWEST_ROWS),
        "coverage": {"accuracy": float(np.concatenate(covered).mean())},
        "false_alarms": {"accuracy": alarms / total},
    }


def student_of_seeds(right: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean accuracy over the seeds, or its difference, as in `textclf.evaluation.resampling` with endless resamples.

    The variance over resamples of rows and seeds is that of the rows' part, and for each method that of k - 1 of k
    seeds, each of which has rows of its own noise.

    Args:
        right: For one method or two, whether rows are right, shape `(sets, seeds, rows)`.

    Returns:
        The value, half the width of its interval, and the p-value, each of shape `(sets,)`.
    """
    from scipy.stats import t

    rows = right[0].shape[2]
    of_rows = [each.mean(axis=1) for each in right]
    total = of_rows[0] if len(right) == 1 else of_rows[0] - of_rows[1]
    variance = total.var(axis=1) / rows
    of_seeds = np.zeros(len(total))
    for each, mean in zip(right, of_rows, strict=True):
        seeds = each.shape[1]
        metric = each.mean(axis=2)
        noise = (each - mean[:, None, :]).var(axis=2).mean(axis=1) / rows
        variance = variance + (metric.var(axis=1) + noise) / (seeds - 1)
        of_seeds += (metric.var(axis=1, ddof=1) / seeds) ** 2 / (seeds - 1)
    value = total.mean(axis=1)
    freedom = np.full(len(value), np.inf)
    np.divide(variance**2, of_seeds, out=freedom, where=of_seeds > 0)
    error = np.sqrt(variance)
    with np.errstate(invalid="ignore", divide="ignore"):
        p_values = np.where(error > 0, 2 * t.sf(np.abs(value) / error, freedom), np.where(value == 0, 1.0, 0.0))
    return value, t.ppf((1 + CONFIDENCE) / 2, freedom) * error, p_values


def measure_groups(setting: Setting, draws: int, tests: int) -> dict[str, Any]:
    """Accuracy of rows in groups: coverage of the cluster-robust intervals, and false alarms of swapped groups."""
    generator = setting.generator()
    limit = limit_of(setting.accuracy)
    covered: list[np.ndarray] = []
    differences: list[np.ndarray] = []
    alarms = 0
    for size in chunks(max(draws, tests), 4 * setting.rows):
        common = grouped_normal(generator, size, setting.groups)
        right = []
        for _ in range(2):
            own = grouped_normal(generator, size, setting.groups)
            right.append(math.sqrt(LIKENESS) * common + math.sqrt(1 - LIKENESS) * own < limit)
        sums = [each.sum(axis=2).astype(np.float64) for each in right]
        covered.append(inside(setting.accuracy, *group_bounds(sums[0])))
        differences.append(inside(0.0, *group_bounds(sums[0] - sums[1])))
        alarms += int((sign_flip_p(sums[0] - sums[1], generator) <= LEVEL).sum())
    total = sum(len(part) for part in covered)
    return {
        "warned": float(setting.groups < FEWEST_GROUPS or setting.rows < FEWEST_ROWS),
        "coverage": {"accuracy": float(np.concatenate(covered).mean())},
        "difference_coverage": {"accuracy": float(np.concatenate(differences).mean())},
        "false_alarms": {"accuracy": alarms / total},
    }


def grouped_normal(generator: np.random.Generator, sets: int, groups: int) -> np.ndarray:
    """Standard normal numbers that are alike within groups, shape `(sets, groups, GROUP_SIZE)`."""
    of_group = generator.standard_normal((sets, groups, 1), dtype=np.float32)
    of_row = generator.standard_normal((sets, groups, GROUP_SIZE), dtype=np.float32)
    return math.sqrt(GROUP_SHARE) * of_group + math.sqrt(1 - GROUP_SHARE) * of_row


def group_bounds(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cluster-robust intervals of the mean over rows of many tables, as `textclf.evaluation.method_intervals` has them.

    Args:
        sums: Of the rows of each group, shape `(sets, groups)`.

    Returns:
        Bounds, each of shape `(sets,)`.
    """
    from scipy.stats import t

    groups = sums.shape[1]
    mean = sums.mean(axis=1) / GROUP_SIZE
    error = sums.std(axis=1, ddof=1) / math.sqrt(groups) / GROUP_SIZE
    width = float(t.ppf((1 + CONFIDENCE) / 2, groups - 1)) * error
    return mean - width, mean + width
