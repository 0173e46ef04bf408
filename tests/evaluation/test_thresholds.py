import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textclf.evaluation.calibration import Thresholds, tune_thresholds
from textclf.evaluation.metrics import ClassificationMetrics, predicted_classes


def macro_f1(log_scores, labels, thresholds=None):
    metrics = ClassificationMetrics(log_scores.shape[1])
    deciding = log_scores if thresholds is None else Thresholds(thresholds).apply(log_scores)
    metrics.update(torch.tensor(log_scores), torch.tensor(labels), predicted_classes(torch.tensor(deciding)))
    return metrics.compute()["macro_f1"].item()


def drawn(rows, classes, seed):
    random = np.random.default_rng(seed)
    labels = random.choice(classes, rows, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    logits = random.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels] + np.arange(classes)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), labels


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_two_classes_get_the_best_threshold_of_all(seed):
    log_scores, labels = drawn(300, 2, seed)
    found = tune_thresholds(log_scores, labels)
    probabilities = np.sort(np.exp(log_scores[:, 1]))
    cuts = [0.0, *((probabilities[:-1] + probabilities[1:]) / 2), 1.0]
    by_hand = max(
        macro_f1(np.log(np.eye(2)[(np.exp(log_scores[:, 1]) > cut).astype(int)] + 1e-9), labels) for cut in cuts
    )
    assert found.sum() == pytest.approx(1)
    assert macro_f1(log_scores, labels, found) == pytest.approx(by_hand)
    answered_one = predicted_classes(torch.tensor(Thresholds(found).apply(log_scores))).numpy() == 1
    np.testing.assert_array_equal(answered_one, np.exp(log_scores[:, 1]) > found[1])


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 10**6))
def test_never_worse_than_the_most_probable_class(rows, classes, seed):
    log_scores, labels = drawn(rows, classes, seed)
    found = tune_thresholds(log_scores, labels)
    assert (found > 0).all()
    assert found.sum() == pytest.approx(1)
    assert macro_f1(log_scores, labels, found) >= macro_f1(log_scores, labels) - 1e-12


def test_a_rare_class_gains():
    log_scores, labels = drawn(2000, 4, 0)
    found = tune_thresholds(log_scores, labels)
    assert macro_f1(log_scores, labels, found) > macro_f1(log_scores, labels) + 0.02


def test_certain_and_invalid_scores():
    log_scores = np.array([[0.0, -np.inf], [-np.inf, 0.0], [np.nan, np.nan], [np.log(0.6), np.log(0.4)]])
    found = tune_thresholds(log_scores, np.array([0, 1, 0, 1]))
    assert np.isfinite(found).all()
    assert found[1] < 0.4
    np.testing.assert_array_equal(tune_thresholds(np.full((2, 2), np.nan), np.array([0, 1])), [0.5, 0.5])
