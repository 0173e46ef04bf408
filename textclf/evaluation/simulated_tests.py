"""How often tests raise false alarms on simulated test sets of independent rows."""

from __future__ import annotations

import numpy as np

from textclf.evaluation.answers import METRICS
from textclf.evaluation.intervals import COUNT_METRICS, count_metrics
from textclf.evaluation.paired_tests import LEVEL
from textclf.evaluation.simulated_rows import POPULATION, Population, Setting, chunks, hardness, invent, limit_of

SWAPS = 99
"""Swaps of a permutation test: with 99, the smallest five of 100 p-values are at most 0.05, as with more swaps."""
COMPARISONS = 10
"""Comparisons with one baseline that are adjusted together."""


def false_alarms(setting: Setting, draws: int) -> dict[str, float]:
    """The false alarms of tests of two methods of which none is better, at the level of 5 %, by metric."""
    generator = setting.generator()
    population = invent(setting, generator, 0)
    nll, brier = (losses[0] - losses[1] for losses in (population.nll, population.brier))
    alarms: dict[str, int] = dict.fromkeys(METRICS, 0)
    for size in chunks(draws, max(setting.rows, SWAPS * 2 * len(population.cells))):
        drawn = generator.integers(len(population.labels), size=(size, setting.rows))
        counts = population.counts(drawn)
        alarms["accuracy"] += int((mcnemar_p(population, counts) < LEVEL).sum())
        p_values = swap_p(population, counts, generator)
        for index, name in enumerate(COUNT_METRICS):
            alarms[name] += int((p_values[:, index] <= LEVEL).sum())
        alarms["nll"] += int((sign_flip_p(nll[drawn], generator) <= LEVEL).sum())
        alarms["brier"] += int((sign_flip_p(brier[drawn], generator) <= LEVEL).sum())
    return {name: count / draws for name, count in alarms.items()}


def mcnemar_p(population: Population, counts: np.ndarray) -> np.ndarray:
    """p-values of McNemar's test of many tables, shape `(sets,)`."""
    labels, first, second = population.cells.T
    wins = counts[:, (first == labels) & (second != labels)].sum(axis=1)
    losses = counts[:, (first != labels) & (second == labels)].sum(axis=1)
    return mcnemar_of(wins, losses)


def mcnemar_of(wins: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """`textclf.evaluation.paired_tests.mcnemar` of many pairs of numbers; p-values of their shape."""
    from scipy.stats import binom

    # With a chance of one half, both tails are alike.
    p_values: np.ndarray = np.minimum(2 * binom.cdf(np.minimum(wins, losses), wins + losses, 0.5), 1)
    return p_values


def swap_p(population: Population, counts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """p-values of the `COUNT_METRICS` by a paired permutation test of many tables, shape `(sets, metrics)`."""
    labels, first, second = population.cells.T
    swapped = np.zeros((len(counts), SWAPS + 1, counts.shape[1]), dtype=np.int64)  # the first time nothing is
    differ = first != second
    sizes = counts[:, None, differ]
    swapped[:, 1:, differ] = generator.binomial(sizes, 0.5, size=(len(counts), SWAPS, sizes.shape[2]))
    both = np.concatenate([counts[:, None, :] - swapped, swapped], axis=2).reshape(-1, 2 * counts.shape[1])
    answers = [np.concatenate(each) for each in ((first, second), (second, first))]
    targets = np.concatenate([labels, labels])
    of_methods = [count_metrics(both, targets, answer, population.num_classes) for answer in answers]
    difference = np.abs(of_methods[0] - of_methods[1]).reshape(len(counts), SWAPS + 1, -1)
    as_large = (difference[:, 1:] >= difference[:, :1] - 1e-12).sum(axis=1)
    p_values: np.ndarray = (as_large + 1) / (SWAPS + 1)
    return p_values


def sign_flip_p(differences: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """p-values of means of differences by a paired permutation test of many tables, shape `(sets,)`.

    Args:
        differences: Of rows or of groups, shape `(sets, units)`.
        generator: Source of random numbers.
    """
    p_values = []
    for part in np.array_split(differences, max(1, len(differences) // 100)):  # new swaps for each part
        signs = 1 - 2 * generator.integers(2, size=(part.shape[1], SWAPS)).astype(np.float64)
        totals = np.abs(part.sum(axis=1, keepdims=True))
        tolerance = 1e-12 * np.abs(part).sum(axis=1, keepdims=True)
        as_large = (np.abs(part @ signs) >= totals - tolerance).sum(axis=1)
        p_values.append((as_large + 1) / (SWAPS + 1))
    return np.concatenate(p_values)


def family_alarms(setting: Setting, draws: int) -> float:
    """How often Holm's procedure finds a difference among methods that are equally good.

    One baseline is compared with `COMPARISONS` methods by McNemar's test. The smallest p-value, which Holm multiplies
    by their number, decides whether there is any.
    """
    from scipy.special import comb

    generator = setting.generator()
    methods = COMPARISONS + 1
    common = generator.standard_normal(POPULATION, dtype=np.float32)
    number_right = np.zeros(POPULATION, dtype=np.int64)
    for _ in range(methods):
        number_right += hardness(generator, common) < limit_of(setting.accuracy)
    shares = np.bincount(number_right, minlength=methods + 1) / POPULATION
    # Any of the methods may be those that are right: all are then exactly equally good.
    is_right = (np.arange(2**methods)[:, None] >> np.arange(methods)) & 1
    of_pattern = shares[is_right.sum(axis=1)] / comb(methods, is_right.sum(axis=1))
    base, others = is_right[:, :1], is_right[:, 1:]
    alarms = 0
    for size in chunks(draws, len(is_right)):
        counts = generator.multinomial(setting.rows, of_pattern / of_pattern.sum(), size=size).astype(np.float64)
        wins = (counts @ (base * (1 - others))).astype(np.int64)
        losses = (counts @ ((1 - base) * others)).astype(np.int64)
        alarms += int((COMPARISONS * mcnemar_of(wins, losses).min(axis=1) < LEVEL).sum())
    return alarms / draws
