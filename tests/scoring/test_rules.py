"""Rules on matrices small enough to check by hand."""

from dataclasses import replace

import numpy as np
import pytest

from textclf.errors import UserError
from textclf.scoring import rules
from textclf.scoring.rules import RULES, Likelihoods, class_scores, fit_shift, log_softmax

DRAW = np.random.default_rng(0)
STORED = Likelihoods(
    words=["good", " 긍정", "bad"],
    classes=np.array([1, 1, 0]),
    sums=np.log([[0.2, 0.1, 0.3], [0.4, 0.2, 0.1], [0.05, 0.05, 0.4]]),
    tokens=np.array([1, 3, 2]),
    logits=np.array([[1.0, 2.0, 3.0]] * 3),
    published=np.array([[3.0, 2.0, 1.0]] * 3),
    empty=np.log([0.1, 0.1, 0.6]),
    domain=np.log([0.3, 0.1, 0.1]),
    content_free=np.log([[0.1, 0.1, 0.8], [0.3, 0.1, 0.4]]),
    prior=np.array([0.9, 0.1]),
    fit_sums=np.log(DRAW.dirichlet([1, 1, 1], 40)),
    fit_labels=np.array([0] * 10 + [1] * 30),
)


def odds(rule, row=0):
    """How many times as probable class 1 is as class 0."""
    bad, good = class_scores(rule, STORED)[row]
    return float(np.exp(good - bad))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_probabilities(rule):
    scores = class_scores(rule, STORED)
    assert scores.shape == (3, 2) and scores.dtype == np.float64
    assert np.allclose(np.exp(scores).sum(1), 1)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("sum", 0.3 / 0.3),
        ("token_mean", (0.2 + 0.1 ** (1 / 3)) / 0.3 ** (1 / 2)),
        ("char_mean", (0.2 ** (1 / 4) + 0.1 ** (1 / 3)) / 0.3 ** (1 / 3)),
        ("byte_mean", (0.2 ** (1 / 4) + 0.1 ** (1 / 7)) / 0.3 ** (1 / 3)),
        ("logit_sum", (np.e + np.e**2) / np.e**3),
        ("as_published", (np.e**3 + np.e**2) / np.e),
        ("pmi", (0.2 / 0.1 + 0.1 / 0.1) / (0.3 / 0.6)),
        ("domain_pmi", (0.2 / 0.3 + 0.1 / 0.1) / (0.3 / 0.1)),
        ("contextual", (0.8 + 0.5) / (0.2 + 0.5)),
        ("prior", 0.1 / 0.9),
    ],
)
def test_by_hand(rule, wanted):
    assert odds(rule) == pytest.approx(wanted)


def test_batch_calibration_balances_what_is_one_sided():
    one_sided = replace(STORED, sums=STORED.sums + np.array([0, 0, 5]))
    assert class_scores("sum", one_sided).argmax(1).tolist() == [0, 0, 0]
    assert class_scores("batch", one_sided).argmax(1).tolist() == [0, 1, 0]


def test_the_fitted_prior_gives_each_class_its_share_of_the_fit_rows():
    log_probs, labels = log_softmax(DRAW.normal(size=(200, 3)) * 3), np.repeat([0, 1, 2], [20, 60, 120])
    shifted = np.exp(log_softmax(log_probs + fit_shift(log_probs, labels)))
    assert np.allclose(shifted.mean(0), np.array([21, 61, 121]) / 203, atol=1e-6)
    assert np.isfinite(fit_shift(log_probs[:20], labels[:20])).all()


def test_a_shift_that_is_fitted_already_is_taken(monkeypatch):
    shift = rules.fitted_shift(STORED.fit_sums, STORED.classes, STORED.fit_labels)
    expected = class_scores("fitted_prior", STORED)
    monkeypatch.setattr(rules, "fit_shift", None)
    assert np.array_equal(class_scores("fitted_prior", replace(STORED, shift=shift)), expected)


def test_what_is_missing_is_named():
    with pytest.raises(UserError, match="rule 'pmi' needs 'empty'"):
        class_scores("pmi", replace(STORED, empty=None))
    with pytest.raises(UserError, match="rule is 'best': choose one of sum,"):
        class_scores("best", STORED)
    with pytest.raises(UserError, match="give 2 shares"):
        class_scores("prior", replace(STORED, prior=np.array([1.0])))
