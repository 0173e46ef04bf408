"""Ranks over data sets, against SciPy and the tables of Demsar (2006)."""

import itertools

import numpy as np
import pytest
from scipy import stats

from textclf.evaluation.paired_tests import holm
from textclf.evaluation.ranks import ranks_of


def data_sets(table, names, metric="accuracy"):
    """The part of a comparison that ranks need; `table` has a row for each data set, None for a method without it."""
    sets = {}
    for number, row in enumerate(table):
        runs = []
        for name, value in zip(names, row, strict=True):
            if value is not None:
                runs.append({"name": name, "metrics": {metric: {"value": float(value)}}})
        sets[f"set {number}"] = {"runs": runs}
    return sets


def invented(sets, methods):
    return np.random.default_rng(3).uniform(0.6, 0.9, size=(sets, methods)) + np.linspace(0, 0.2, methods)


def test_mean_ranks_with_ties_and_a_method_that_is_not_everywhere():
    table = [[0.9, 0.8, 0.9, 0.1], [0.7, 0.8, 0.6, None]]
    ranks = ranks_of(data_sets(table, "ABCD"), "accuracy")
    means = [(method["name"], method["mean_rank"]) for method in ranks["methods"]]
    assert means == [("A", 1.75), ("B", 2.0), ("C", 2.25)]
    assert ranks["methods"][0]["ranks"] == {"set 0": 1.5, "set 1": 2.0}
    assert ranks["left_out"] == ["D"]
    assert ranks["friedman"] is ranks["nemenyi"] is ranks["wilcoxon"] is None
    assert "too few" in ranks["note"]


def test_a_smaller_loss_is_better():
    ranks = ranks_of(data_sets([[0.5, 0.7], [0.4, 0.9]], "AB", "nll"), "nll")
    assert [method["name"] for method in ranks["methods"]] == ["A", "B"]


def test_one_common_method_has_no_ranks():
    assert ranks_of(data_sets([[0.5, None], [0.4, 0.9]], "AB"), "accuracy") is None


def test_tests_over_data_sets_are_those_of_scipy():
    table = invented(7, 4)
    ranks = ranks_of(data_sets(table, "ABCD"), "accuracy")
    expected = stats.friedmanchisquare(*table.T)
    assert ranks["friedman"] == pytest.approx({"statistic": expected.statistic, "p": expected.pvalue})
    pairs = list(itertools.combinations(range(4), 2))
    p_values = [stats.wilcoxon(table[:, one], table[:, other]).pvalue for one, other in pairs]
    assert [pair["p"] for pair in ranks["wilcoxon"]] == pytest.approx(p_values)
    assert [pair["p_holm"] for pair in ranks["wilcoxon"]] == pytest.approx(holm(p_values))


def test_critical_difference_of_nemenyi():
    # Demsar (2006), section 3.2.2: 2.569 for four methods, hence 1.25 with 14 data sets.
    ranks = ranks_of(data_sets(invented(14, 4), "ABCD"), "accuracy")
    assert ranks["nemenyi"]["critical_difference"] == pytest.approx(1.25, abs=0.005)
    means = {method["name"]: method["mean_rank"] for method in ranks["methods"]}
    for pair in ranks["nemenyi"]["pairs"]:
        distance = abs(means[pair["first"]] - means[pair["second"]])
        assert (pair["p"] < 0.05) == (distance > ranks["nemenyi"]["critical_difference"])


@pytest.mark.parametrize(
    ("sets", "methods", "tests"),
    [
        (2, 3, ""),
        (4, 3, ""),
        (5, 2, ""),
        (5, 3, "friedman nemenyi"),
        (6, 2, "wilcoxon"),
        (6, 3, "friedman nemenyi wilcoxon"),
    ],
)
def test_which_tests_there_are(sets, methods, tests):
    ranks = ranks_of(data_sets(invented(sets, methods), "ABC"[:methods]), "accuracy")
    assert [name for name in ("friedman", "nemenyi", "wilcoxon") if ranks[name] is not None] == tests.split()
    assert ranks["note"]


def test_methods_that_never_differ():
    ranks = ranks_of(data_sets([[0.5, 0.5]] * 6, "AB"), "accuracy")
    assert ranks["wilcoxon"][0]["p"] == 1.0
    ranks = ranks_of(data_sets([[0.5] * 3, [0.6] * 3, [0.7] * 3] * 2, "ABC"), "accuracy")
    assert ranks["friedman"] == {"statistic": 0.0, "p": 1.0}
    assert [pair["p"] for pair in ranks["nemenyi"]["pairs"] + ranks["wilcoxon"]] == [1.0] * 6
