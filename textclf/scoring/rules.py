"""From stored likelihoods to one score per class: every rule is a function of a few matrices, and needs no model.

Rules come in two kinds. Some turn a label word's log-likelihood into a score of its own (`sum`, means, `pmi`); the
words of a class are then put together. Others correct the classes' log-probabilities by what the model favours
whatever the text is (`contextual`, `batch`, `prior`, `fitted_prior`); they start from `sum`. All arrays are float64,
in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from textclf.errors import UserError

Array: TypeAlias = NDArray[np.float64]
Rule = Literal[
    "sum",
    "token_mean",
    "char_mean",
    "byte_mean",
    "logit_sum",
    "as_published",
    "pmi",
    "domain_pmi",
    "contextual",
    "batch",
    "prior",
    "fitted_prior",
]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True, kw_only=True)
class Likelihoods:
    """What is stored of a run; what is None was not made, and rules that need it say so.

    Attributes:
        words: Each label word as it was scored, with its leading space if it has one.
        classes: Class of each word, shape (words,).
        sums: Log-likelihood of each word after each prompt, shape (rows, words).
        tokens: Number of tokens of each word, shape (words,).
        logits: Raw-logit sums, shape (rows, words).
        published: Misread raw-logit sums (`textclf.scoring.as_published`), shape (rows, words).
        empty: Log-likelihoods after an empty premise, shape (words,).
        domain: Log-likelihoods after a premise that only names the domain, shape (words,).
        content_free: Log-likelihoods after the prompt with texts that say nothing, shape (texts, words).
        prior: Share of each class as it is known from elsewhere, shape (classes,).
        fit_sums: Log-likelihoods of labelled rows that are not scored, shape (fit rows, words).
        fit_labels: Their classes, shape (fit rows,).
        shift: What `fitted_shift` makes of these two, shape (classes,), where that is done already.
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


def class_scores(rule: Rule, stored: Likelihoods) -> Array:
    """Applies a rule.

    Args:
        rule: Name of the rule.
        stored: What is stored of a run.

    Returns:
        Log-probability of each class, shape (rows, classes); each row's probabilities add up to 1.

    Raises:
        UserError: An unknown rule, or the run has not stored what the rule needs.
    """
    if rule not in RULES:
        raise UserError(f"rule is {rule!r}: choose one of {', '.join(RULES)}")

    def classes(words: Array) -> Array:
        return log_softmax(combine_words(words, stored.classes))

    def need(part: str) -> Array:
        value: Array | None = getattr(stored, part)
        if value is None:
            raise UserError(
                f"rule {rule!r} needs {part!r}, which this run has not stored: score it again with this rule"
            )
        return value

    match rule:
        case "sum":
            return classes(stored.sums)
        case "token_mean":
            return classes(per_unit(stored.sums, stored.tokens))
        case "char_mean":
            return classes(per_unit(stored.sums, [len(word) for word in stored.words]))
        case "byte_mean":
            return classes(per_unit(stored.sums, [len(word.encode()) for word in stored.words]))
        case "logit_sum":
            return classes(need("logits"))
        case "as_published":
            return classes(need("published"))
        case "pmi":
            return classes(pmi(stored.sums, need("empty")))
        case "domain_pmi":
            return classes(pmi(stored.sums, need("domain")))
        case "contextual":
            return divide_by_mean(classes(stored.sums), classes(need("content_free")))
        case "batch":
            return divide_by_mean(classes(stored.sums), classes(stored.sums))
        case "prior":
            return with_prior(classes(stored.sums), need("prior"))
        case "fitted_prior":
            shift = stored.shift
            if shift is None:
                shift = fitted_shift(need("fit_sums"), stored.classes, need("fit_labels").astype(np.int64))
            return log_softmax(classes(stored.sums) + shift)


def log_softmax(scores: Array) -> Array:
    """Scores as log-probabilities: (rows, classes) to (rows, classes)."""
    result: Array = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    return result


def combine_words(words: Array, classes: NDArray[np.int64]) -> Array:
    """Log-sum-exp over the words of each class: for likelihoods, that of any of them being said.

    Args:
        words: Scores, shape (rows, words).
        classes: Class of each word; every class from 0 on has one at least.
    """
    columns = [np.logaddexp.reduce(words[:, classes == c], axis=1) for c in range(int(classes.max()) + 1)]
    return np.stack(columns, axis=1)


def per_unit(sums: Array, units: Sequence[int] | NDArray[np.int64]) -> Array:
    """Log-likelihood per token, character or UTF-8 byte, so that long words are not at a disadvantage.

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

    With content-free texts as reference it is contextual calibration (Zhao et al. 2021,
    https://arxiv.org/abs/2102.09690), with the rows themselves batch calibration (Zhou et al. 2023,
    https://arxiv.org/abs/2309.17249), which looks at all rows at once and at no label.

    Args:
        log_probs: Log-probabilities, shape (rows, classes).
        reference: Log-probabilities of the reference rows, shape (reference rows, classes).
    """
    return log_softmax(log_probs - _log_mean(reference))


def with_prior(log_probs: Array, prior: Array) -> Array:
    """Weighs classes by how frequent they are known to be, and normalises.

    Args:
        log_probs: Log-probabilities, shape (rows, classes).
        prior: Share of each class, all above 0.
    """
    if len(prior) != log_probs.shape[1] or not np.all(prior > 0):
        raise UserError(f"prior is {prior.tolist()}: give {log_probs.shape[1]} shares, one per class, all above 0")
    return log_softmax(log_probs + np.log(prior))


def fitted_shift(sums: Array, classes: NDArray[np.int64], labels: NDArray[np.int64]) -> Array:
    """What `fitted_prior` adds to each class's log-probability, shape (classes,).

    Args:
        sums: Log-likelihoods of the rows that it is fitted to, shape (rows, words).
        classes: Class of each word.
        labels: Class of each row.
    """
    return fit_shift(log_softmax(combine_words(sums, classes)), labels)


def fit_shift(log_probs: Array, labels: NDArray[np.int64], steps: int = 1000) -> Array:
    """Fits one shift per class to labelled rows by maximum likelihood: a logistic regression with intercepts only.

    At the maximum the mean probability of each class is its share, which iterative scaling reaches without a step size.
    One row of each class is added to the counts, so that a class without rows stays possible.

    Args:
        log_probs: Log-probabilities, shape (rows, classes).
        labels: Classes, shape (rows,).
        steps: Most iterations.

    Returns:
        What to add to log-probabilities, shape (classes,).
    """
    counts = np.bincount(labels, minlength=log_probs.shape[1]) + 1.0
    wanted = np.log(counts / counts.sum())
    shift: Array = np.zeros(log_probs.shape[1])
    for _ in range(steps):
        change = wanted - _log_mean(log_softmax(log_probs + shift))
        shift = shift + change
        if np.abs(change).max() < 1e-9:
            break
    return shift


def _log_mean(log_probs: Array) -> Array:
    """Log of the mean probability of each class."""
    result: Array = np.logaddexp.reduce(log_probs, axis=0) - np.log(len(log_probs))
    return result
