"""Paired differences and intervals of one method against SciPy."""

import numpy as np
import pytest
from scipy import stats

from textclf.evaluation import resampling
from textclf.evaluation.answers import METRICS, Answers, Rows, wins_and_losses
from textclf.evaluation.intervals import accuracy_interval, count_metrics
from textclf.evaluation.method_intervals import method_intervals
from textclf.evaluation.paired import differences
from textclf.evaluation.paired_tests import mcnemar


def world(rows, accuracies, num_classes=3, seeds=1, groups=None, seed=0):
    """Labels, and methods of the given accuracies that find the same rows hard."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(num_classes, size=rows)
    hard = draw.random(rows)
    methods = []
    for accuracy in accuracies:
        right = 0.8 * hard + 0.2 * draw.random((seeds, rows)) < accuracy
        predictions = np.where(right, labels, (labels + 1) % num_classes)
        confidence = draw.uniform(0.5, 0.99, size=(seeds, rows))
        probability = np.where(right, confidence, 1 - confidence)
        methods.append(Answers(predictions, -np.log(probability), 2 * (1 - probability) ** 2))
    return Rows(labels, num_classes, groups), methods


def macro_f1_of(labels, predictions):
    return count_metrics(np.ones((1, len(labels))), labels, predictions, 3)[0, 0]


@pytest.mark.slow
def test_one_run_against_another():
    rows, methods = world(1_000, (0.85, 0.8))
    [found] = differences(methods, [(0, 1)], rows)
    first, second = methods
    wins, losses = wins_and_losses(first, second, rows)
    assert found["accuracy"].p == mcnemar(wins, losses)
    assert found["accuracy"].value == pytest.approx((wins - losses) / 1_000)
    for metric, values in (("nll", first.nll[0] - second.nll[0]), ("brier", first.brier[0] - second.brier[0])):
        expected = stats.ttest_1samp(values, 0)
        interval = expected.confidence_interval()
        assert found[metric][:3] == pytest.approx((values.mean(), interval.low, interval.high))
        assert found[metric].p == pytest.approx(expected.pvalue, abs=0.02)
    bootstrap = stats.bootstrap(
        (rows.labels, first.predictions[0], second.predictions[0]),
        lambda labels, one, other: macro_f1_of(labels, one) - macro_f1_of(labels, other),
        paired=True,
        vectorized=False,
        n_resamples=700,
        method="percentile",
        rng=0,
    ).confidence_interval
    width = bootstrap.high - bootstrap.low
    assert found["macro_f1"].low == pytest.approx(bootstrap.low, abs=0.15 * width)
    assert found["macro_f1"].high == pytest.approx(bootstrap.high, abs=0.15 * width)


def test_the_order_of_two_methods_changes_signs_alone():
    rows, methods = world(300, (0.85, 0.8))
    [found, reverse] = differences(methods, [(0, 1), (1, 0)], rows)
    for metric in METRICS:
        assert reverse[metric].value == pytest.approx(-found[metric].value)
        assert (reverse[metric].low, reverse[metric].high) == pytest.approx((-found[metric].high, -found[metric].low))
        assert reverse[metric].p == pytest.approx(found[metric].p, abs=0.005)  # other random swaps


def test_equal_methods_do_not_differ():
    rows, [method] = world(100, (0.8,))
    [found] = differences([method, method], [(0, 1)], rows)
    for metric in METRICS:
        assert found[metric][:4] == (0, 0, 0, 1)


def test_losses_are_compared_on_rows_that_both_answered():
    rows, [first, second] = world(200, (0.85, 0.8))
    first.nll[0, :50] = first.brier[0, :50] = np.nan
    second.nll[0, 40:60] = second.brier[0, 40:60] = np.nan
    [found] = differences([first, second], [(0, 1)], rows)
    assert found["nll"].rows == 140
    assert found["nll"].value == pytest.approx((first.nll - second.nll)[0, 60:].mean())
    assert found["accuracy"].rows == 200


def test_a_method_without_probabilities_has_no_difference_in_losses():
    rows, [first, second] = world(200, (0.85, 0.8))
    second.nll[:] = second.brier[:] = np.nan
    [found] = differences([first, second], [(0, 1)], rows)
    assert np.isnan(found["nll"][:4]).all()
    assert found["nll"].rows == 0
    assert np.isnan(method_intervals(second, rows)["nll"]).all()


def test_an_infinite_loss_has_no_interval():
    rows, [first, second] = world(200, (0.85, 0.8))
    second.nll[0, 3] = np.inf
    [found] = differences([first, second], [(0, 1)], rows)
    assert np.isnan(found["nll"][1:4]).all()
    assert not np.isnan(found["brier"][:4]).any()


def test_groups_widen_the_interval_as_the_sandwich_says():
    groups = np.arange(400) // 8
    rows, methods = world(400, (0.85, 0.8), groups=groups)
    values = np.repeat(np.random.default_rng(0).normal(size=50), 8)  # the same within a group
    methods[0].nll[0] = methods[1].nll[0] + values
    [found] = differences(methods, [(0, 1)], rows)
    residuals = np.bincount(groups, values - values.mean())
    error = np.sqrt(50 / 49 * (residuals**2).sum()) / 400
    width = stats.t.ppf(0.975, 49) * error
    assert found["nll"][:3] == pytest.approx((values.mean(), values.mean() - width, values.mean() + width))
    alone = differences(methods, [(0, 1)], Rows(rows.labels, 3))[0]
    assert found["nll"].high - found["nll"].low > 2 * (alone["nll"].high - alone["nll"].low)
    assert found["nll"].p > alone["nll"].p


def test_groups_of_one_row_change_little():
    rows, methods = world(500, (0.85, 0.8))
    grouped = Rows(rows.labels, 3, np.arange(500))
    for metric in METRICS:
        alone = method_intervals(methods[0], rows)[metric]
        assert method_intervals(methods[0], grouped)[metric] == pytest.approx(alone, abs=0.01)
        alone = differences(methods, [(0, 1)], rows)[0][metric]
        assert differences(methods, [(0, 1)], grouped)[0][metric][:4] == pytest.approx(alone[:4], abs=0.01)


def test_seeds_that_differ_alone_have_student_s_interval_of_the_seeds():
    rows, [method] = world(100, (0.8,), seeds=5)
    of_seeds = np.array([0.3, 0.35, 0.5, 0.42, 0.44])
    method.nll[:] = of_seeds[:, None]  # no row differs from another
    expected = stats.ttest_1samp(of_seeds, 0).confidence_interval()
    found = method_intervals(method, rows)["nll"]
    width = expected.high - expected.low
    assert found == pytest.approx((of_seeds.mean(), expected.low, expected.high), abs=0.1 * width)


def test_equal_seeds_have_the_interval_of_the_rows():
    rows, methods = world(1_000, (0.85, 0.8))
    repeated = [Answers(*(np.repeat(values, 3, axis=0) for values in vars(method).values())) for method in methods]
    for metric in METRICS:
        alone = method_intervals(methods[0], rows)[metric]
        width = alone.high - alone.low
        assert method_intervals(repeated[0], rows)[metric] == pytest.approx(alone, abs=0.1 * width)
        [one] = differences(methods, [(0, 1)], rows)
        [found] = differences(repeated, [(0, 1)], rows)
        assert found[metric][:3] == pytest.approx(one[metric][:3], abs=0.1 * width)
        assert found[metric].p == pytest.approx(one[metric].p, abs=0.02)
    assert wins_and_losses(*repeated, rows) is None


def test_chunks_change_nothing(monkeypatch):
    rows, methods = world(300, (0.85, 0.8, 0.82), groups=np.arange(300) // 3)
    pairs = [(0, 1), (2, 1)]
    whole = differences(methods, pairs, rows)
    monkeypatch.setattr(resampling, "CHUNK", 20_000)
    for before, after in zip(whole, differences(methods, pairs, rows), strict=True):
        for metric in METRICS:
            assert after[metric][:3] == pytest.approx(before[metric][:3])


@pytest.mark.parametrize("rows", [1, 3, 200])
def test_seeds_whose_rows_are_all_alike_have_the_p_value_of_a_permutation_test(rows):
    labels = np.zeros(rows, dtype=int)
    unknown = np.full((3, rows), np.nan)
    right, wrong = (Answers(np.full((3, rows), answer), unknown, unknown) for answer in (0, 1))
    [found] = differences([right, wrong], [(0, 1)], Rows(labels, 2))
    assert found["accuracy"][:3] == (1, 1, 1)
    assert found["accuracy"].p == pytest.approx(mcnemar(rows, 0))
    [same] = differences([right, right], [(0, 1)], Rows(labels, 2))
    assert same["accuracy"][:4] == (0, 0, 0, 1)


@pytest.mark.parametrize(("seeds", "groups", "units"), [(3, None, 40), (1, 10, 10), (3, 10, 10)])
def test_the_accuracy_of_a_method_that_is_always_right_has_wilson_s_interval(seeds, groups, units):
    labels = np.arange(40) % 3
    losses = np.random.default_rng(0).random((2, seeds, 40))
    rows = Rows(labels, 3, None if groups is None else np.arange(40) % groups)
    found = method_intervals(Answers(np.tile(labels, (seeds, 1)), *losses), rows)
    assert found["accuracy"] == pytest.approx(accuracy_interval(units, units))
    assert list(found) == list(METRICS)
