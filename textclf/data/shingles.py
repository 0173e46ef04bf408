"""Texts as sets of character shingles, and their MinHash signatures."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np

from textclf.normalization import normalize_unicode

SHINGLE_SIZE = 4
"""Characters in a shingle."""
BANDS = 50
"""Number of parts of a signature by which similar texts are found."""
BAND_SIZE = 5
"""Values of a signature in a band.

Two texts with a Jaccard similarity of s have a band in common with the probability `1 - (1 - s ** 5) ** 50`: 0.9999 for
0.7, 0.999999 for 0.75, and 0.0005 for 0.1.
"""
SIGNATURE_SIZE = BANDS * BAND_SIZE
SEED = 1
"""Seed of the signatures: they are the same in every run."""
SEPARATORS = ("Cc", "Cf", "Zl", "Zp", "Zs")
"""Unicode categories of control characters, invisible characters, and spaces."""
ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Odd 64-bit factors of hashes, of Steele et al. (2014), `SplitMix64`."""


@cache
def _separators() -> dict[int, str]:
    """A table for `str.translate` with a space for each punctuation mark, space, and invisible character.

    Symbols such as emoji do not belong to them.
    """
    table = {}
    for number in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(number))
        if category in SEPARATORS or category.startswith("P"):
            table[number] = " "
    return table


def normalized(text: str) -> str:
    """A text without what does not count in a comparison: case, punctuation, white space, and ways of encoding.

    A text of punctuation alone keeps it.
    """
    folded = normalize_unicode("NFKC", text).casefold()
    return " ".join(folded.translate(_separators()).split()) or " ".join(folded.split())


def shingles(texts: Sequence[str], salt: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hashes the shingles of normalized texts.

    Each text begins and ends with a space, so that a word at its end has the same shingles as elsewhere. A shorter text
    than a shingle is one; an empty text has none.

    Args:
        texts: Normalized texts.
        salt: Texts that are hashed with other salts have no shingles in common.

    Returns:
        The hashes of all texts one after the other, repeated shingles repeatedly, uint64, and the beginnings of the
        texts in them, int64, shape `(texts + 1,)`.
    """
    padded = [f" {text} ".ljust(SHINGLE_SIZE) if text else "" for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    counts = np.maximum(lengths - SHINGLE_SIZE + 1, 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    begins = np.repeat(np.cumsum(lengths) - lengths - offsets[:-1], counts) + np.arange(offsets[-1])
    hashes = np.full(len(begins), salt, dtype=np.uint64)
    for position in range(SHINGLE_SIZE):
        hashes = hashes * np.uint64(ODD[0]) + codes[begins + position]
    return _mixed(hashes), offsets


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Spreads the differences between 64-bit numbers over all their bits; different numbers stay different."""
    for shift, factor in ((30, ODD[1]), (27, ODD[2])):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    mixed: np.ndarray = numbers ^ (numbers >> np.uint64(31))
    return mixed


def signatures(texts: Sequence[str], salt: int = 0) -> np.ndarray:
    """MinHash signatures (Broder, 1997, https://doi.org/10.1109/SEQUEN.1997.666900).

    Two texts have the same value in a column with a probability of the Jaccard similarity of their shingles. The
    signature of the union of two sets has the smaller one of their values in each column.

    Args:
        texts: Normalized texts.
        salt: As for `shingles`.

    Returns:
        uint32, shape `(texts, SIGNATURE_SIZE)`.
    """
    from rensa import RMinHash

    hashes, offsets = shingles(texts, salt)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), SIGNATURE_SIZE, SEED)
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(len(texts), SIGNATURE_SIZE)


def bands(signatures: np.ndarray) -> np.ndarray:
    """Hashes of the bands of signatures.

    Args:
        signatures: uint32, shape `(texts, SIGNATURE_SIZE)`.

    Returns:
        uint32, shape `(texts, BANDS)`.
    """
    values = signatures.reshape(-1, BANDS, BAND_SIZE)
    hashes = np.zeros(values.shape[:2], dtype=np.uint64)
    for position in range(BAND_SIZE):
        hashes = hashes * np.uint64(ODD[0]) + values[:, :, position]
    found: np.ndarray = (_mixed(hashes) >> np.uint64(32)).astype(np.uint32)
    return found


def jaccard(texts: Sequence[str], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The exact Jaccard similarity of the shingles of pairs of texts.

    Args:
        texts: Normalized texts.
        first: Numbers of texts, shape `(pairs,)`.
        second: Numbers of the texts that they are compared with, shape `(pairs,)`.

    Returns:
        float64, shape `(pairs,)`; 1 for two empty texts.
    """
    from scipy.sparse import csr_array

    hashes, offsets = shingles(texts)
    # Sorted and without repeats in each text; the columns of the matrix are numbers of shingles.
    _, columns = np.unique(hashes, return_inverse=True)
    width = int(columns.max(initial=-1)) + 1
    rows = np.repeat(np.arange(len(texts), dtype=np.int64), np.diff(offsets))
    keys, _ = np.unique(rows * width + columns, return_index=True)  # sorts; without an index it is slower
    counts = np.bincount(keys // max(width, 1), minlength=len(texts))
    begins = np.concatenate([[0], np.cumsum(counts)])
    matrix = csr_array((np.ones(len(keys), dtype=np.int32), keys % max(width, 1), begins), shape=(len(texts), width))
    common = matrix[first].multiply(matrix[second]).sum(axis=1)
    union = counts[first] + counts[second] - common
    similarity: np.ndarray = np.where(union > 0, common / np.maximum(union, 1), 1.0)
    return similarity
