"""Agreement of methods and ensembles, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from textclf.evaluation.agreement import (
    LISTED,
    agreement_of,
    all_missed,
    ensembles_of,
    majority_vote,
    mean_log_probability,
)
from textclf.evaluation.answers import Rows

IDS = [f"id {row}" for row in range(100)]


def test_kappa_is_that_of_scikit_learn_and_rows_are_counted():
    draw = np.random.default_rng(0)
    labels, one, other = draw.integers(3, size=(3, 100))
    one[:60] = labels[:60]
    other[:5] = -1
    (pair,) = agreement_of({"one": one, "other": other}, labels, IDS)
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(one, other))
    only_one = np.flatnonzero((one == labels) & (other != labels))
    assert (pair["first"], pair["second"]) == ("one", "other")
    assert pair["only_first"] == len(only_one) > LISTED
    assert pair["ids_only_first"] == [IDS[row] for row in only_one[:LISTED]]
    assert pair["only_second"] == ((other == labels) & (one != labels)).sum()


def test_methods_that_always_answer_the_same_agree():
    same = np.zeros(10, dtype=np.int64)
    assert agreement_of({"a": same, "b": same}, same, IDS)[0]["kappa"] == 1.0


def test_rows_that_all_miss():
    labels = np.array([0, 1, 1, 0])
    answers = {"a": np.array([1, 1, 0, 1]), "b": np.array([1, 0, 0, 0])}
    assert all_missed(answers, labels, IDS) == {"count": 2, "ids": ["id 0", "id 2"]}


@pytest.mark.parametrize(
    ("votes", "winner"),
    [
        ((1, 1, 0), 1),
        ((0, 1, 2), 0),  # a tie: the first method's answer
        ((-1, 2, 1), 2),  # an invalid answer is no vote
        ((-1, -1, -1), -1),
        ((2, 1, 1), 1),
    ],
)
def test_majority_vote_without_probabilities(votes, winner):
    assert majority_vote(np.array(votes)[:, None], None, 3).tolist() == [winner]


def test_ties_are_decided_by_the_mean_of_log_probabilities():
    scores = np.log([[[0.6, 0.3, 0.1]], [[0.1, 0.85, 0.05]]])
    answers = np.array([[0], [1]])
    assert majority_vote(answers, mean_log_probability(scores), 3).tolist() == [1]


def test_a_class_without_a_vote_never_wins():
    scores = np.log([[[0.5, 0.05, 0.45]], [[0.05, 0.5, 0.45]]])
    answers = np.array([[0], [1]])
    assert mean_log_probability(scores).argmax() == 2
    assert majority_vote(answers, mean_log_probability(scores), 3)[0] in (0, 1)


def test_an_invalid_answer_has_no_part_in_the_mean():
    scores = np.log(np.array([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], [[0.3, 0.7], [0.5, 0.5], [0.4, 0.6]]]))
    scores[1, 0] = np.nan
    scores[:, 1] = np.nan  # a row that no method answered
    mean = mean_log_probability(scores)
    np.testing.assert_allclose(mean[0], np.log([0.9, 0.1]))
    assert np.isnan(mean[1]).all()
    answers = np.array([[0, -1, 0], [-1, -1, 1]])
    (ensemble,) = ensembles_of({"a": answers[0], "b": answers[1]}, list(scores), Rows(np.array([0, 0, 1]), 2))
    assert ensemble["mean_log_probability"]["accuracy"] == ensemble["vote"]["accuracy"] == pytest.approx(2 / 3)


def test_without_probabilities_of_one_method_there_is_no_mean():
    scores = np.log(np.full((2, 4, 2), 0.5))
    scores[1] = np.nan
    assert mean_log_probability(scores) is None


def test_ensembles_of_pairs_and_of_all():
    labels = np.arange(60) % 3
    draw = np.random.default_rng(1)
    answers, scores = {}, []
    for name in "abc":
        probabilities = draw.dirichlet(np.ones(3), size=60)
        answers[name] = probabilities.argmax(axis=1)
        scores.append(np.log(probabilities))
    found = ensembles_of(answers, scores, Rows(labels, 3))
    assert [ensemble["of"] for ensemble in found] == [["a", "b"], ["a", "c"], ["b", "c"], ["a", "b", "c"]]
    mean = np.mean(scores, axis=0).argmax(axis=1)
    expected = {"accuracy": (mean == labels).mean(), "macro_f1": f1_score(labels, mean, average="macro")}
    assert found[-1]["mean_log_probability"] == pytest.approx(expected)
