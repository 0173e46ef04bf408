"""TF-IDF of n-grams with logistic regression: the baseline for neural methods."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from textclf.console import say
from textclf.data.columns import int_column
from textclf.errors import UserError, check_least, check_range
from textclf.hardware.device import usable_cores
from textclf.models.array_file import temporary_arrays
from textclf.models.checkpoint_checks import loading_part
from textclf.models.counted_rows import CountedRows
from textclf.models.label_arguments import check_class_weights, weights_in_loss
from textclf.models.preparation import PreparedClassifier
from textclf.models.streamed_regression import EPOCHS, fit_streamed
from textclf.models.tfidf_features import Features, all_in_memory, in_chunks, joined, restored, select
from textclf.models.top_features import TopFeatures, top_features
from textclf.ngrams import Analyzer
from textclf.types import Dataset, LogisticRegression

MAX_ITERATIONS = 1000
"""scikit-learn's default of 100 is not always enough with weak regularisation."""
MAX_VALUES = 100_000_000
"""Values of the features of all rows that are held in memory together, which take 1.2 GB."""


class TfidfClassifier(PreparedClassifier):
    """Logistic regression on the TF-IDF of word and character n-grams, fitted by scikit-learn on the CPU.

    How strong such baselines are: Wang and Manning, 2012, https://aclanthology.org/P12-2018.

    All n-grams of a row together have the Euclidean norm 1. `text` and `text_pair` have separate features: the same
    word counts separately in both, and no n-gram spans both.

    A class without train rows keeps its column: its probability is 0, its log-probability -inf.

    The memory that `fit` needs does not grow with the number of rows, but for 16 bytes a row: n-grams are counted on
    all cores and kept in a temporary file (in `TMPDIR`, 1 to 2 KB for a short text). Up to 4,000,000 distinct n-grams
    of words are counted, and as many of characters; if there are more, the rarest are dropped, and a line says so.
    Features of up to 100,000,000 values (about 900,000 rows of 35 characters) are fitted in memory, to the optimum, and
    more of them by averaged stochastic gradient descent. The result is the same with any number of cores and processes.
    """

    architecture = ("word_ngrams", "char_ngrams", "sublinear_tf")

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        word_ngrams: tuple[int, int] | None = (1, 2),
        char_ngrams: tuple[int, int] | None = (1, 4),
        min_df: int = 2,
        max_features: int | None = None,
        sublinear_tf: bool = True,
        C: float = 5.0,
        class_weights: Literal["balanced"] | dict[str, float] | None = None,
    ) -> None:
        """Stores the hyperparameters; fitting depends on no seed.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            word_ngrams: Minimum and maximum number of words in an n-gram; null for no word n-grams.
            char_ngrams: Minimum and maximum number of characters in an n-gram, spaces included; null for none.
            min_df: Minimum number of train rows that contain an n-gram.
            max_features: Keep only the most frequent n-grams, this many of words and as many of characters.
            sublinear_tf: Replace a count by 1 + log(count).
            C: Inverse strength of the L2 regularisation; smaller is stronger.
            class_weights: Weights of the classes in the loss by name, 1 for those not named; `balanced`
                for weights inverse to the counts.

        Raises:
            UserError: A value is out of range, or a weight's name is not a label.
        """
        super().__init__(num_classes, label_names)
        self.ngrams: dict[Analyzer, tuple[int, int]] = {}
        if word_ngrams:
            self.ngrams["word"] = _ngram_range("word_ngrams", word_ngrams)
        if char_ngrams:
            self.ngrams["char"] = _ngram_range("char_ngrams", char_ngrams)
        if not self.ngrams:
            raise UserError("word_ngrams and char_ngrams are both null: give at least one of them, such as [1, 2]")
        check_least("min_df", min_df, 1, " (1 keeps every n-gram)")
        check_least("max_features", max_features, 1, ", or null for all n-grams")
        check_range("C", C, 0 < C < math.inf, "a number above 0, such as 1.0")
        self.min_df = min_df
        self.max_features = max_features
        self.sublinear_tf = sublinear_tf
        self.C = C
        self.class_weights = check_class_weights(class_weights, self.label_names)
        self._rebuilt: tuple[dict[str, Any], list[Features], LogisticRegression] | None = None

    # The contract

    def prepare(self, train_rows: Dataset) -> None:
        """Counts the n-grams of the train rows, and fits the regression.

        Raises:
            UserError: Only one class has rows, no n-gram is in at least `min_df` of them, or no space is left for the
                temporary file.
        """
        labels = int_column(train_rows, "label")
        present = np.flatnonzero(np.bincount(labels)).tolist()
        if len(present) < 2:
            names = ", ".join(self.label_names[label] for label in present) or "none"
            raise UserError(f"the train rows have one class only ({names}): give rows of two or more classes")
        with temporary_arrays("the n-grams of the train rows") as file:
            counted = CountedRows(train_rows, self.ngrams, self.max_features is not None, usable_cores(), file)
            for vocabulary in counted.vocabularies:
                vocabulary.say_dropped()
            features = [
                select(
                    vocabulary,
                    counted.rows,
                    self.ngrams[vocabulary.analyzer],
                    self.min_df,
                    self.max_features,
                    self.sublinear_tf,
                )
                for vocabulary in counted.vocabularies
            ]
            regression = self._regression(counted, features, labels)
        self.fitted = {
            "blocks": [one.stored() for one in features],
            "classes": regression.classes_.tolist(),
            "coefficients": torch.tensor(regression.coef_),
            "intercepts": torch.tensor(regression.intercept_),
        }

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities in nats, float64 (float32 on MPS), shape `(batch, num_classes)`.

        Raises:
            UserError: The model was fitted on text pairs, and the rows have single texts, or the other way round.
        """
        features, regression = self._rebuild()
        fitted = {one.column for one in features}
        given = {"text", "text_pair"} & batch.keys()
        if fitted != given:
            raise UserError(
                f"the rows have {' and '.join(sorted(given))}, but the model was fitted on "
                f"{' and '.join(sorted(fitted))}: give rows with the same columns"
            )
        matrix = joined([one.of_texts(batch[one.column]) for one in features])
        logits = torch.from_numpy(regression.decision_function(matrix))
        if logits.ndim == 1:  # two classes: scikit-learn returns the log-odds of the second
            logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
        log_scores = torch.full((len(logits), self.num_classes), -torch.inf, dtype=torch.float64)
        log_scores[:, regression.classes_] = logits.log_softmax(dim=1)
        dtype = torch.float32 if self.device.type == "mps" else torch.float64  # MPS has no float64
        return log_scores.to(self.device, dtype)

    def top_features(self, number: int) -> TopFeatures:
        """The n-grams with the largest coefficients of each class: words as they are, characters in quotes."""
        _, regression = self._rebuild()
        names: list[str] = []
        for stored in self.fitted["blocks"]:
            column = "" if stored["column"] == "text" else f"{stored['column']}: "
            quote = "'" if stored["analyzer"] == "char" else ""
            names += [f"{column}{quote}{ngram}{quote}" for ngram in json.loads(stored["vocabulary"])]
        present = [self.label_names[label] for label in regression.classes_]
        return top_features("n-grams", names, regression.coef_, present, number)

    # Fitting

    def _regression(self, counted: CountedRows, features: list[Features], labels: np.ndarray) -> LogisticRegression:
        """Fits the regression: to all features in memory if they are few enough, otherwise to parts of them in turn."""
        from sklearn.linear_model import LogisticRegression

        weights = self._class_weight(labels)
        width = sum(len(one.places) for one in features)
        values = sum(
            vocabulary.frequencies[name]
            for vocabulary, one in zip(counted.vocabularies, features, strict=True)
            for name in one.places
        )
        if values > MAX_VALUES:
            say(
                f"{counted.rows:,} train rows with {values:,} values of {width:,} n-grams: the regression is fitted by "
                f"stochastic gradient descent, {EPOCHS} passes over a temporary file"
            )
            return fit_streamed(in_chunks(counted, features), width, labels, self.C, weights, usable_cores())
        # For several classes L-BFGS takes several times as long, and liblinear does not support them.
        regression = LogisticRegression(C=self.C, class_weight=weights, solver="newton-cg", max_iter=MAX_ITERATIONS)
        return regression.fit(all_in_memory(counted, features), labels)

    def _class_weight(self, labels: np.ndarray) -> dict[int, float]:
        """Weight in the loss of each class that has train rows, as scikit-learn takes them."""
        counts = np.bincount(labels)
        present = np.flatnonzero(counts)
        names = [self.label_names[label] for label in present]
        weights = weights_in_loss(self.class_weights, names, counts[present].tolist())
        return dict(zip(present.tolist(), weights, strict=True))

    def _rebuild(self) -> tuple[list[Features], LogisticRegression]:
        """Builds the features and scikit-learn's object from `self.fitted`, again only after it was replaced."""
        if self._rebuilt is None or self._rebuilt[0] is not self.fitted:
            from sklearn.linear_model import LogisticRegression

            if not self.fitted:
                raise UserError(f"{type(self).__name__} is not fitted: run `fit` first, or load a checkpoint")
            with loading_part("n-grams"):
                features = [
                    restored(stored, self.ngrams[stored["analyzer"]], self.sublinear_tf)
                    for stored in self.fitted["blocks"]
                ]
                regression = LogisticRegression()
                regression.classes_ = torch.tensor(self.fitted["classes"]).numpy()
                regression.coef_ = self.fitted["coefficients"].cpu().numpy()
                regression.intercept_ = self.fitted["intercepts"].cpu().numpy()
            self._rebuilt = self.fitted, features, regression
        return self._rebuilt[1:]


def _ngram_range(name: str, ngrams: Sequence[int]) -> tuple[int, int]:
    if len(ngrams) != 2 or not 1 <= ngrams[0] <= ngrams[1]:
        raise UserError(
            f"{name} {list(ngrams)} is not a range: give the minimum and the maximum, such as [1, 4], or null"
        )
    return ngrams[0], ngrams[1]
