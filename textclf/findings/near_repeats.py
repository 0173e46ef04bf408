"""Near repeats within splits and across them: texts that differ in a few characters or words, or hardly in meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from textclf.data.near_repeats import THRESHOLD, NearTexts, near_texts
from textclf.data.shingles import SHINGLE_SIZE
from textclf.findings.finding import MAX_EXAMPLES, Finding, Kind, ShownRow
from textclf.findings.repeats import KeyedSplit
from textclf.findings.words import percent, rows_in_words

SIMILAR = 0.95
"""Cosine similarity of embeddings from which on two texts count as near repeats."""
BLOCK = 1024
"""Rows whose cosine similarities to all others are computed at once."""
LEXICAL = (
    f"at least {THRESHOLD:.0%} of the {SHINGLE_SIZE}-character shingles are equal, case, punctuation and white space "
    "aside"
)


def find_near_repeats(splits: Sequence[KeyedSplit]) -> list[Finding]:
    """Finds texts that differ in a few characters or words.

    Args:
        splits: What `textclf.findings.repeats.key_splits` gives.

    Returns:
        Findings of the kinds `near_repeat` and `near_overlap`.
    """
    from datasets import concatenate_datasets

    if not splits:
        return []
    columns = list(splits[0].split.text_columns)
    rows = concatenate_datasets([split.split.rows.select_columns(columns) for split in splits])
    return _find(splits, near_texts(rows), LEXICAL, ("DropNearRepeats", "DropNearOverlap"))


def find_similar(splits: Sequence[KeyedSplit], vectors: np.ndarray, threshold: float = SIMILAR) -> list[Finding]:
    """Finds texts with similar embeddings; it takes quadratic time: about a minute for 50,000 rows.

    Args:
        splits: What `textclf.findings.repeats.key_splits` gives.
        vectors: Embeddings of the rows of all splits, in their order, float32, shape `(rows, size)`.
        threshold: Least cosine similarity.

    Returns:
        Findings of the kinds `near_repeat` and `near_overlap`.
    """
    if not splits:
        return []
    texts = np.concatenate([np.where(split.has_text, split.texts, -1) for split in splits])
    found, first_row, numbers = np.unique(texts, return_index=True, return_inverse=True)
    without_text = int(found[0] == -1) if len(found) else 0
    pairs = similar_vectors(vectors[first_row[without_text:]], threshold)
    how = f"their embeddings have a cosine similarity of at least {threshold:g}"
    return _find(splits, NearTexts(numbers - without_text, *pairs), how, (None, None))


def similar_vectors(vectors: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compares all vectors with each other.

    Args:
        vectors: float32, shape `(rows, size)`.
        threshold: Least cosine similarity.

    Returns:
        The row numbers of each pair, the lower one first, and its cosine similarity, three arrays of shape `(pairs,)`.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    found = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))]
    for begin in range(0, len(unit), BLOCK):
        similarity = unit[begin : begin + BLOCK] @ unit[begin:].T
        one, other = np.nonzero(np.triu(similarity >= threshold, k=1))
        found.append((one + begin, other + begin, similarity[one, other].astype(np.float64)))
    first, second, similarities = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first, second, similarities


def _find(
    splits: Sequence[KeyedSplit], near: NearTexts, how: str, remedies: tuple[str | None, str | None]
) -> list[Finding]:
    """The findings within each split, and across two of them.

    Args:
        splits: The splits.
        near: Near repeats among the rows of all splits, in their order.
        how: In which way texts are nearly the same, for the sentences.
        remedies: The cleaning steps that drop near repeats, and near repeats of other splits.
    """
    ends = np.cumsum([len(split.split) for split in splits])
    compared = list(zip(splits, np.split(near.texts, ends[:-1]), strict=True))
    found: list[Finding] = []
    for split, texts in compared:
        rows = _NearRows(split, texts, split, texts, near)
        if len(rows.rows):
            found.append(rows.finding("near_repeat", how, remedies[0]))
    for (earlier, texts), (later, others) in combinations(compared, 2):
        rows = _NearRows(earlier, texts, later, others, near)
        if len(rows.rows):
            found.append(rows.finding("near_overlap", how, remedies[1] if earlier.name == "train" else None))
    return found


class _NearRows:
    """The rows of a split that are near repeats of rows in a source: in another split, or in the same one.

    Rows with an equal text in another split are not among them.

    Attributes:
        rows: Their numbers, the most similar first.
        similarity: Of each to the closest row in the source.
    """

    def __init__(
        self, source: KeyedSplit, source_texts: np.ndarray, split: KeyedSplit, texts: np.ndarray, near: NearTexts
    ) -> None:
        """Finds them.

        Args:
            source: The split that has the other rows.
            source_texts: Number of the compared text of each row in the source, -1 for one without text.
            split: The split whose rows are reported.
            texts: Numbers of its compared texts.
            near: Near repeats among compared texts.
        """
        self.source, self.source_texts = source, source_texts
        self.split, self.texts = split, texts
        count = int(near.texts.max(initial=-1)) + 1
        # A compared text may have several forms, which differ in case, for example.
        forms = np.unique(np.stack([source_texts, source.texts]), axis=1)[0]
        forms_of_text = np.bincount(forms[forms >= 0], minlength=count)
        self._closest, of_text = _closest(near, forms_of_text > 0)
        own = np.isin(split.texts, source.texts)
        other_forms = np.append(forms_of_text, 0)[texts] - own > 0
        similarity = np.where(other_forms, 1.0, np.append(of_text, 0.0)[texts])
        similarity[texts < 0] = 0
        if split is not source:
            similarity[own] = 0
        rows = np.flatnonzero(similarity)
        self.rows = rows[np.argsort(-similarity[rows], kind="stable")]
        self.similarity = similarity[self.rows]

    def finding(self, kind: Kind, how: str, remedy: str | None) -> Finding:
        """What is reported.

        Args:
            kind: `near_repeat` or `near_overlap`.
            how: In which way texts are nearly the same.
            remedy: The cleaning step that drops such rows.
        """
        name = self.split.name
        share = percent(len(self.rows) / len(self.split.split))
        verb = "is" if len(self.rows) == 1 else "are"
        other = "another row" if self.split is self.source else f"a row of {self.source.name}"
        return Finding(
            kind,
            name if self.split is self.source else f"{self.source.name}, {name}",
            len(self.rows),
            self.split.split.ids(self.rows),
            f"{rows_in_words(len(self.rows))} of {name} ({share}) {verb} nearly the same as {other}: {how}.",
            remedy,
            tuple(self._examples()),
        )

    def _examples(self) -> Iterator[tuple[ShownRow, ...]]:
        """The most similar pairs, each once, the row of the source first."""
        shown: set[tuple[int, int]] = set()
        for row, similarity in zip(self.rows.tolist(), self.similarity.tolist(), strict=True):
            if len(shown) == MAX_EXAMPLES:
                return
            other = self._closest_row(row)
            pair = (min(other, row), max(other, row)) if self.split is self.source else (other, row)
            if pair not in shown:
                shown.add(pair)
                note = f"similarity {similarity:.2f}"
                yield self.source.split.shown(pair[0], note), self.split.split.shown(pair[1], note)

    def _closest_row(self, row: int) -> int:
        """The first row in the source with another form of a row's text, or else with the closest text."""
        text = self.texts[row]
        same = np.flatnonzero((self.source_texts == text) & (self.source.texts != self.split.texts[row]))
        return int(same[0]) if len(same) else int(np.argmax(self.source_texts == self._closest[text]))


def _closest(near: NearTexts, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most similar other text of each text, among some of the texts.

    Args:
        near: Near repeats.
        present: Which texts are considered, bool, shape `(texts,)`.

    Returns:
        Its number, -1 for none, and its similarity, 0 for none, each of shape `(texts,)`.
    """
    closest = np.full(len(present), -1)
    similarity = np.zeros(len(present))
    order = np.argsort(near.similarity, kind="stable")  # the highest similarity is written last
    first, second, similarities = near.first[order], near.second[order], near.similarity[order]
    for text, other in ((first, second), (second, first)):
        better = present[other] & (similarities > similarity[text])
        closest[text[better]] = other[better]
        similarity[text[better]] = similarities[better]
    return closest, similarity
