"""Suspected label errors, and pairs of classes whose labels are confused, by confident learning.

Northcutt et al., 2021, https://doi.org/10.1613/jair.1.12125; computed by cleanlab. The probabilities are out-of-fold:
each row is scored by a classifier that has not seen its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textclf.data.columns import KEY, text_keys
from textclf.data.folds import fold_of_rows
from textclf.data.splitting import draw_sample
from textclf.errors import UserError
from textclf.findings.finding import MAX_EXAMPLES, MAX_ROWS, Finding, Kind, ShownRow
from textclf.findings.rows import ExploredSplit
from textclf.findings.words import rows_in_words

FOLDS = 5
MOST_ROWS = 50_000
"""Maximum number of rows that are examined; of more, a stratified sample of this size."""
SEED = 42
"""Seed of that sample."""
NGRAMS = (2, 4)
"""Minimum and maximum number of characters in an n-gram; none spans two words."""
C = 5.0
"""Inverse strength of the L2 regularisation of the classifier."""
FAR_LESS = 0.6
"""Difference of two probabilities from which a label is far less probable than another class."""
OVERLAP_ROWS = 5
OVERLAP_SHARE = 0.02
"""A pair of classes overlaps if at least so many rows, and such a share of the smaller class, look like the other."""
MOST_PAIRS = 10
"""Maximum number of pairs of classes that are reported."""


@dataclass(frozen=True)
class Suspects:
    """Rows whose label is doubtful.

    Attributes:
        errors: Indices of rows that probably have a wrong label, int64, the most doubtful first.
        confused: Indices of rows that are confidently counted to another class, int64, the most doubtful first.
        suggested: The most probable class of each row, int64, shape `(rows,)`.
    """

    errors: np.ndarray
    confused: np.ndarray
    suggested: np.ndarray


def find_suspects(labels: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """Finds rows whose label is doubtful.

    Confident learning estimates how many labels of each class are wrong, and how many of each pair of classes. Errors
    are the rows that are among these by both counts, which is cleanlab's rule `both`: it finds about as many as its
    default rule, with fewer false alarms. The estimate is low where classes are easy to tell apart; therefore, rows
    whose label is far less probable than another class are errors as well.

    Args:
        labels: Class indices, shape `(rows,)`; two classes or more have rows.
        probabilities: Out-of-fold probabilities, shape `(rows, classes)`.
    """
    present, indices = np.unique(labels, return_inverse=True)  # cleanlab needs rows of each class
    of_present = probabilities[:, present]
    suggested = present[of_present.argmax(axis=1)]
    of_label = probabilities[np.arange(len(labels)), labels]
    apart = of_present.max(axis=1) - of_label >= FAR_LESS
    differs = suggested != labels
    errors = (_issues(indices, of_present, "both") | apart) & differs
    confused = _issues(indices, of_present, "confident_learning") & differs
    order = np.argsort(of_label, kind="stable")
    return Suspects(order[errors[order]], order[confused[order]], suggested)


def _issues(labels: np.ndarray, probabilities: np.ndarray, rule: str) -> np.ndarray:
    """Whether cleanlab counts each row as an error, bool, shape `(rows,)`."""
    from cleanlab.filter import find_label_issues

    # By default it starts processes, which takes longer than the task.
    issues: np.ndarray = find_label_issues(labels, probabilities, filter_by=rule, n_jobs=1)
    return issues


def out_of_fold_probabilities(
    texts: Sequence[Sequence[str]], labels: np.ndarray, folds: np.ndarray, num_classes: int, tol: float = 1e-3
) -> np.ndarray:
    """Probabilities of a logistic regression on the TF-IDF of character n-grams.

    Args:
        texts: The texts of all rows, and the second texts where there are pairs.
        labels: Class indices, shape `(rows,)`.
        folds: The fold of each row, shape `(rows,)`: those of a fold are scored by a model of the others.
        num_classes: Number of classes.
        tol: The regression of several classes is fitted until no component of its gradient is larger. Where labels
            hardly depend on the texts, and classes are equally frequent, all are small from the start.

    Returns:
        float64, shape `(rows, num_classes)`; 0 for a class without rows.

    Raises:
        UserError: No two texts have an n-gram in common.
    """
    from scipy.sparse import hstack
    from sklearn.linear_model import LogisticRegression

    features = hstack([_ngrams(column) for column in texts], format="csr")
    if not features.shape[1]:
        raise UserError("no two texts have anything in common, so that no classifier can be trained: give more rows")
    probabilities = np.zeros((len(labels), num_classes))
    for fold in np.unique(folds):
        tested = folds == fold
        present = np.unique(labels[~tested])
        solver = "liblinear" if len(present) == 2 else "lbfgs"
        regression = LogisticRegression(C=C, solver=solver, tol=tol, max_iter=1000, random_state=SEED)
        regression.fit(features[~tested], labels[~tested])
        probabilities[np.ix_(tested, present)] = regression.predict_proba(features[tested])
    return probabilities


def _ngrams(texts: Sequence[str]) -> Any:
    """TF-IDF of the character n-grams that two texts have or more: a sparse matrix, `(texts, n-grams)`.

    N-grams and their document frequencies know no labels: one vocabulary serves all folds.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, min_df=2, sublinear_tf=True, dtype=np.float32)
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn raises it where no n-gram is left
        return csr_matrix((len(texts), 0), dtype=np.float32)


