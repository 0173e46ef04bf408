"""From stored likelihoods to one score per class: every rule is a function of a few matrices, and needs no model.

Rules come in two kinds. Some turn a label word's log-likelihood into a score of its own (`sum`, means, `pmi`); the
words of a class are then put together. Others correct the classes' log-probabilities by what the model favours
whatever the text is (`contextual`, `batch`, `prior`, `fitted_prior`); they start from `sum`. All arrays are float64,
in nats.

`RULES` is the table of all rules by name. A rule of one's own needs no entry there: wherever a rule is named, the path
of a function (or of a `ScoreRule`, where it needs more than the likelihoods of the rows) may be given instead, such as
`mypkg.rules.mine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from textclf.class_paths import import_path
from textclf.errors import UserError

Array: TypeAlias = NDArray[np.float64]
MATRICES = ("sums", "logits", "published")
"""Parts of `Likelihoods` with one row per text."""
ROWWISE = 1e-6
"""Largest difference in nats between a row's scores alone and among others, for a rule that is given single batches."""


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

    def select(self, rows: Any) -> Likelihoods:
        """The same for some rows, given as NumPy takes an index."""
        matrices = {name: getattr(self, name) for name in MATRICES}
        return replace(self, **{name: matrix[rows] for name, matrix in matrices.items() if matrix is not None})


@dataclass(frozen=True)
class ScoreRule:
    """A rule: a function, and what it reads.

    Attributes:
        scores: From likelihoods to a score of each class, `(rows, classes)`: log-probabilities up to a constant per
            row, which `class_scores` takes off.
        needs: Parts of `Likelihoods` besides `words`, `classes`, `sums` and `tokens` that it reads, such as `empty`.
            The classifier makes them, and a run that has not stored one is refused.
        whole_split: Whether a row's score depends on all rows of the split, so that they are scored at once.

    Raises:
        UserError: `needs` names what `Likelihoods` does not have.
    """

    scores: Callable[[Likelihoods], Array]
    needs: tuple[str, ...] = ()
    whole_split: bool = False

    def __post_init__(self) -> None:
        """Checks the names of `needs`."""
        parts = [field.name for field in fields(Likelihoods)]
        if unknown := [name for name in self.needs if name not in parts]:
            raise UserError(f"needs {unknown[0]!r} is no part of Likelihoods: choose from {', '.join(parts)}")

    @property
    def fits(self) -> bool:
        """Whether it is fitted to labelled rows, which are then not scored."""
        return "fit_sums" in self.needs or "fit_labels" in self.needs


def find_rule(name: str) -> ScoreRule:
    """Finds a rule in `RULES`, or by the path of a function or of a `ScoreRule`.

    Raises:
        UserError: There is no such rule, or what the path leads to is no rule.
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


def class_scores(rule: str, stored: Likelihoods) -> Array:
    """Applies a rule.

    Args:
        rule: Its name in `RULES`, or its path.
        stored: What is stored of a run.

    Returns:
        Log-probability of each class, shape (rows, classes); each row's probabilities add up to 1.

    Raises:
        UserError: An unknown rule, the run has not stored what the rule needs, or what it gives is no score per class.
    """
    found = find_rule(rule)
    for part in found.needs:
        if getattr(stored, part) is None:
            raise UserError(
                f"rule {rule!r} needs {part!r}, which this run has not stored: score it again with this rule"
            )
    scores = _checked(rule, found.scores(stored), stored)
    if rule not in RULES and not found.whole_split and len(scores) > 1:
        alone = _checked(rule, found.scores(stored.select(slice(1))), stored.select(slice(1)))
        if not np.allclose(alone, scores[:1], rtol=0, atol=ROWWISE, equal_nan=True):
            raise UserError(
                f"rule {rule!r} gives a row other scores among other rows: declare it as ScoreRule(..., "
                "whole_split=True), so that it is given all rows of a split at once"
            )
    return scores


def _checked(rule: str, given: Any, stored: Likelihoods) -> Array:
    """Normalises what a rule gave.

    Raises:
        UserError: It is no floating-point array with a score for each row and class, or holds +inf, or NaN in a part
            of a row.
    """
    scores = np.asarray(given)
    wanted = (len(stored.sums), int(stored.classes.max()) + 1)
    if scores.shape != wanted or not np.issubdtype(scores.dtype, np.floating):
        raise UserError(
            f"rule {rule!r} gave an array of shape {scores.shape} and type {scores.dtype}: wanted floating-point "
            f"scores of shape {wanted}, a row per text and a column per class"
        )
    undefined = np.isnan(scores)
    if np.isposinf(scores).any() or (undefined.any(1) & ~undefined.all(1)).any():
        raise UserError(
            f"rule {rule!r} gave +inf, or NaN in a part of a row: wanted log-probabilities up to a constant"
        )
    return log_softmax(scores.astype(np.float64))


def of_classes(words: Array, stored: Likelihoods) -> Array:
    """Log-probability of each class from the scores of its words: (rows, words) to (rows, classes)."""
    return log_softmax(combine_words(words, stored.classes))


# The rules


def summed(stored: Likelihoods) -> Array:
    """`sum`: log-likelihoods as they are."""
    return of_classes(stored.sums, stored)


def token_mean(stored: Likelihoods) -> Array:
    """`token_mean`: log-likelihoods per token."""
    return of_classes(per_unit(stored.sums, stored.tokens), stored)


def char_mean(stored: Likelihoods) -> Array:
    """`char_mean`: log-likelihoods per character."""
    return of_classes(per_unit(stored.sums, [len(word) for word in stored.words]), stored)


def byte_mean(stored: Likelihoods) -> Array:
    """`byte_mean`: log-likelihoods per byte of UTF-8."""
    return of_classes(per_unit(stored.sums, [len(word.encode()) for word in stored.words]), stored)


def logit_sum(stored: Likelihoods) -> Array:
    """`logit_sum`: sums of raw logits."""
    return of_classes(_made(stored.logits), stored)


def misread_sum(stored: Likelihoods) -> Array:
    """`as_published`: raw logits read one place too late; see `textclf.scoring.as_published`."""
    return of_classes(_made(stored.published), stored)


def empty_pmi(stored: Likelihoods) -> Array:
    """`pmi`: what the prompt adds to a word's likelihood at the start of a text."""
    return of_classes(pmi(stored.sums, _made(stored.empty)), stored)


def domain_pmi(stored: Likelihoods) -> Array:
    """`domain_pmi`: what the text adds to a word's likelihood after a premise that names the domain."""
    return of_classes(pmi(stored.sums, _made(stored.domain)), stored)


def contextual(stored: Likelihoods) -> Array:
    """`contextual`: divided by the mean probabilities of texts that say nothing."""
    return divide_by_mean(summed(stored), of_classes(_made(stored.content_free), stored))


def batch(stored: Likelihoods) -> Array:
    """`batch`: divided by the mean probabilities of all rows of the split."""
    scores = summed(stored)
    return divide_by_mean(scores, scores)


def known_prior(stored: Likelihoods) -> Array:
    """`prior`: weighed by shares of the classes that are known from elsewhere."""
    return with_prior(summed(stored), _made(stored.prior))


def fitted_prior(stored: Likelihoods) -> Array:
    """`fitted_prior`: shifted as fits labelled rows best."""
    shift = stored.shift
    if shift is None:
        shift = fitted_shift(_made(stored.fit_sums), stored.classes, _made(stored.fit_labels))
    return log_softmax(summed(stored) + shift)


def _made(part: NDArray[Any] | None) -> NDArray[Any]:
    """What `needs` promises to be there."""
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


# What they are made of


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
