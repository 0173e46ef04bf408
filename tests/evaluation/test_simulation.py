"""The simulation computes for many tables what reports and comparisons compute for one."""

import numpy as np
import pytest
from scipy.stats import binomtest

from textclf.evaluation import simulated_intervals, simulated_rows, simulated_tests, simulation
from textclf.evaluation.answers import Answers, Rows
from textclf.evaluation.intervals import accuracy_interval, count_intervals, mean_interval, narrow_reasons
from textclf.evaluation.method_intervals import method_intervals
from textclf.evaluation.paired import differences
from textclf.evaluation.paired_tests import holm, mcnemar, sign_flip_test, swap_test
from textclf.evaluation.simulated_rows import Setting, invent
from textclf.evaluation.simulation import measure, settings
from textclf.evaluation.simulation_table import WANTED, failures, is_too_frequent, markdown, summary

SETTING = Setting(200, 0.8, classes=6, skewed=True)


@pytest.fixture(scope="module")
def population():
    return invent(SETTING, SETTING.generator(), 0.02)


@pytest.fixture
def drawn():
    return np.random.default_rng(1).integers(simulated_rows.POPULATION, size=(3, SETTING.rows))


def test_the_settings_are_all_that_is_wanted():
    independent = {(s.rows, s.classes, s.skewed, s.accuracy) for s in settings() if s.seeds == 1 and not s.groups}
    assert len(independent) == 4 * 2 * 2 * 5
    assert {s.seeds for s in settings()} == {1, 3, 5}
    assert {s.groups for s in settings()} == {0, 10, 30, 100, 500}


def test_the_truth_is_as_the_setting_says(population):
    accuracies = population.losses("accuracy").mean(axis=1)
    assert accuracies == pytest.approx([0.8, 0.82], abs=0.01)
    shares = np.bincount(population.labels) / len(population.labels)
    assert shares == pytest.approx(simulated_rows.SHARES[6, True], abs=0.01)


def test_intervals_are_those_of_a_report(population, drawn, monkeypatch):
    counts = population.counts(drawn)
    right = population.losses("accuracy")[0][drawn].sum(axis=1)
    for number, rows in enumerate(drawn):
        expected = accuracy_interval(int(right[number]), SETTING.rows)
        assert [bound[number] for bound in simulated_intervals.wilson_bounds(right, SETTING.rows)] == list(expected[1:])
        losses = population.nll[0][drawn]
        expected = mean_interval(losses[number])
        assert [bound[number] for bound in simulated_intervals.mean_bounds(losses)] == pytest.approx(expected[1:])
        reasons = narrow_reasons(population.labels[rows], population.predictions[0][rows], SETTING.classes)
        assert simulated_intervals.is_warned(population, counts)[number] == bool(reasons)


def test_bootstrapped_intervals_are_those_of_a_report(population, drawn, monkeypatch):
    bounds = []
    monkeypatch.setattr(simulated_intervals, "inside", lambda truth, low, high: bounds.append((low, high)))
    monkeypatch.setattr(simulated_intervals, "RESAMPLES", 4_000)
    simulated_intervals.count_coverage(population, population.counts(drawn), np.random.default_rng(0))
    matrix = np.zeros((6, 7), dtype=int)
    np.add.at(matrix, (population.labels[drawn[0]], population.predictions[0][drawn[0]]), 1)
    for (low, high), expected in zip(bounds[::2], count_intervals(matrix).values(), strict=True):
        width = expected.high - expected.low
        assert (low[0], high[0]) == pytest.approx(expected[1:], abs=0.1 * width)


def test_p_values_are_those_of_a_comparison(population, drawn, monkeypatch):
    monkeypatch.setattr(simulated_tests, "SWAPS", 4_000)
    counts = population.counts(drawn)
    found = simulated_tests.swap_p(population, counts, np.random.default_rng(0))
    exact = simulated_tests.mcnemar_p(population, counts)
    losses = (population.nll[0] - population.nll[1])[drawn]
    of_losses = simulated_tests.sign_flip_p(losses, np.random.default_rng(0))
    for number, rows in enumerate(drawn):
        of_rows = Rows(population.labels[rows], 6)
        first, second = (predictions[rows] for predictions in population.predictions)
        assert found[number] == pytest.approx(swap_test(first, second, of_rows), abs=0.04)
        right = (first == of_rows.labels).astype(int), (second == of_rows.labels).astype(int)
        assert exact[number] == pytest.approx(
            mcnemar(int((right[0] > right[1]).sum()), int((right[0] < right[1]).sum()))
        )
        assert of_losses[number] == pytest.approx(sign_flip_test(losses[number : number + 1], of_rows)[0], abs=0.04)


