"""Score rules: from log-likelihoods of label words to one score per class, without a model.

There are two kinds. Some turn the log-likelihood of a label word into a score of the word (`sum`, means, `pmi`); the
words of a class are then combined. Others correct the log-probabilities of the classes by what the model prefers for
any text (`contextual`, `batch`, `prior`, `fitted_prior`); they start from `sum`. All arrays are float64, in nats.

`RULES` is the table of all rules by name. A custom rule needs no entry there: wherever a rule is named, the path of a
function (or of a `ScoreRule`, if it needs more than the likelihoods of the rows) can be given instead, such as
`mypkg.rules.mine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from textclf.classes.user_code import import_path
from textclf.errors import UserError

Array: TypeAlias = NDArray[np.float64]
MATRICES = ("sums", "logits", "published")
"""Parts of `Likelihoods` with one row per text."""
BATCH_TOLERANCE = 1e-6
"""Largest difference in nats between the scores of a row alone and among other rows; for a rule applied per batch."""


@dataclass(frozen=True, kw_only=True)
class Likelihoods:
    """Log-likelihoods of label words, and what else rules read; a part that was not computed is None.

    Attributes:
        words: Each label word as it was scored, with its leading space if there is one.
        classes: Class of each word, shape (words,).
        sums: Log-likelihood of each word after each prompt, shape (rows, words).
        tokens: Number of tokens of each word, shape (words,).
        logits: Raw-logit sums, shape (rows, words).
        published: Misread raw-logit sums (`textclf.scoring.as_published`), shape (rows, words).
        empty: Log-likelihoods after an empty premise, shape (words,).
        domain: Log-likelihoods after a premise that only names the domain, shape (words,).
        content_free: Log-likelihoods after the prompt with content-free texts, shape (texts, words).
        prior: Share of each class as the user knows it, shape (classes,).
        fit_sums: Log-likelihoods of labelled rows that are not scored, shape (fit rows, words).
        fit_labels: Their classes, shape (fit rows,).
        shift: What `fitted_shift` gives for these two, shape (classes,), where it has been computed already.
    """

    words: Sequence[str]
    classes: NDArray[np.int64]
    sums: Array
    tokens: NDArray[np.int64]
    logits: Array | None = None
    published: Array | None = None
    empty: Array | None = None
    domain: Array | None = None
    content_free: Array | None = None
    prior: Array | None = None
    fit_sums: Array | None = None
    fit_labels: NDArray[np.int64] | None = None
    shift: Array | None = None

    def select(self, rows: Any) -> Likelihoods:
        """The likelihoods of some rows, given as an index of NumPy."""
        picked = {}
        for name in MATRICES:
            matrix = getattr(self, name)
            if matrix is not None:
                picked[name] = matrix[rows]
        return replace(self, **picked)


@dataclass(frozen=True)
class ScoreRule:
    """A rule: a function, and the parts of `Likelihoods` that it reads.

    Attributes:
        scores: From likelihoods to a score of each class, `(rows, classes)`: log-probabilities up to a constant per
            row, which `class_scores` removes.
        needs: Parts of `Likelihoods` besides `words`, `classes`, `sums` and `tokens` that it reads, such as `empty`.
            The classifier computes them; stored scores without one of them are refused.
        whole_split: Whether a row's score depends on all rows of the split, so that the rule is applied to all at once.

    Raises:
        UserError: `needs` names a part that `Likelihoods` does not have.
    """

    scores: Callable[[Likelihoods], Array]
    needs: tuple[str, ...] = ()
    whole_split: bool = False

    def __post_init__(self) -> None:
        """Checks the names of `needs`."""
        parts = [field.name for field in fields(Likelihoods)]
        for name in self.needs:
            if name not in parts:
                raise UserError(f"needs {name!r} is not part of Likelihoods: choose from {', '.join(parts)}")

    @property
    def fits(self) -> bool:
        """Whether it is fitted to labelled rows, which then are not scored."""
        return "fit_sums" in self.needs or "fit_labels" in self.needs


def find_rule(name: str) -> ScoreRule:
    """Finds a rule in `RULES`, or by the path of a function or of a `ScoreRule`.

    Raises:
        UserError: There is no such rule, or the path leads to something else.
    """
    if name in RULES:
        return RULES[name]
    if "." not in name:
        raise UserError(
            f"rule is {name!r}: choose one of {', '.join(RULES)}, or give the path of a function of your own, such as "
            "mypkg.rules.mine"
        )
    found = import_path(name, "rule")
    if isinstance(found, ScoreRule):
        return found
    if isinstance(found, type) or not callable(found):
        kind = type(found).__name__
        raise UserError(f"rule {name!r} is of type {kind}: give the path of a function, or of a ScoreRule")
    return ScoreRule(found)


def class_scores(rule: str, likelihoods: Likelihoods) -> Array:
    """Applies a rule.

    Args:
        rule: Its name in `RULES`, or its path.
        likelihoods: Of the rows, and what else the rule needs.

    Returns:
        Log-probability of each class, shape (rows, classes); each row's probabilities add up to 1.

    Raises:
        UserError: The rule is unknown, a part that it needs was not computed, or it does not give a score per class.
    """
    found = find_rule(rule)
    for part in found.needs:
        if getattr(likelihoods, part) is None:
            raise UserError(
                f"rule {rule!r} needs {part!r}, which this run has not stored: score it again with this rule"
            )
    scores = _checked(rule, found.scores(likelihoods), likelihoods)
    # A custom rule that looks at other rows would otherwise depend on the batch size.
    if rule not in RULES and not found.whole_split and len(scores) > 1:
        first = likelihoods.select(slice(1))
        alone = _checked(rule, found.scores(first), first)
        if not np.allclose(alone, scores[:1], rtol=0, atol=BATCH_TOLERANCE, equal_nan=True):
            raise UserError(
                f"rule {rule!r} gives a row different scores among different rows: declare it as ScoreRule(..., "
                "whole_split=True), so that it gets all rows of a split at once"
            )
    return scores


def _checked(rule: str, given: Any, likelihoods: Likelihoods) -> Array:
    """Checks and normalises what a rule gave; a row may be all NaN.

    Raises:
        UserError: It is not a floating-point array with a score for each row and class, or has +inf, or NaN in a
            part of a row.
    """
    scores = np.asarray(given)
    shape = (len(likelihoods.sums), int(likelihoods.classes.max()) + 1)
    if scores.shape != shape or not np.issubdtype(scores.dtype, np.floating):
        raise UserError(
            f"rule {rule!r} gave an array of shape {scores.shape} and type {scores.dtype}: expected floating-point "
            f"scores of shape {shape}, a row per text and a column per class"
        )
    is_nan = np.isnan(scores)
    partly_nan = is_nan.any(axis=1) & ~is_nan.all(axis=1)
    if np.isposinf(scores).any() or partly_nan.any():
        raise UserError(
            f"rule {rule!r} gave +inf, or NaN in a part of a row: expected log-probabilities up to a constant"
        )
    return log_softmax(scores.astype(np.float64))


def class_log_probs(words: Array, likelihoods: Likelihoods) -> Array:
    """Log-probability of each class from the scores of its words: (rows, words) to (rows, classes)."""
    return log_softmax(combine_words(words, likelihoods.classes))


# The rules


def summed(given: Likelihoods) -> Array:
    """`sum`: log-likelihoods as they are."""
    return class_log_probs(given.sums, given)


def token_mean(given: Likelihoods) -> Array:
    """`token_mean`: log-likelihoods per token."""
    return class_log_probs(per_unit(given.sums, given.tokens), given)


def char_mean(given: Likelihoods) -> Array:
    """`char_mean`: log-likelihoods per character."""
    characters = [len(word) for word in given.words]
    return class_log_probs(per_unit(given.sums, characters), given)


def byte_mean(given: Likelihoods) -> Array:
    """`byte_mean`: log-likelihoods per byte of UTF-8."""
    utf8_bytes = [len(word.encode()) for word in given.words]
    return class_log_probs(per_unit(given.sums, utf8_bytes), given)


def logit_sum(given: Likelihoods) -> Array:
    """`logit_sum`: sums of raw logits."""
    return class_log_probs(_computed(given.logits), given)


def misread_sum(given: Likelihoods) -> Array:
    """`as_published`: raw logits read one position too late; see `textclf.scoring.as_published`."""
    return class_log_probs(_computed(given.published), given)


def empty_pmi(given: Likelihoods) -> Array:
    """`pmi`: what the prompt adds to a word's log-likelihood at the start of a text."""
    return class_log_probs(pmi(given.sums, _computed(given.empty)), given)


