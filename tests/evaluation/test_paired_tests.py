"""Paired tests against SciPy, statsmodels and complete enumeration."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from textclf.evaluation.answers import Rows
from textclf.evaluation.paired_tests import holm, mcnemar, sign_flip_test, swap_test


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


@pytest.mark.slow
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