@dataclass(frozen=True)
class _Rows:
    """Labelled rows of all splits in one sequence; arrays have the shape `(rows,)`.

    Attributes:
        split: Index of the split of each row.
        place: Row number in that split.
        label: Class index.
        key: A hash of the text, and of the second one.
    """

    split: np.ndarray
    place: np.ndarray
    label: np.ndarray
    key: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def select(self, kept: np.ndarray) -> _Rows:
        return _Rows(self.split[kept], self.place[kept], self.label[kept], self.key[kept])


def find_label_errors(
    splits: Sequence[ExploredSplit],
    probabilities: Sequence[np.ndarray] | None = None,
    most_rows: int = MOST_ROWS,
) -> list[Finding]:
    """Finds rows that probably have a wrong label, and pairs of classes that are confused.

    The rows of all splits are examined together; those without text or without a valid label are left out, and those
    of classes with fewer than 5 different texts.

    Args:
        splits: The splits of a data set.
        probabilities: Out-of-fold probabilities of the rows of each split, such as those of a linear probe, shape
            `(rows, classes)`; by default those of `out_of_fold_probabilities`.
        most_rows: Maximum number of rows that are examined; of more, a stratified sample of this size.

    Returns:
        A `label_error` of each split that has any, and a `class_overlap` of each pair of classes that are confused,
        the most frequent first.

    Raises:
        UserError: There are fewer than two classes with enough rows, or no two texts have anything in common.
    """
    label_names = splits[0].label_names
    rows = _labelled(splits)
    total = len(rows)
    if total > most_rows:
        rows = rows.select(draw_sample(rows.label, most_rows, SEED))
    rows = rows.select(_class_has_enough_texts(rows))
    if len(np.unique(rows.label)) < 2:
        raise UserError(f"fewer than two classes with {FOLDS} different texts each: give more rows, or more labels")
    if probabilities is None:
        folds = fold_of_rows(rows.label, rows.key, FOLDS, label_names)
        scores = out_of_fold_probabilities(_texts(splits, rows), rows.label, folds, len(label_names))
    else:
        scores = np.empty((len(rows), len(label_names)))
        for number, of_split in enumerate(probabilities):
            scores[rows.split == number] = of_split[rows.place[rows.split == number]]
    report = _Report(splits, rows, scores, find_suspects(rows.label, scores), total)
    return [*report.label_errors(), *report.overlaps()]


def _labelled(splits: Sequence[ExploredSplit]) -> _Rows:
    """The rows with a text and a valid label."""
    nothing = np.empty(0, dtype=np.int64)
    parts = [(nothing, nothing, nothing, np.empty(0, dtype=KEY))]
    for number, split in enumerate(splits):
        places = np.flatnonzero((split.labels >= 0) & ~_blank(split))
        parts.append((np.full(len(places), number), places, split.labels[places], text_keys(split.rows)[places]))
    return _Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _blank(split: ExploredSplit) -> np.ndarray:
    """Whether all texts of a row are white space, shape `(rows,)`."""
    blank = np.ones(len(split), dtype=bool)
    for column in split.text_columns:
        texts = (text for window in split.windows(column) for text in window)
        blank &= np.fromiter((not text.strip() for text in texts), dtype=bool, count=len(split))
    return blank