def domain_pmi(given: Likelihoods) -> Array:
    """`domain_pmi`: what the text adds to a word's log-likelihood after a premise that names the domain."""
    return class_log_probs(pmi(given.sums, _computed(given.domain)), given)


def contextual(given: Likelihoods) -> Array:
    """`contextual`: divided by the mean probabilities of content-free texts."""
    return divide_by_mean(summed(given), class_log_probs(_computed(given.content_free), given))


def batch(given: Likelihoods) -> Array:
    """`batch`: divided by the mean probabilities of all rows of the split."""
    scores = summed(given)
    return divide_by_mean(scores, scores)


def known_prior(given: Likelihoods) -> Array:
    """`prior`: weighted by shares of the classes that the user knows."""
    return with_prior(summed(given), _computed(given.prior))


def fitted_prior(given: Likelihoods) -> Array:
    """`fitted_prior`: shifted by one number per class, fitted to labelled rows."""
    shift = given.shift
    if shift is None:
        shift = fitted_shift(_computed(given.fit_sums), given.classes, _computed(given.fit_labels))
    return log_softmax(summed(given) + shift)


def _computed(part: NDArray[Any] | None) -> NDArray[Any]:
    """A part that a rule names in `needs`, so that it is never None."""
    assert part is not None
    return part