def test_the_smallest_of_ten_p_values_decides_whether_holm_finds_anything():
    p_values = np.random.default_rng(0).uniform(0, 0.03, size=(20, 10))
    found = [min(holm(list(each))) < 0.05 for each in p_values]
    assert 0 < sum(found) < 20
    assert found == [bool(10 * each.min() < 0.05) for each in p_values]


def answers(right):
    """Of runs that are right or not about rows whose label is 1."""
    unknown = np.full(right.shape, np.nan)
    return Answers(right.astype(int), unknown, unknown)


def test_seeds_are_tested_as_in_a_comparison():
    draw = np.random.default_rng(0)
    right = [draw.random((1, 3, 400)) < chance + draw.normal(0, 0.03, (1, 3, 1)) for chance in (0.7, 0.78)]
    found = differences([answers(right[0][0]), answers(right[1][0])], [(0, 1)], Rows(np.ones(400, dtype=int), 2))
    expected = found[0]["accuracy"]
    value, width, p = simulation.student_of_seeds([each.astype(np.float64) for each in right])
    assert value[0] == pytest.approx(expected.value)
    assert width[0] == pytest.approx((expected.high - expected.low) / 2, rel=0.1)
    assert p[0] == pytest.approx(expected.p, abs=0.02)


def test_groups_have_the_interval_of_a_comparison():
    right = np.random.default_rng(0).random((30, simulation.GROUP_SIZE)) < np.linspace(0.4, 1, 30)[:, None]
    rows = Rows(np.ones(right.size, dtype=int), 2, np.repeat(np.arange(30), simulation.GROUP_SIZE))
    expected = method_intervals(answers(right.reshape(1, -1)), rows)["accuracy"]
    low, high = simulation.group_bounds(right.sum(axis=1)[None].astype(np.float64))
    # The library also divides by rows - 1 in place of rows.
    assert (low[0], high[0]) == pytest.approx(expected[1:], rel=1e-3)


@pytest.mark.parametrize(("alarms", "expected"), [(500, False), (540, False), (550, True), (0, False)])
def test_the_exact_limit_decides_which_alarms_are_too_frequent(alarms, expected):
    assert is_too_frequent(alarms / 10_000, 10_000) == expected


def test_failures_are_marked_and_counted():
    kinds = dict.fromkeys(("accuracy", "macro_f1", "mcc", "nll", "brier"), 0.95)
    cell = {
        "rows": 100,
        "accuracy": 0.6,
        "classes": 2,
        "skewed": True,
        "seeds": 1,
        "groups": 0,
        "warned": 0.8,
        "coverage": kinds | {"nll": 0.921},
        "difference_coverage": kinds,
        "false_alarms": dict.fromkeys((*kinds, "holm"), 0.05) | {"mcc": 0.06},
    }
    groups = {**cell, "groups": 10, "coverage": {"accuracy": 0.9}, "false_alarms": {"accuracy": 0.05}}
    results = {"draws": 2_000, "tests": 10_000, "cells": [cell, groups]}
    names = [(kind, name) for _, kind, name in failures(results)]
    assert names == [("coverage", "nll"), ("false_alarms", "mcc"), ("coverage", "accuracy")]
    text = markdown(results)
    assert "| 100 | 2, skewed | 0.60 | 80% | 95.0 | 95.0 | 95.0 | **92.1** | 95.0 |" in text
    assert "| 100 | 2, skewed | 0.60 | 5.0 | 5.0 | **6.0** | 5.0 | 5.0 | 5.0 |" in text
    assert "| 100 | 10 groups | 0.60 | 80% | **90.0** | 95.0 | 5.0 |" in text
    assert summary(results) == [
        "intervals of accuracy: 1 of 2 settings fail; reports warn of 1 of them",
        "intervals of NLL: 1 of 1 settings fail; reports warn of 1 of them",
        "tests of MCC: 1 of 1 settings fail",
        "without a warning: tests of MCC, 6.0 %, with 100 rows, 2 skewed classes, accuracy 0.60",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [Setting(500, 0.8), Setting(500, 0.7, 6), Setting(100, 0.8, seeds=3), Setting(300, 0.8, groups=30)],
    ids=["2 classes", "6 classes", "seeds", "groups"],
)
def test_coverage_and_false_alarms_are_within_their_limits(setting):
    found = measure(setting, draws=300, tests=600)
    for kind in ("coverage", "difference_coverage"):
        for share in found.get(kind, {}).values():
            low, high = binomtest(round(share * 300), 300).proportion_ci(0.99)
            assert low <= WANTED[1], found
            assert high >= WANTED[0], found
    assert not any(is_too_frequent(rate, 600) for rate in found["false_alarms"].values()), found
