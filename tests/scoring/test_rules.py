"""Rules on matrices small enough to check by hand."""

from dataclasses import replace

import numpy as np
import pytest

from textclf.errors import UserError
from textclf.scoring import rules
from textclf.scoring.rules import (
    RULES,
    Likelihoods,
    ScoreRule,
    class_scores,
    combine_words,
    find_rule,
    fit_shift,
    log_softmax,
)

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
    assert scores.shape == (3, 2)
    assert scores.dtype == np.float64
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


# Rules by their path


def per_byte_squared(stored):
    """Scores that do not add up to 1: `class_scores` normalises them."""
    return combine_words(stored.sums / 2, stored.classes)


own_pmi = ScoreRule(lambda stored: combine_words(stored.sums - stored.empty, stored.classes), needs=("empty",))
own_batch = ScoreRule(lambda stored: divided(stored), whole_split=True)
not_a_rule = 3


def divided(stored):
    scores = log_softmax(combine_words(stored.sums, stored.classes))
    return scores - scores.mean(0)


def row_sums(stored):
    return stored.sums.sum(1)


def per_word(stored):
    return stored.sums


def whole_numbers(stored):
    return np.zeros((len(stored.sums), 2), dtype=int)


def infinite(stored):
    return np.where(np.eye(3, 2) > 0, np.inf, 0.0)[: len(stored.sums)]


def half_nan(stored):
    return np.where(np.eye(3, 2) > 0, np.nan, 0.0)[: len(stored.sums)]


def test_a_function_is_a_rule():
    rule = f"{__name__}.per_byte_squared"
    bad, good = class_scores(rule, STORED)[0]
    assert float(np.exp(good - bad)) == pytest.approx((0.2**0.5 + 0.1**0.5) / 0.3**0.5)
    assert np.allclose(np.exp(class_scores(rule, STORED)).sum(1), 1)
    assert find_rule(rule) == ScoreRule(per_byte_squared)


def test_a_rule_says_what_it_needs():
    rule = f"{__name__}.own_pmi"
    np.testing.assert_allclose(class_scores(rule, STORED), class_scores("pmi", STORED))
    with pytest.raises(UserError, match="own_pmi' needs 'empty', which this run has not stored"):
        class_scores(rule, replace(STORED, empty=None))
    with pytest.raises(UserError, match="needs 'emptyness' is not part of Likelihoods: choose from words,"):
        ScoreRule(per_word, needs=("emptyness",))


def test_a_rule_that_looks_at_other_rows_says_so():
    assert class_scores(f"{__name__}.own_batch", STORED).shape == (3, 2)
    with pytest.raises(
        UserError, match=r"divided' gives a row different scores among different rows: .*whole_split=True"
    ):
        class_scores(f"{__name__}.divided", STORED)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("nowhere.mine", "there is no module 'nowhere'"),
        ("textclf.nowhere.mine", "there is no module 'textclf.nowhere'"),
        ("textclf.scoring.rules.mine", "'textclf.scoring.rules' has no 'mine'"),
        (".mine", "is not a dotted path"),
        ("rules..mine", "is not a dotted path"),
        (f"{__name__}.not_a_rule", "is of type int"),
        (f"{__name__}.Likelihoods", "is of type type"),
        (f"{__name__}.row_sums", r"shape \(3,\) and type float64: expected floating-point scores of shape \(3, 2\)"),
        (f"{__name__}.per_word", r"shape \(3, 3\)"),
        (f"{__name__}.whole_numbers", "type int64"),
        (f"{__name__}.infinite", r"gave \+inf"),
        (f"{__name__}.half_nan", "NaN in a part of a row"),
    ],
)
def test_what_is_no_rule_is_named(rule, words):
    with pytest.raises(UserError, match=words) as raised:
        class_scores(rule, STORED)
    assert repr(rule) in str(raised.value)


def test_an_error_inside_the_module_of_a_rule_is_named_with_its_place(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_rules.py").write_text("import no_such_package\n")
    with pytest.raises(UserError, match=r"broken_rules\.mine: .*No module named 'no_such_package' \(.*line 1\)"):
        find_rule("broken_rules.mine")
