"""Near repeats: texts that differ in a few characters or words.

Texts are compared by the Jaccard similarity of their character shingles (`textclf.data.shingles`), after case,
punctuation and white space are removed: the number of shingles in both, as a share of those in either. Rows with two
texts are as similar as the less similar one of the two. Candidates are texts with a band of their MinHash signatures in
common; their exact similarity is then computed. A million short texts take one to two minutes and 600 MB. Every run
finds the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from textclf.data.columns import WINDOW, text_windows
from textclf.data.shingles import BANDS, SIGNATURE_SIZE, bands, jaccard, normalized, signatures
from textclf.errors import UserError
from textclf.hashing import short_hash
from textclf.types import Dataset

THRESHOLD = 0.7
"""Jaccard similarity from which on two texts are near repeats; signatures are made for this and higher ones."""
CHARACTERS = 5_000_000
"""Characters of the texts that are in memory as shingles at once."""
MARGIN = 0.12
"""A pair is examined if the estimate of its similarity is this far below the threshold: four standard deviations."""
REACH = 64
"""Of the texts with a band in common, each is compared with this many before it, and this many of the first ones."""
COMPARISONS = 200_000_000
"""Comparisons of signatures, for all texts together."""
CANDIDATES = 2_000_000
"""Pairs whose exact similarity is computed, for all texts together."""
PER_TEXT = ((256, 8_000), (2, 250))
"""Fewest and most comparisons of a text with earlier ones, and so for candidates, however many texts there are."""


@dataclass(frozen=True)
class NearTexts:
    """Which rows are near repeats of each other.

    Attributes:
        texts: Number of the normalized text of each row, by first occurrence, shape `(rows,)`; -1 for one without text.
        first: Numbers of texts that have near repeats, shape `(pairs,)`.
        second: Numbers of these near repeats, each higher than `first`, shape `(pairs,)`.
        similarity: Of each pair, shape `(pairs,)`.
    """

    texts: np.ndarray
    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray

    def neighbours(self) -> dict[int, list[int]]:
        """The near repeats of each text that has any, in rising order."""
        found: dict[int, list[int]] = {}
        both = [(self.first, self.second), (self.second, self.first)]
        for text, other in zip(*(np.concatenate(part).tolist() for part in zip(*both, strict=True)), strict=True):
            found.setdefault(text, []).append(other)
        for others in found.values():
            others.sort()
        return found


def near_texts(rows: Dataset, threshold: float = THRESHOLD, others: int = 0) -> NearTexts:
    """Finds the near repeats among rows.

    Where more than 64 texts share a band, as sentences of one template do, a text is not compared with all of them; it
    may then be found as a near repeat of another one than the most similar.

    Args:
        rows: With a column `text`, and `text_pair` where there is one.
        threshold: Least similarity, `THRESHOLD` to 1.
        others: Number of the first rows that only the following ones are compared with; 0 to compare all rows.
    """
    texts, first_rows, lengths = _numbered(rows)
    distinct = rows.select(first_rows)
    pairs = _candidate_pairs(distinct, threshold, int(texts[:others].max(initial=-1)) + 1)
    similarity = np.concatenate([np.empty(0), *_similarities(distinct, pairs, lengths)])
    near = similarity >= threshold
    return NearTexts(texts, pairs[near, 0], pairs[near, 1], similarity[near])


def near_those_of(rows: Dataset, others: Sequence[Dataset], threshold: float = THRESHOLD) -> np.ndarray:
    """Whether the text of each row is equal to, or nearly, that of one of the others; bool, shape `(rows,)`.

    Args:
        rows: With a column `text`, and `text_pair` where there is one.
        others: Splits of other rows, with the same columns.
        threshold: As for `near_texts`.
    """
    from datasets import concatenate_datasets

    names = [name for name in ("text", "text_pair") if name in rows.column_names]
    # In one pass, so that the rows are sketched once, however many splits they are compared with.
    all_rows = concatenate_datasets([part.select_columns(names) for part in (*others, rows)])
    count_of_others = len(all_rows) - len(rows)
    near = near_texts(all_rows, threshold, count_of_others)
    count = int(near.texts.max(initial=-1)) + 1
    found = np.zeros(count, dtype=bool)
    of_others = near.texts[:count_of_others]
    found[of_others[of_others >= 0]] = True
    found[near.second[found[near.first]]] = True
    of_rows = near.texts[count_of_others:]
    result: np.ndarray = np.append(found, False)[of_rows]  # -1, a row without text, is the last
    return result


def check_threshold(threshold: float) -> None:
    """Refuses a threshold that signatures are not made for.

    Raises:
        UserError: It is below `THRESHOLD`, or above 1.
    """
    if not THRESHOLD <= threshold <= 1:
        raise UserError(f"threshold {threshold} is not between {THRESHOLD} and 1: give a similarity of near repeats")


def _normalized_windows(rows: Dataset) -> Iterator[tuple[list[str], list[str]]]:
    """The normalized texts and their pairs, some thousands at a time; of long texts fewer."""
    for texts, pairs in text_windows(rows):
        lengths = np.array([len(text) + len(pair) for text, pair in zip(texts, pairs, strict=True)])
        for part in _parts(lengths):
            yield [normalized(text) for text in texts[part]], [normalized(pair) for pair in pairs[part]]


def _parts(characters: np.ndarray) -> Iterator[slice]:
    """Parts of a sequence that have no more than `CHARACTERS`, their first item aside.

    Args:
        characters: Of each item, shape `(items,)`.
    """
    number = (np.cumsum(characters) - 1) // CHARACTERS
    begins = np.flatnonzero(np.diff(number, prepend=-2))
    for begin, end in pairwise([*begins.tolist(), len(characters)]):
        yield slice(begin, end)


def _numbered(rows: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of each row's normalized text, and the first row and the characters of each of these texts."""
    hashes = [np.empty(0, dtype=np.uint64)]
    lengths = [np.empty(0, dtype=np.int64)]
    for texts, pairs in _normalized_windows(rows):
        of_window = [_text_number(text, pair) for text, pair in zip(texts, pairs, strict=True)]
        hashes.append(np.array(of_window, dtype=np.uint64))
        lengths.append(np.array([len(text) + len(pair) for text, pair in zip(texts, pairs, strict=True)]))
    found, first, numbers = np.unique(np.concatenate(hashes), return_index=True, return_inverse=True)
    first[found == 0] = -1  # rows without text come first in the order, and are then left out
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    without_text = int((found == 0).any())
    first_rows = first[order][without_text:]
    return rank[numbers] - without_text, first_rows, np.concatenate(lengths)[first_rows]


