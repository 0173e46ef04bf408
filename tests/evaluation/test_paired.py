"""Paired differences and tests against SciPy, statsmodels and complete enumeration."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from textclf.evaluation import paired
from textclf.evaluation.intervals import count_metrics
from textclf.evaluation.paired import (
    METRICS,
    Answers,
    Rows,
    differences,
    holm,
    mcnemar,
    method_intervals,
    sign_flip_test,
    swap_test,
    wins_and_losses,
)


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


def macro_f1(labels, predictions, num_classes=3):
    return f1_score(labels, predictions, average="macro", labels=range(num_classes), zero_division=0)


@pytest.mark.parametrize(("wins", "losses"), [(31, 12), (5, 5), (1, 0), (200, 150), (0, 9)])
def test_mcnemar_is_that_of_statsmodels(wins, losses):
    assert mcnemar(wins, losses) == pytest.approx(reference_mcnemar([[0, wins], [losses, 0]], exact=True).pvalue)


def test_mcnemar_without_disagreement():
    assert mcnemar(0, 0) == 1.0


def test_holm_skips_what_is_not_known():
    assert holm([0.01, np.nan, 0.04, 0.03]) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)


def all_swaps(statistic, rows):
    """Share of all swaps that give a statistic as large as that of no swap."""
    values = [abs(statistic(np.array(swapped))) for swapped in itertools.product([False, True], repeat=rows)]
    return np.mean(np.array(values) >= values[0] - 1e-12)


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 3, 4]])
def test_swaps_give_the_p_value_of_complete_enumeration(groups):
    draw = np.random.default_rng(3)
    labels = draw.integers(3, size=7)
    first = np.where(draw.random(7) < 0.9, labels, 0)
    second = np.where(draw.random(7) < 0.3, labels, draw.integers(-1, 3, size=7))
    rows = Rows(labels, 3, None if groups is None else np.array(groups))
    units = rows.units

    def difference(metric):
        def of_swapped(swapped):
            swapped = swapped[units]
            one, other = np.where(swapped, second, first), np.where(swapped, first, second)
            return metric(labels, one) - metric(labels, other)

        return of_swapped

    found = swap_test(first, second, rows)
    expected = [all_swaps(difference(metric), rows.unit_count) for metric in (macro_f1, matthews_corrcoef)]
    assert found == pytest.approx(expected, abs=0.015)
    losses = draw.normal(0.4, 1, size=7)
    [p] = sign_flip_test(losses[None], rows)

    def flipped(swapped):
        return np.where(swapped[units], -losses, losses).sum()

    assert p == pytest.approx(all_swaps(flipped, rows.unit_count), abs=0.015)


def test_sign_flips_are_those_of_scipy():
    values = np.random.default_rng(0).normal(0.1, 1, size=200)
    expected = stats.permutation_test(
        (values, np.zeros(200)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        rng=0,
    )
    found = sign_flip_test(np.stack([values, -values, 0 * values]), Rows(np.zeros(200, dtype=int), 2))
    assert found == pytest.approx([expected.pvalue, expected.pvalue, 1.0], abs=0.02)
    assert found[0] == found[1]


def macro_f1_of(labels, predictions):
    return count_metrics(np.ones((1, len(labels))), labels, predictions, 3)[0, 0]


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
    monkeypatch.setattr(paired, "CHUNK", 20_000)
    for before, after in zip(whole, differences(methods, pairs, rows), strict=True):
        for metric in METRICS:
            assert after[metric][:3] == pytest.approx(before[metric][:3])