def _class_has_enough_texts(rows: _Rows) -> np.ndarray:
    """Whether the class of each row has a text for each fold; as in `fold_of_rows`, a text counts by its first label.

    Returns:
        bool, shape `(rows,)`.
    """
    _, first = np.unique(rows.key, return_index=True)
    counts = np.bincount(rows.label[first], minlength=int(rows.label.max(initial=0)) + 1)
    enough: np.ndarray = counts[rows.label] >= FOLDS
    return enough


def _texts(splits: Sequence[ExploredSplit], rows: _Rows) -> list[list[str]]:
    """The texts of rows, and the second texts where there are pairs."""
    columns = []
    for column in splits[0].text_columns:
        texts: list[str] = []
        for number, split in enumerate(splits):
            texts += split.rows.select_columns([column]).select(rows.place[rows.split == number])[column]
        columns.append(texts)
    return columns


class _Report:
    """Turns suspected rows into findings."""

    def __init__(
        self, splits: Sequence[ExploredSplit], rows: _Rows, scores: np.ndarray, suspects: Suspects, total: int
    ) -> None:
        self.splits = splits
        self.label_names = splits[0].label_names
        self.rows = rows
        self.scores = scores
        self.suspects = suspects
        agreement = float((suspects.suggested == rows.label).mean())
        examined = f"{len(rows):,} rows" if len(rows) == total else f"{len(rows):,} of {total:,} rows"
        self.basis = f"out of fold, the classifier agrees with {agreement:.1%} of the labels of {examined}"

    def label_errors(self) -> list[Finding]:
        """The suspected rows of each split."""
        findings = []
        for number, split in enumerate(self.splits):
            found = self.suspects.errors[self.rows.split[self.suspects.errors] == number]
            if len(found):
                share = len(found) / int((self.rows.split == number).sum())
                detail = (
                    f"The label of {rows_in_words(len(found))} ({share:.1%}) is doubtful; {self.basis}. Read the rows "
                    "before you change a label: some are merely hard."
                )
                findings.append(self._finding("label_error", split.split, found, detail))
        return findings

    def overlaps(self) -> list[Finding]:
        """The pairs of classes that are confused, the most frequent first."""
        counts = np.bincount(self.rows.label, minlength=len(self.label_names))
        confused = self.suspects.confused
        pairs = np.sort(np.stack([self.rows.label[confused], self.suspects.suggested[confused]], axis=1), axis=1)
        distinct, pair_of_row, sizes = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        findings = []
        for number in np.argsort(-sizes, kind="stable"):
            pair = distinct[number]
            enough = max(OVERLAP_ROWS, OVERLAP_SHARE * counts[pair].min())
            if sizes[number] >= enough:
                findings.append(self._overlap(pair, confused[pair_of_row.ravel() == number]))
        return findings[:MOST_PAIRS]

    def _overlap(self, pair: np.ndarray, found: np.ndarray) -> Finding:
        first, second = (self.label_names[label] for label in pair)
        of_first = int((self.rows.label[found] == pair[0]).sum())
        detail = (
            f"{first!r} and {second!r} are confused: {rows_in_words(of_first)} of the first may belong to the second, "
            f"{len(found) - of_first:,} the other way round; {self.basis}."
        )
        numbers = np.unique(self.rows.split[found])
        return self._finding("class_overlap", ", ".join(self.splits[number].split for number in numbers), found, detail)

    def _finding(self, kind: Kind, split: str, found: np.ndarray, detail: str) -> Finding:
        ids = tuple(self._shown(row).id for row in found[:MAX_ROWS])
        examples = tuple((self._shown(row),) for row in found[:MAX_EXAMPLES])
        return Finding(kind, split, len(found), ids, detail, None, examples)

    def _shown(self, row: int) -> ShownRow:
        suggested = self.suspects.suggested[row]
        note = f"looks like {self.label_names[suggested]} ({self.scores[row, suggested]:.2f})"
        return self.splits[int(self.rows.split[row])].shown(int(self.rows.place[row]), note)
