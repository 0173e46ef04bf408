"""Methods over several data sets: mean ranks, and the tests that as many data sets allow.

Source: Demsar, 2006, Statistical comparisons of classifiers over multiple data sets,
https://jmlr.org/papers/v7/demsar06a.html.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textclf.evaluation.answers import LOWER_IS_BETTER
from textclf.evaluation.paired_tests import LEVEL, holm

FEWEST_FOR_FRIEDMAN = 5
FEWEST_FOR_WILCOXON = 6
"""With five data sets, the smallest two-sided p-value of the signed-rank test is 0.06."""


def ranks_of(data_sets: Mapping[str, Mapping[str, Any]], metric: str) -> dict[str, Any] | None:
    """Ranks the methods that are in all data sets.

    Args:
        data_sets: The comparisons by data set, as `textclf.evaluation.comparison.compare` gives them.
        metric: What they are ranked by.

    Returns:
        `data_sets`, `methods` (name, mean rank, rank on each data set; the best first), `left_out` (methods that are
        not in all), `friedman` and `nemenyi` and `wilcoxon` (None with too few data sets), and a `note`; None where
        fewer than two methods are in all data sets.
    """
    values = {name: _values(result["runs"], metric) for name, result in data_sets.items()}
    common = [name for name in next(iter(values.values())) if all(name in of_set for of_set in values.values())]
    everywhere = {name for of_set in values.values() for name in of_set}
    if len(common) < 2:
        return None
    table = np.array([[of_set[name] for name in common] for of_set in values.values()])  # (data sets, methods)
    ranks = _ranks(table, metric)
    means = ranks.mean(axis=0)
    order = np.argsort(means, kind="stable")
    methods = []
    for index in order:
        by_set = dict(zip(values, ranks[:, index].tolist(), strict=True))
        methods.append({"name": common[index], "mean_rank": float(means[index]), "ranks": by_set})
    return {
        "metric": metric,
        "data_sets": list(values),
        "methods": methods,
        "left_out": sorted(everywhere - set(common)),
        "friedman": _friedman(table),
        "nemenyi": _nemenyi(table, means, common),
        "wilcoxon": _wilcoxon(table, common),
        "note": _note(len(table), len(common)),
    }


def _values(runs: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    """The metric of each method that has it."""
    values = {}
    for run in runs:
        value = run["metrics"][metric]["value"]
        if value is not None and math.isfinite(value):
            values[run["name"]] = float(value)
    return values


def _ranks(table: np.ndarray, metric: str) -> np.ndarray:
    """Ranks in each data set, 1 for the best, ties sharing their mean, shape `(data sets, methods)`."""
    from scipy.stats import rankdata

    ranks: np.ndarray = rankdata(table if metric in LOWER_IS_BETTER else -table, axis=1)
    return ranks


def _friedman(table: np.ndarray) -> dict[str, float] | None:
    """Friedman's test that all methods are alike."""
    from scipy.stats import friedmanchisquare

    data_sets, methods = table.shape
    if data_sets < FEWEST_FOR_FRIEDMAN or methods < 3:
        return None
    if (table == table[:, :1]).all():  # SciPy would divide 0 by 0
        return {"statistic": 0.0, "p": 1.0}
    result = friedmanchisquare(*table.T)
    return {"statistic": float(result.statistic), "p": float(result.pvalue)}


def _nemenyi(table: np.ndarray, means: np.ndarray, names: Sequence[str]) -> dict[str, Any] | None:
    """The critical difference of mean ranks, and the p-value of each pair."""
    from scipy.stats import studentized_range

    data_sets, methods = table.shape
    if data_sets < FEWEST_FOR_FRIEDMAN or methods < 3:
        return None
    error = math.sqrt(methods * (methods + 1) / (6 * data_sets))
    critical = float(studentized_range.ppf(1 - LEVEL, methods, np.inf)) / math.sqrt(2) * error
    pairs = []
    for one, other in itertools.combinations(range(methods), 2):
        distance = abs(means[one] - means[other])
        p = float(studentized_range.sf(distance / error * math.sqrt(2), methods, np.inf))
        pairs.append({"first": names[one], "second": names[other], "p": p})
    return {"critical_difference": critical, "pairs": pairs}


def _wilcoxon(table: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]] | None:
    """Wilcoxon's signed-rank test of each pair of methods, with Holm's p-values."""
    from scipy.stats import wilcoxon

    if len(table) < FEWEST_FOR_WILCOXON:
        return None
    pairs = list(itertools.combinations(range(len(names)), 2))
    p_values = []
    for one, other in pairs:
        difference = table[:, one] - table[:, other]
        p_values.append(float(wilcoxon(difference).pvalue) if difference.any() else 1.0)
    found = []
    for (one, other), p, p_holm in zip(pairs, p_values, holm(p_values), strict=True):
        found.append({"first": names[one], "second": names[other], "p": p, "p_holm": p_holm})
    return found


def _note(data_sets: int, methods: int) -> str:
    if data_sets < FEWEST_FOR_FRIEDMAN:
        return f"{data_sets} data sets are too few for a test over data sets: ranks alone"
    if methods < 3:
        note = "two methods: Wilcoxon's test of the pair instead of Friedman's"
        return note if data_sets >= FEWEST_FOR_WILCOXON else "two methods on five data sets: ranks alone"
    if data_sets < FEWEST_FOR_WILCOXON:
        return "five data sets are too few for Wilcoxon's test, whose smallest p-value is then 0.06"
    return f"tests over {data_sets} data sets"
