"""How often intervals cover the truth and tests raise false alarms, on simulated tables whose truth is known.

A population of rows is invented, with the answers of two methods to each; test sets are drawn from it, so that the
metrics of the population are the truth. What reports and comparisons compute for one
table is computed here for many at once; tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from textclf.evaluation.answers import MEAN_METRICS
from textclf.evaluation.intervals import (
    CHUNK,
    CONFIDENCE,
    COUNT_METRICS,
    FEWEST_GROUPS,
    FEWEST_OF_A_KIND,
    FEWEST_ROWS,
    FEWEST_SEEDS,
    SEED,
    TAILS,
    accuracy_interval,
    count_metrics,
)
from textclf.evaluation.paired_tests import LEVEL

POPULATION = 50_000
"""Rows of the population that test sets are drawn from."""
LIKENESS = 0.8
"""Correlation of what makes a row hard for a method with what makes it hard for all methods."""
GAIN = 0.02
"""How much higher the accuracy of the second method is where intervals of differences are measured."""
RESAMPLES = 400
"""Bootstrap resamples of an interval: fewer than in a report, which lowers its coverage by 0.3 points."""
SWAPS = 99
"""Swaps of a permutation test: with 99, the smallest five of 100 p-values are at most 0.05, as with more swaps."""
COMPARISONS = 10
"""Comparisons with one baseline that are adjusted together."""
SEED_EFFECT = 0.1
"""Standard deviation of the effect of a seed, in the units of what makes a row hard, which has 1."""
GROUP_SIZE = 10
"""Rows of a group."""
GROUP_SHARE = 0.5
"""Share of the variance of what makes a row hard that is common to the rows of a group."""
DIFFERENCE = "difference_"
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


# Populations


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


# Intervals


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


# Tests


def false_alarms(setting: Setting, draws: int) -> dict[str, float]:
    """The false alarms of tests of two methods of which none is better, at the level of 5 %, by metric."""
    generator = setting.generator()
    population = invent(setting, generator, 0)
    nll, brier = (losses[0] - losses[1] for losses in (population.nll, population.brier))
    alarms: dict[str, int] = dict.fromkeys(("accuracy", *COUNT_METRICS, "nll", "brier"), 0)
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
