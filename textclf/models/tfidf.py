"""TF-IDF of n-grams with logistic regression: the baseline for neural methods."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from textclf.errors import UserError, check_least, check_range
from textclf.models.checkpoint_checks import loading_part
from textclf.models.label_arguments import check_class_weights, weights_in_loss
from textclf.models.preparation import PreparedClassifier
from textclf.models.top_features import TopFeatures, top_features
from textclf.types import Dataset, LogisticRegression, TfidfVectorizer

Matrix = Any  # scipy.sparse.csr_matrix
Block = tuple[str, TfidfVectorizer]
"""A column of texts, and its vectorizer."""

MAX_ITERATIONS = 1000
"""scikit-learn's default of 100 is not always enough with weak regularisation."""


class TfidfClassifier(PreparedClassifier):
    """Logistic regression on the TF-IDF of word and character n-grams, fitted by scikit-learn on the CPU.

    How strong such baselines are: Wang and Manning, 2012, https://aclanthology.org/P12-2018.

    All n-grams of a row together have the Euclidean norm 1. `text` and `text_pair` have separate features: the same
    word counts separately in both, and no n-gram spans both.

    A class without train rows keeps its column: its probability is 0, its log-probability -inf.
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
        """Stores the hyperparameters; fitting uses no random numbers.

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
        self.ngrams: dict[str, tuple[int, int]] = {}
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
        self._rebuilt: tuple[dict[str, Any], list[Block], LogisticRegression] | None = None

    # The contract

    def prepare(self, train_rows: Dataset) -> None:
        """Counts the n-grams of the train rows, and fits the regression.

        Raises:
            UserError: Only one class has rows, or no n-gram is in at least `min_df` of them.
        """
        from sklearn.linear_model import LogisticRegression

        labels = list(train_rows["label"])
        present = sorted(set(labels))
        if len(present) < 2:
            names = ", ".join(self.label_names[label] for label in present) or "none"
            raise UserError(f"the train rows have one class only ({names}): give rows of two or more classes")
        stored = []
        matrices = []
        for column in ("text", "text_pair"):
            if column in train_rows.column_names:
                texts = list(train_rows[column])
                for analyzer in self.ngrams:
                    vectorizer = self._vectorizer(analyzer, min_df=self.min_df, max_features=self.max_features)
                    matrices.append(_fit_transform(vectorizer, column, texts))
                    stored.append(_stored(column, vectorizer))
        # For several classes L-BFGS takes several times as long, and liblinear does not support them.
        regression = LogisticRegression(
            C=self.C, class_weight=self._class_weight(labels), solver="newton-cg", max_iter=MAX_ITERATIONS
        )
        regression.fit(_joined(matrices), labels)
        self.fitted = {
            "blocks": stored,
            "classes": regression.classes_.tolist(),
            "coefficients": torch.tensor(regression.coef_),
            "intercepts": torch.tensor(regression.intercept_),
        }

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities in nats, float64 (float32 on MPS), shape `(batch, num_classes)`.

        Raises:
            UserError: The model was fitted on text pairs, and the rows have single texts, or the other way round.
        """
        blocks, regression = self._rebuild()
        fitted = {column for column, _ in blocks}
        given = {"text", "text_pair"} & batch.keys()
        if fitted != given:
            raise UserError(
                f"the rows have {' and '.join(sorted(given))}, but the model was fitted on "
                f"{' and '.join(sorted(fitted))}: give rows with the same columns"
            )
        matrix = _joined([vectorizer.transform(batch[column]) for column, vectorizer in blocks])
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

    def _vectorizer(self, analyzer: str, **options: Any) -> TfidfVectorizer:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            analyzer=analyzer,
            ngram_range=self.ngrams[analyzer],
            token_pattern=r"(?u)\b\w+\b" if analyzer == "word" else None,  # words of one letter too
            sublinear_tf=self.sublinear_tf,
            norm=None,  # `_joined` normalises the whole row
            **options,
        )

    def _class_weight(self, labels: Sequence[int]) -> dict[int, float]:
        """Weight in the loss of each class that has train rows, as scikit-learn takes them."""
        counts = Counter(labels)
        names = [self.label_names[label] for label in counts]
        weights = weights_in_loss(self.class_weights, names, list(counts.values()))
        return dict(zip(counts, weights, strict=True))

    def _rebuild(self) -> tuple[list[Block], LogisticRegression]:
        """Builds scikit-learn's objects from `self.fitted`, again only after it was replaced."""
        if self._rebuilt is None or self._rebuilt[0] is not self.fitted:
            from sklearn.linear_model import LogisticRegression

            if not self.fitted:
                raise UserError(f"{type(self).__name__} is not fitted: run `fit` first, or load a checkpoint")
            blocks = []
            with loading_part("n-grams"):
                for stored in self.fitted["blocks"]:
                    vectorizer = self._vectorizer(stored["analyzer"], vocabulary=json.loads(stored["vocabulary"]))
                    vectorizer.idf_ = stored["idf"].cpu().numpy()
                    blocks.append((stored["column"], vectorizer))
                regression = LogisticRegression()
                regression.classes_ = torch.tensor(self.fitted["classes"]).numpy()
                regression.coef_ = self.fitted["coefficients"].cpu().numpy()
                regression.intercept_ = self.fitted["intercepts"].cpu().numpy()
            self._rebuilt = self.fitted, blocks, regression
        return self._rebuilt[1:]


def _fit_transform(vectorizer: TfidfVectorizer, column: str, texts: list[str]) -> Matrix:
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:  # scikit-learn raises it for an empty vocabulary
        name = f"{vectorizer.analyzer}_ngrams"
        ngrams = list(vectorizer.ngram_range)
        raise UserError(
            f"min_df {vectorizer.min_df} with {name} {ngrams} keeps no n-gram of {column} "
            f"in {len(texts)} train rows: lower min_df, or set {name} to null"
        ) from error


def _joined(matrices: list[Matrix]) -> Matrix:
    from scipy.sparse import hstack
    from sklearn.preprocessing import normalize

    return normalize(hstack(matrices, format="csr"), copy=False)


def _stored(column: str, vectorizer: TfidfVectorizer) -> dict[str, Any]:
    # One string: torch.load(weights_only=True) takes seconds for a list of a million strings.
    vocabulary = json.dumps(vectorizer.get_feature_names_out().tolist(), ensure_ascii=False)
    idf = torch.tensor(vectorizer.idf_)
    return {"column": column, "analyzer": vectorizer.analyzer, "vocabulary": vocabulary, "idf": idf}


def _ngram_range(name: str, ngrams: Sequence[int]) -> tuple[int, int]:
    if len(ngrams) != 2 or not 1 <= ngrams[0] <= ngrams[1]:
        raise UserError(
            f"{name} {list(ngrams)} is not a range: give the minimum and the maximum, such as [1, 4], or null"
        )
    return ngrams[0], ngrams[1]
