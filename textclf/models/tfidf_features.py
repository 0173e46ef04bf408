"""TF-IDF of the n-grams of one analyzer in one column of texts, as scikit-learn's `TfidfVectorizer` computes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from textclf.errors import UserError
from textclf.models.counted_rows import CountedRows, Vocabulary, selected
from textclf.ngrams import Analyzer, Matrix, count_ngrams


@dataclass(frozen=True)
class Features:
    """The features of one analyzer in one column.

    Attributes:
        column: The column of the texts.
        analyzer: Whether n-grams are of words or of characters.
        ngram_range: Minimum and maximum length of the n-grams.
        sublinear_tf: Whether a count is replaced by 1 + log(count).
        places: The place of each n-gram among the features; n-grams are sorted.
        idf: The weight of each n-gram, float64, shape `(n-grams,)`.
    """

    column: str
    analyzer: Analyzer
    ngram_range: tuple[int, int]
    sublinear_tf: bool
    places: dict[str, int]
    idf: np.ndarray

    def of_texts(self, texts: Sequence[str]) -> Matrix:
        """The features of texts, not normalised: a CSR matrix, float64, shape `(texts, n-grams)`."""
        counts = selected(count_ngrams(texts, self.analyzer, self.ngram_range), self.places)
        counts.sort_indices()
        return self.of_counts(counts)

    def of_counts(self, counts: Matrix) -> Matrix:
        """The features for counts of the n-grams, which they replace."""
        values = counts.data.astype(np.float64)
        if self.sublinear_tf:
            values = np.log(values) + 1
        counts.data = values * self.idf[counts.indices]
        return counts

    def stored(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        # One string: torch.load(weights_only=True) takes seconds for a list of a million strings.
        vocabulary = json.dumps(list(self.places), ensure_ascii=False)
        return {
            "column": self.column,
            "analyzer": self.analyzer,
            "vocabulary": vocabulary,
            "idf": torch.tensor(self.idf),
        }


def restored(stored: Mapping[str, Any], ngram_range: tuple[int, int], sublinear_tf: bool) -> Features:
    """The features that a checkpoint keeps.

    Raises:
        ValueError: There is not one weight for each n-gram.
    """
    places = places_of(json.loads(stored["vocabulary"]))
    idf = stored["idf"].cpu().numpy()
    if idf.shape != (len(places),):
        raise ValueError(f"{len(places)} n-grams have weights of the shape {idf.shape}")
    return Features(stored["column"], stored["analyzer"], ngram_range, sublinear_tf, places, idf)


def places_of(names: Sequence[str]) -> dict[str, int]:
    """The place of each name."""
    return {name: place for place, name in enumerate(names)}


def select(
    vocabulary: Vocabulary,
    rows: int,
    ngram_range: tuple[int, int],
    min_df: int,
    max_features: int | None,
    sublinear_tf: bool,
) -> Features:
    """Selects n-grams, and computes their weights.

    Args:
        vocabulary: The n-grams of all rows.
        rows: Number of rows.
        ngram_range: Minimum and maximum length of the n-grams.
        min_df: Minimum number of rows with an n-gram.
        max_features: Keep only the most frequent n-grams, this many.
        sublinear_tf: Replace a count by 1 + log(count).

    Raises:
        UserError: No n-gram is left.
    """
    names = sorted(name for name, number in vocabulary.frequencies.items() if number >= min_df)
    if not names:
        argument = f"{vocabulary.analyzer}_ngrams"
        raise UserError(
            f"min_df {min_df} with {argument} {list(ngram_range)} keeps no n-gram of {vocabulary.column} "
            f"in {rows} train rows: lower min_df, or set {argument} to null"
        )
    if max_features is not None and len(names) > max_features:
        totals = np.array([vocabulary.totals[name] for name in names])
        names = [names[place] for place in np.sort((-totals).argsort()[:max_features])]
    frequencies = np.array([vocabulary.frequencies[name] for name in names], dtype=np.float64)
    idf = np.log((rows + 1) / (frequencies + 1)) + 1
    return Features(vocabulary.column, vocabulary.analyzer, ngram_range, sublinear_tf, places_of(names), idf)


def all_in_memory(counted: CountedRows, features: Sequence[Features]) -> Matrix:
    """The normalised features of all rows, a CSR matrix."""
    from scipy.sparse import vstack

    matrices = []
    for number, one in enumerate(features):
        # In each row, features are in the order in which a loop over the rows first meets them, as `fit_transform` of
        # scikit-learn leaves them: sums of a row are the same to the last bit.
        seen = [name for name in counted.vocabularies[number].frequencies if name in one.places]
        counts = vstack(list(counted.matrices(places_of(seen), number)), format="csr")
        counts.sort_indices()
        counts.indices = np.array([one.places[name] for name in seen], dtype=np.int32)[counts.indices]
        matrices.append(one.of_counts(counts))
    return joined(matrices)


def in_chunks(counted: CountedRows, features: Sequence[Features]) -> Iterator[Matrix]:
    """The normalised features of all rows, in CSR matrices of some thousand rows each."""
    by_kind = [counted.matrices(one.places, number) for number, one in enumerate(features)]
    for chunk in zip(*by_kind, strict=True):
        yield joined([one.of_counts(counts) for one, counts in zip(features, chunk, strict=True)])


def joined(matrices: list[Matrix]) -> Matrix:
    """All features of the same rows side by side, the Euclidean norm of a row being 1."""
    from scipy.sparse import hstack
    from sklearn.preprocessing import normalize

    return normalize(hstack(matrices, format="csr"), copy=False)
