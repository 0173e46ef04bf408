"""The numbers behind the figures and pages of a report."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.evaluation.run_folders import invented_labels, invented_predictions
from textclf.evaluation.curves import accuracy_by_length, calibration, rankings, risk_coverage, text_lengths
from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.report import summarize


def table_of(log_scores, labels, predictions=None, texts=None, pairs=None):
    log_scores = np.asarray(log_scores, dtype=np.float64)
    labels = np.asarray(labels)
    if predictions is None:
        predictions = log_scores.argmax(axis=1)
    names = tuple(f"class {place}" for place in range(log_scores.shape[1]))
    ids = [str(row) for row in range(len(labels))]
    return PredictionTable(ids, texts or ids, labels, np.asarray(predictions), log_scores, names, True, pairs)


def invented_table(rows=400, num_classes=4, invalid=0, seed=0):
    draw = np.random.default_rng(seed)
    labels = invented_labels(rows, num_classes)
    predictions, log_scores = invented_predictions(labels, 0.7, seed, num_classes)
    log_scores += draw.normal(0, 0.2, log_scores.shape)
    log_scores -= np.log(np.exp(log_scores).sum(axis=1, keepdims=True))
    predictions = log_scores.argmax(axis=1)
    predictions[:invalid] = -1
    log_scores[:invalid] = np.nan
    return table_of(log_scores, labels, predictions)


def of_confidence(confidence, right):
    """A table of two classes, all rows of the first, and whether each is right."""
    confidence = np.asarray(confidence)
    best = np.log(np.clip(np.stack([confidence, 1 - confidence], axis=1), 1e-12, None))
    scores = np.where(np.asarray(right)[:, None], best, best[:, ::-1])
    return table_of(scores, np.zeros(len(confidence), dtype=np.int64))


@pytest.mark.parametrize("invalid", [0, 30])
def test_the_calibration_error_is_that_of_the_report(invalid):
    table = invented_table(invalid=invalid)
    found = calibration(table)
    assert found.ece == pytest.approx(summarize(table)["test/ece"], abs=1e-6)
    assert found.rows.sum() == 400 - invalid


def test_bins_have_their_rows():
    found = calibration(of_confidence([0.55, 0.65, 0.65, 0.95, 1.0], [True, True, False, True, True]), bins=10)
    assert found.rows.tolist() == [0, 0, 0, 0, 0, 1, 2, 0, 0, 2]
    assert found.confidence[[5, 6, 9]] == pytest.approx([0.55, 0.65, 0.975])
    assert [found.accuracy[place].value for place in (5, 6, 9)] == [1, 0.5, 1]
    assert np.isnan(found.confidence[0])
    assert np.isnan(found.accuracy[0].value)
    assert found.accuracy[6].low < 0.5 < found.accuracy[6].high


def test_calibration_without_an_answer():
    found = calibration(invented_table(rows=5, invalid=5))
    assert found.rows.sum() == 0
    assert np.isnan(found.ece)


def test_risk_and_coverage():
    found = risk_coverage(of_confidence([0.9, 0.8, 0.7, 0.6], [True, False, True, False]))
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert found.risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert found.best == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.best_area == pytest.approx((1 / 3 + 1 / 2) / 4)


def test_rows_of_equal_confidence_are_one_point_in_whatever_order():
    draw = np.random.default_rng(0)
    right = np.arange(200) % 4 > 0
    areas = set()
    for _ in range(3):
        draw.shuffle(right)
        found = risk_coverage(of_confidence(np.full(200, 0.9), right))
        assert found.coverage.tolist() == [1]
        areas.add(round(found.area, 9))
    assert areas == {0.25}


def test_invalid_answers_are_the_least_certain_mistakes():
    table = invented_table(invalid=40)
    found = risk_coverage(table)
    assert found.rows[-2] == 360
    assert found.risk[-1] == pytest.approx((table.predictions != table.labels).mean())


@pytest.mark.parametrize("num_classes", [2, 4])
def test_areas_are_those_of_scikit_learn(num_classes):
    table = invented_table(num_classes=num_classes)
    found = rankings(table)
    assert [ranking.label for ranking in found] == list(range(num_classes))
    for ranking in found:
        truth, scores = table.labels == ranking.label, np.exp(table.log_scores[:, ranking.label])
        assert ranking.average_precision == pytest.approx(average_precision_score(truth, scores))
        assert ranking.auroc == pytest.approx(roc_auc_score(truth, scores))
        assert ranking.rows == truth.sum()


def test_classes_without_rows_have_no_curves():
    table = table_of(np.log(np.full((6, 3), 1 / 3)), [0, 0, 0, 2, 2, 2])
    assert [ranking.label for ranking in rankings(table)] == [0, 2]
    assert rankings(table_of(np.log(np.full((4, 2), 0.5)), [1, 1, 1, 1])) == []


def test_an_invalid_answer_ranks_below_all_others():
    scores = np.log([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    scores[0] = np.nan
    (first, _) = rankings(table_of(scores, [0, 0, 1], [-1, 1, 1]))
    assert first.auroc == pytest.approx(0.5)


@pytest.mark.parametrize("rows", [1, 19, 45, 1000])
def test_groups_of_length_share_all_rows(rows):
    draw = np.random.default_rng(rows)
    texts = ["x" * length for length in draw.geometric(0.02, rows)]
    labels = draw.integers(2, size=rows)
    table = table_of(np.log(np.full((rows, 2), 0.5)), labels, texts=texts)
    groups = accuracy_by_length(table)
    lengths = text_lengths(table)
    assert sum(group.rows for group in groups) == rows
    for group in groups:
        members = (lengths >= group.shortest) & (lengths <= group.longest)
        assert members.sum() == group.rows
        assert group.accuracy.value == pytest.approx((labels[members] == 0).mean())
    assert all(one.longest < other.shortest for one, other in itertools.pairwise(groups))


def test_texts_of_one_length_are_one_group():
    table = table_of(np.log(np.full((100, 2), 0.5)), np.zeros(100, dtype=np.int64), texts=["가나다"] * 100)
    assert [(group.shortest, group.longest, group.rows) for group in accuracy_by_length(table)] == [(3, 3, 100)]


def test_the_length_of_a_pair_is_that_of_both():
    table = table_of(np.log(np.full((2, 2), 0.5)), [0, 1], texts=["가나", ""], pairs=["abc", "d"])
    assert text_lengths(table).tolist() == [5, 1]