RULES: dict[str, ScoreRule] = {
    "sum": ScoreRule(summed),
    "token_mean": ScoreRule(token_mean),
    "char_mean": ScoreRule(char_mean),
    "byte_mean": ScoreRule(byte_mean),
    "logit_sum": ScoreRule(logit_sum, needs=("logits",)),
    "as_published": ScoreRule(misread_sum, needs=("published",)),
    "pmi": ScoreRule(empty_pmi, needs=("empty",)),
    "domain_pmi": ScoreRule(domain_pmi, needs=("domain",)),
    "contextual": ScoreRule(contextual, needs=("content_free",)),
    "batch": ScoreRule(batch, whole_split=True),
    "prior": ScoreRule(known_prior, needs=("prior",)),
    "fitted_prior": ScoreRule(fitted_prior, needs=("fit_sums", "fit_labels")),
}


# Their parts


def log_softmax(scores: Array) -> Array:
    """Scores as log-probabilities: (rows, classes) to (rows, classes)."""
    result: Array = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    return result


def combine_words(words: Array, classes: NDArray[np.int64]) -> Array:
    """Log-sum-exp over the words of each class: the log-likelihood of any of them.

    Args:
        words: Scores, shape (rows, words).
        classes: Class of each word; each class from 0 on has at least one.
    """
    columns = []
    for c in range(int(classes.max()) + 1):
        columns.append(np.logaddexp.reduce(words[:, classes == c], axis=1))
    return np.stack(columns, axis=1)


def per_unit(sums: Array, units: Sequence[int] | NDArray[np.int64]) -> Array:
    """Log-likelihood per token, character or UTF-8 byte, so that long words have no disadvantage.

    Args:
        sums: Log-likelihoods, shape (rows, words).
        units: Length of each word.
    """
    result: Array = sums / np.asarray(units, dtype=np.float64)
    return result


def pmi(sums: Array, premise: Array) -> Array:
    """Pointwise mutual information of prompt and word: log p(word | prompt) - log p(word | premise).

    With a premise that names the domain it is PMI_DC (Holtzman et al. 2021, https://arxiv.org/abs/2104.08315).

    Args:
        sums: Log-likelihoods, shape (rows, words).
        premise: Log-likelihoods after the premise alone, shape (words,).
    """
    return sums - premise


def divide_by_mean(log_probs: Array, reference: Array) -> Array:
    """Divides class probabilities by their mean over reference rows, and normalises.

    With content-free texts as reference, this is contextual calibration (Zhao et al. 2021,
    https://arxiv.org/abs/2102.09690); with the rows themselves, batch calibration (Zhou et al. 2023,
    https://arxiv.org/abs/2309.17249), which uses all rows at once and no label.

    Args:
        log_probs: Log-probabilities, shape (rows, classes).
        reference: Log-probabilities of the reference rows, shape (reference rows, classes).
    """
    return log_softmax(log_probs - _log_mean(reference))


def with_prior(log_probs: Array, prior: Array) -> Array:
    """Weights classes by their known shares, and normalises.

    Args:
        log_probs: Log-probabilities, shape (rows, classes).
        prior: Share of each class, all above 0.
    """
    if len(prior) != log_probs.shape[1] or not np.all(prior > 0):
        raise UserError(f"prior is {prior.tolist()}: give {log_probs.shape[1]} shares, one per class, all above 0")
    return log_softmax(log_probs + np.log(prior))


def fitted_shift(sums: Array, classes: NDArray[np.int64], labels: NDArray[np.int64]) -> Array:
    """What `fitted_prior` adds to the log-probability of each class, shape (classes,).

    Args:
        sums: Log-likelihoods of the rows that it is fitted to, shape (rows, words).
        classes: Class of each word.
        labels: Class of each row.
    """
    return fit_shift(log_softmax(combine_words(sums, classes)), labels)


def fit_shift(log_probs: Array, labels: NDArray[np.int64], steps: int = 1000) -> Array:
    """Fits one shift per class to labelled rows by maximum likelihood: a logistic regression with intercepts only.

    At the maximum, the mean probability of each class is its share; iterative scaling reaches it without a step size.
    One row of each class is added to the counts, so that a class without rows stays possible.

    Args:
        log_probs: Log-probabilities, shape (rows, classes).
        labels: Classes, shape (rows,).
        steps: Maximum number of iterations.

    Returns:
        What to add to log-probabilities, shape (classes,).
    """
    counts = np.bincount(labels, minlength=log_probs.shape[1]) + 1.0
    target = np.log(counts / counts.sum())
    shift: Array = np.zeros(log_probs.shape[1])
    for _ in range(steps):
        change = target - _log_mean(log_softmax(log_probs + shift))
        shift = shift + change
        if np.abs(change).max() < 1e-9:
            break
    return shift


def _log_mean(log_probs: Array) -> Array:
    """Log of the mean probability of each class."""
    result: Array = np.logaddexp.reduce(log_probs, axis=0) - np.log(len(log_probs))
    return result