def _text_number(text: str, pair: str) -> int:
    """A 64-bit hash; 0 where there is no text."""
    if not text and not pair:
        return 0
    return int.from_bytes(short_hash(f"{len(text)} {text}{pair}".encode("utf-8", "surrogatepass"))[:8], "little") or 1


def _sketch(rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Bands of each row, shape `(rows, BANDS)`, and the lowest byte of its signature's values, uint8."""
    of_bands = np.empty((BANDS, len(rows)), dtype=np.uint32)  # a band is read as a whole
    low_bytes = np.empty((len(rows), SIGNATURE_SIZE), dtype=np.uint8)
    done = 0
    for texts, pairs in _normalized_windows(rows):
        found = signatures(texts)
        if any(pairs):
            found = np.minimum(found, signatures(pairs, salt=1))
        window = slice(done, done + len(texts))
        of_bands[:, window] = bands(found).T
        low_bytes[window] = found.astype(np.uint8)
        done += len(texts)
    return of_bands, low_bytes


def _candidate_pairs(rows: Dataset, threshold: float, others: int = 0) -> np.ndarray:
    """Pairs of rows that may be near repeats, the lower number first, sorted, shape `(pairs, 2)`."""
    of_bands, low_bytes = _sketch(rows)
    candidates = _Candidates(low_bytes, threshold, others)
    for band in of_bands:
        candidates.add_band(band)
    return candidates.pairs()


class _Candidates:
    """Pairs of texts that may be near repeats; they are collected band by band.

    Attributes:
        keys: `first * texts + second` of each pair, `first` being lower than `second`, sorted.
    """

    def __init__(self, low_bytes: np.ndarray, threshold: float, others: int) -> None:
        """Starts without pairs.

        Args:
            low_bytes: The lowest byte of each value of the signatures, shape `(texts, SIGNATURE_SIZE)`.
            threshold: Least similarity of near repeats.
            others: Number of the first texts that only the following ones are compared with; 0 to compare all texts.
        """
        self.others = others
        self.low_bytes = low_bytes
        self.threshold = threshold
        self.keys = np.empty(0, dtype=np.int64)
        self.texts = len(low_bytes)
        limits = []
        for total, (fewest, most) in zip((COMPARISONS, CANDIDATES), PER_TEXT, strict=True):
            limits.append(min(max(total // max(self.texts, 1), fewest), most))
        self.max_effort, most_candidates = limits
        self.effort_of_candidate = self.max_effort // most_candidates
        self.effort = np.zeros(self.texts, dtype=np.int64)  # of each text, in comparisons with earlier ones

    def pairs(self) -> np.ndarray:
        """The pairs found so far, shape `(pairs, 2)`."""
        return np.stack(np.divmod(self.keys, max(self.texts, 1)), axis=1)

    def add_band(self, band: np.ndarray) -> None:
        """Compares texts that have a band in common.

        Args:
            band: Hash of the band of each text, shape `(texts,)`.
        """
        members, begin = _buckets(band)
        found = [self.keys]
        active = np.flatnonzero(members >= self.others)
        for step in range(1, REACH + 1):
            active = active[(active - step >= begin[active]) & (self.effort[members[active]] < self.max_effort)]
            leading = begin[active] + step - 1
            if self.others:
                is_other = members[leading] < self.others
                active = active[is_other]
                found.append(self._compare(members[leading[is_other]], members[active]))
            else:
                found.append(self._compare(members[active - step], members[active]))
                is_far = leading < active - REACH  # nearer ones are among those before it
                found.append(self._compare(members[leading[is_far]], members[active[is_far]]))
        keys = np.concatenate(found)
        keys.sort(kind="stable")
        self.keys = keys

    def _compare(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The keys of the pairs that are new candidates; no text is in `second` twice."""
        equal = np.empty(len(first), dtype=np.int64)
        for begin in range(0, len(first), WINDOW):
            part = slice(begin, begin + WINDOW)
            equal[part] = np.count_nonzero(self.low_bytes[first[part]] == self.low_bytes[second[part]], axis=1)
        similar = equal >= (self.threshold - MARGIN) * SIGNATURE_SIZE
        keys: np.ndarray = (first * self.texts + second)[similar]
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        new = self.keys[place] != keys if len(self.keys) else np.ones(len(keys), dtype=bool)
        self.effort[second] += 1
        self.effort[second[similar][new]] += self.effort_of_candidate
        new_keys: np.ndarray = keys[new]
        return new_keys


def _buckets(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texts whose band others share: those with the same one together, and the position where these begin."""
    order = np.argsort(band, kind="stable")  # those with the same band by their numbers
    values = band[order]
    begin = np.searchsorted(values, values, side="left")
    shared = np.searchsorted(values, values, side="right") - begin > 1
    return order[shared], (np.cumsum(shared) - 1)[begin[shared]]


def _similarities(rows: Dataset, pairs: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray]:
    """The exact similarities of pairs of rows, some thousands at a time.

    Args:
        rows: The rows.
        pairs: Row numbers, shape `(pairs, 2)`.
        lengths: Characters of each row, shape `(rows,)`.
    """
    for part in _parts(lengths[pairs].sum(axis=1)):
        numbers, position = np.unique(pairs[part], return_inverse=True)
        first, second = position.reshape(-1, 2).T
        windows = list(_normalized_windows(rows.select(numbers)))
        texts: Sequence[str] = [text for window, _ in windows for text in window]
        similarity = jaccard(texts, first, second)
        if "text_pair" in rows.column_names:
            others = [pair for _, window in windows for pair in window]
            similarity = np.minimum(similarity, jaccard(others, first, second))
        yield similarity
