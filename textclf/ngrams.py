"""Counts of the n-grams of many texts, by array operations instead of a loop over n-grams."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

Matrix = Any  # scipy.sparse.csr_matrix
Analyzer = Literal["word", "char"]

WORD = re.compile(r"(?u)\b\w+\b")
"""Words, those of one letter too."""
SPACES = re.compile(r"\s\s+")


class NgramCounts(NamedTuple):
    """The n-grams of some texts.

    Attributes:
        names: The distinct n-grams, in the order of `CountVectorizer`: that in which a loop over the texts meets them.
            In a text, shorter n-grams come first.
        counts: How often each is in each text, int32, shape `(texts, names)`, in canonical form.
    """

    names: list[str]
    counts: Matrix


class StoredCounts(NamedTuple):
    """`NgramCounts` as arrays for a file, or for another process.

    Attributes:
        names: A list in JSON, uint8.
        frequencies: Number of texts with each n-gram, int64, shape `(names,)`.
        totals: How often each n-gram is in all texts, int64, shape `(names,)`.
        indptr: Of the matrix of counts.
        indices: Of the matrix of counts.
        values: Of the matrix of counts, in the smallest data type that they fit into.
    """

    names: np.ndarray
    frequencies: np.ndarray
    totals: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray


def count_ngrams(texts: Sequence[str], analyzer: Analyzer, ngram_range: tuple[int, int]) -> NgramCounts:
    """Counts n-grams as scikit-learn's `CountVectorizer` does, in a fifth of the time.

    Texts are lower-cased. Words are runs of letters, digits and underscores; for n-grams of characters, runs of white
    space become one space.

    Args:
        texts: The texts.
        analyzer: Whether n-grams are of words or of characters.
        ngram_range: Their minimum and maximum length.
    """
    from scipy.sparse import csr_matrix

    if analyzer == "word":
        texts_as_words = [WORD.findall(text.lower()) for text in texts]
        lengths = [len(words) for words in texts_as_words]
        words = list(chain.from_iterable(texts_as_words))
        tokens = np.array(words, dtype=object)
    else:
        cleaned = [SPACES.sub(" ", text.lower()) for text in texts]
        lengths = [len(text) for text in cleaned]
        joined = "".join(cleaned)
        tokens = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    found = _find(tokens, lengths, ngram_range)

    # From the order of lengths to that in which a loop over the texts meets the n-grams.
    order = np.lexsort((found.begins, found.sizes, found.text_of_token[found.begins]))
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    spans = zip(found.begins[order].tolist(), found.sizes[order].tolist(), strict=True)
    if analyzer == "word":
        names = [" ".join(words[begin : begin + size]) for begin, size in spans]
    else:
        names = [joined[begin : begin + size] for begin, size in spans]
    ones = np.ones(len(found.texts), dtype=np.int32)
    return NgramCounts(names, csr_matrix((ones, (found.texts, rank[found.ngrams])), shape=(len(texts), len(names))))


def count_stored(texts: Mapping[str, Sequence[str]], ngrams: Mapping[Analyzer, tuple[int, int]]) -> list[StoredCounts]:
    """Counts the n-grams of rows for a file.

    Args:
        texts: The texts of the rows by column.
        ngrams: Minimum and maximum length of the n-grams by analyzer.

    Returns:
        One for each analyzer of each column.
    """
    return [
        _stored(count_ngrams(column, analyzer, ngram_range))
        for column in texts.values()
        for analyzer, ngram_range in ngrams.items()
    ]


def count_in_worker(
    parent: int, texts: Mapping[str, Sequence[str]], ngrams: Mapping[Analyzer, tuple[int, int]]
) -> list[StoredCounts]:
    """`count_stored`, in a process that ends with the process `parent` that started it."""
    _end_with(parent)
    return count_stored(texts, ngrams)


@cache
def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended, be it by a signal.

    (Workers of joblib would wait for ever to send their results: each has both ends of the pipe open.)
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.name == "posix":  # elsewhere the parent's number stays
        threading.Thread(target=watch, daemon=True).start()


def names_of(stored: StoredCounts) -> list[str]:
    """The names of the n-grams."""
    names: list[str] = json.loads(stored.names.tobytes().decode("utf-8", "surrogatepass"))
    return names


def restored(stored: StoredCounts) -> NgramCounts:
    """The counts that were stored."""
    from scipy.sparse import csr_matrix

    names = names_of(stored)
    counts = csr_matrix((stored.values, stored.indices, stored.indptr), shape=(len(stored.indptr) - 1, len(names)))
    return NgramCounts(names, counts)


class _Occurrences(NamedTuple):
    """The n-grams at all positions.

    Attributes:
        texts: The text of each occurrence, int32.
        ngrams: The number of its n-gram.
        begins: The first token of an occurrence of each n-gram, the first one of all.
        sizes: Number of tokens of each n-gram.
        text_of_token: The text of each token, int32.
    """

    texts: np.ndarray
    ngrams: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    text_of_token: np.ndarray


def _find(tokens: np.ndarray, lengths: Sequence[int], ngram_range: tuple[int, int]) -> _Occurrences:
    """Numbers the n-grams at all positions of the texts, whose tokens stand one after the other in `tokens`."""
    import pandas as pd

    ids, distinct = pd.factorize(tokens)
    text_of_token = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    positions = np.arange(len(tokens))
    numbers = ids  # of the n-grams at `positions`
    texts, ngrams, begins, sizes = [], [], [], []
    known = 0
    least, most = ngram_range
    for size in range(1, most + 1):
        if size > 1:  # an n-gram is the one that is shorter by a token, and the token behind that
            has_next = positions + size - 1 < len(tokens)
            positions, numbers = positions[has_next], numbers[has_next]
            ends = positions + size - 1
            inside = text_of_token[positions] == text_of_token[ends]
            positions, ends = positions[inside], ends[inside]
            numbers, _ = pd.factorize(numbers[inside] * len(distinct) + ids[ends])
        count = int(numbers.max()) + 1 if len(numbers) else 0
        if size >= least:
            begin = np.empty(count, dtype=np.int64)
            begin[numbers[::-1]] = positions[::-1]  # of several positions the last one assigned stays: the first
            texts.append(text_of_token[positions])
            ngrams.append(numbers + known)
            begins.append(begin)
            sizes.append(np.full(count, size))
            known += count
    return _Occurrences(
        np.concatenate(texts), np.concatenate(ngrams), np.concatenate(begins), np.concatenate(sizes), text_of_token
    )


def _stored(ngrams: NgramCounts) -> StoredCounts:
    counts = ngrams.counts
    names = json.dumps(ngrams.names, ensure_ascii=False).encode("utf-8", "surrogatepass")
    most = int(counts.data.max(initial=0))
    return StoredCounts(
        names=np.frombuffer(names, dtype=np.uint8),
        frequencies=np.bincount(counts.indices, minlength=counts.shape[1]),
        totals=np.bincount(counts.indices, counts.data, minlength=counts.shape[1]).astype(np.int64),
        indptr=counts.indptr,
        indices=counts.indices,
        values=counts.data.astype(np.min_scalar_type(most)),
    )
