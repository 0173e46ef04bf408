"""Intervals of metrics against SciPy, statsmodels and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef
from statsmodels.stats.proportion import proportion_confint

from textclf.evaluation.intervals import (
    accuracy_interval,
    count_intervals,
    count_metrics,
    mean_interval,
    narrow_reasons,
    resampled_counts,
    smallest_visible,
)


def answers(rows, num_classes, accuracy, seed=0):
    """Labels and predictions; the first class is the most frequent."""
    draw = np.random.default_rng(seed)
    shares = 0.6 ** np.arange(num_classes)
    labels = draw.choice(num_classes, rows, p=shares / shares.sum())
    right = draw.random(rows) < accuracy
    return labels, np.where(right, labels, draw.integers(num_classes, size=rows))


def matrix_of(labels, predictions, num_classes):
    matrix = np.zeros((num_classes, num_classes + 1), dtype=int)
    np.add.at(matrix, (labels, np.where(predictions < 0, num_classes, predictions)), 1)
    return matrix


@pytest.mark.parametrize(("correct", "rows"), [(0, 7), (7, 7), (1, 1), (3, 10), (880, 1066), (99_999, 100_000)])
def test_accuracy_is_wilson_s(correct, rows):
    expected = proportion_confint(correct, rows, method="wilson")
    np.testing.assert_allclose(accuracy_interval(correct, rows), (correct / rows, *expected), atol=1e-12)


@pytest.mark.parametrize("rows", [2, 3, 500])
def test_means_have_student_s_interval(rows):
    values = np.random.default_rng(rows).exponential(size=rows)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    np.testing.assert_allclose(mean_interval(values), (values.mean(), expected.low, expected.high))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], (np.nan,) * 3), ([0.5], (0.5, np.nan, np.nan)), ([0.5, np.inf], (np.inf, np.nan, np.nan))],
)
def test_a_mean_without_an_interval(values, expected):
    np.testing.assert_equal(tuple(mean_interval(np.array(values))), expected)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_count_metrics_are_those_of_scikit_learn(num_classes):
    labels, predictions = answers(300, num_classes, 0.7)
    weights = np.random.default_rng(1).integers(0, 3, size=(4, 300))
    found = count_metrics(weights, labels, predictions, num_classes)
    classes = range(num_classes)
    for row, (macro_f1, mcc) in zip(weights, found, strict=True):
        expected = f1_score(labels, predictions, labels=classes, average="macro", sample_weight=row, zero_division=0)
        assert macro_f1 == pytest.approx(expected)
        assert mcc == pytest.approx(matthews_corrcoef(labels, predictions, sample_weight=row))


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [2, 5])
def test_bootstrap_is_that_of_scipy_over_rows(num_classes):
    labels, predictions = answers(400, num_classes, 0.8)
    found = count_intervals(matrix_of(labels, predictions, num_classes), resamples=20_000)
    once = np.ones((1, 400))
    for index, metric in enumerate(("macro_f1", "mcc")):
        expected = stats.bootstrap(
            (labels, predictions),
            lambda y, p, index=index: count_metrics(once, y, p, num_classes)[0, index],
            paired=True,
            vectorized=False,
            n_resamples=700,
            method="percentile",
            rng=0,
        ).confidence_interval
        width = expected.high - expected.low
        assert found[metric][1:] == pytest.approx((expected.low, expected.high), abs=0.15 * width)


def test_the_bootstrap_is_the_same_each_time_and_counts_invalid_answers_as_wrong():
    labels, predictions = answers(200, 3, 0.8)
    predictions[:20] = -1
    matrix = matrix_of(labels, predictions, 3)
    found = count_intervals(matrix)
    assert found == count_intervals(matrix)
    assert found["macro_f1"].value == pytest.approx(
        f1_score(labels, predictions, labels=range(3), average="macro", zero_division=0)
    )
    assert found["macro_f1"].low < found["macro_f1"].value < found["macro_f1"].high


def test_many_classes_are_resampled_in_chunks(monkeypatch):
    matrix = matrix_of(*answers(2_000, 40, 0.5), 40)
    whole = count_intervals(matrix)
    monkeypatch.setattr("textclf.evaluation.intervals.CHUNK", 1_000)
    for metric, interval in count_intervals(matrix).items():
        assert interval == pytest.approx(whole[metric])


def test_cells_of_few_rows_are_drawn_from_the_same_distribution(monkeypatch):
    cells = np.array([1, 2, 5, 40, 52])
    drawn = []
    for limit in (0, 1_000):  # counts of cells, single rows
        monkeypatch.setattr("textclf.evaluation.intervals.FEW_ROWS_OF_A_CELL", limit)
        drawn.append(resampled_counts(cells, 20_000, np.random.default_rng(0)))
    for counts in drawn:
        assert (counts.sum(axis=1) == 100).all()
        np.testing.assert_allclose(counts.mean(axis=0), cells, atol=0.2)
        np.testing.assert_allclose(counts.var(axis=0), cells * (1 - cells / 100), rtol=0.05)


@pytest.mark.parametrize(
    ("rows", "disagreements", "expected"), [(1066, 106.6, 0.0271), (1066, 43, 0.0172), (3, 3, 1.0), (3, 0, 0.0)]
)
def test_the_smallest_visible_difference(rows, disagreements, expected):
    assert smallest_visible(rows, disagreements) == pytest.approx(expected, abs=5e-5)


@pytest.mark.slow
def test_the_smallest_visible_difference_is_found_in_four_of_five_test_sets():
    rows, disagreeing = 2_000, 0.1
    difference = smallest_visible(rows, rows * disagreeing)
    draw = np.random.default_rng(0)
    shares = [(disagreeing + difference) / 2, (disagreeing - difference) / 2, 1 - disagreeing]
    wins, losses, _ = draw.multinomial(rows, shares, size=2_000).T
    significant = np.mean(
        [stats.binomtest(int(w), int(w + m)).pvalue < 0.05 for w, m in zip(wins, losses, strict=True)]
    )
    assert significant == pytest.approx(0.8, abs=0.04)


def test_reasons_for_a_narrow_interval():
    assert narrow_reasons(*answers(1_000, 3, 0.8), 3, seeds=5, groups=200) == []
    assert narrow_reasons(*answers(1_000, 3, 0.8), 3, seeds=3, groups=40) == [
        "3 seeds are fewer than 5",
        "40 groups are fewer than 200",
    ]
    labels = np.array([0] * 50 + [1] * 4)
    assert narrow_reasons(*answers(1_000, 3, 0.8), 4) == ["0 rows of the rarest class are fewer than 20"]
    assert narrow_reasons(labels, np.zeros(54, dtype=int), 2) == [
        "54 rows are fewer than 300",
        "4 rows of the rarest class are fewer than 20",
        "4 wrong rows are fewer than 20",
    ]
