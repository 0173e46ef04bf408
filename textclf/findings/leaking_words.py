"""Words and characters that give the label away."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np

from textclf.findings.associations import GAP, Association, class_shares
from textclf.findings.finding import Finding
from textclf.findings.rows import ExploredSplit
from textclf.findings.shares import FEW, class_counts
from textclf.findings.words import first_few, quoted

SINGULAR_GAP = 0.3
"""As `GAP`, for a word or character that all but belongs to one class, and stands out from all others."""
STANDS_OUT = 2.0
"""Ratio of its gap to that of the next word or character from which on one stands out."""
PURE = 0.95
"""Share of the rows with a word or character that are of one class."""
TOGETHER = 0.8
"""Words that are in the same rows to this degree (Jaccard) count as one."""
SHOWN = 10

TOKEN = re.compile(r"\w+|[^\w\s]")
PIECES = {
    "p": "the words {}",
    "w": "the word {}",
    "e": "{} as last character",
    "b": "{} as first character",
    "c": "the character {}",
}
"""How a piece is called, by its mark; of pieces that are in the same rows, the first is named."""


def pieces_of(text: str) -> set[str]:
    """The words, pairs of neighbouring words, characters, first and last character of a text, each with its mark."""
    tokens = TOKEN.findall(text.lower())
    pieces = {f"w{token}" for token in tokens if token[0].isalnum() or token[0] == "_"}
    pieces |= {f"p{first} {second}" for first, second in pairwise(tokens)}
    # Letters of alphabets and digits are parts of words; a syllable or an ideograph can be a word.
    pieces |= {f"c{character}" for character in set(text) if not _is_part_of_words(character)}
    stripped = text.strip()
    if stripped:
        pieces |= {f"b{stripped[0]}", f"e{stripped[-1]}"}
    return pieces


def _is_part_of_words(character: str) -> bool:
    return character.isdigit() or character.upper() != character.lower()


def find_leaking_words(split: ExploredSplit, of: str) -> list[Finding]:
    """Findings of the kind `leak`: words and characters that are far more frequent inside of a class than outside.

    Args:
        split: Rows with a valid label.
        of: What they are, in words.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    findings = []
    counts = class_counts(split)
    fewest = int(counts[counts >= FEW].min())
    for column in split.text_columns:
        texts = [text for window in split.windows(column) for text in window]
        # Of the rarest class that is looked at, and with rivals that it stands out from.
        least = max(2, int(SINGULAR_GAP / STANDS_OUT / 2 * min(fewest, len(split) - counts.max())))
        vectorizer = CountVectorizer(analyzer=pieces_of, binary=True, min_df=min(least, len(texts)), dtype=np.float32)
        try:
            present = vectorizer.fit_transform(texts)
        except ValueError:  # no piece is frequent enough
            continue
        names = vectorizer.get_feature_names_out()
        by_column = present.tocsc()
        leaking = _distinct(_conspicuous(present, by_column, split, names), by_column)
        if leaking:
            findings.append(_of_pieces(split, column, leaking, names, present, of))
    return findings


def _conspicuous(
    present: Any, by_column: Any, split: ExploredSplit, names: np.ndarray
) -> list[tuple[Association, int]]:
    """Pieces that give a class away, with their columns, the clearest first."""
    num_classes = len(split.label_names)
    found = []
    for shares in class_shares(present, split.labels, num_classes):
        # Of two classes, what is frequent in one is rare in the other.
        clear = shares.gaps >= GAP if num_classes == 2 else np.abs(shares.gaps) >= GAP
        best = int(shares.gaps.argmax())
        is_pure = shares.gaps[best] >= SINGULAR_GAP and shares.pure[best] >= PURE
        if is_pure and _stands_out(shares.gaps, best, by_column):
            clear[best] = True
        found += [(shares.of(feature), feature) for feature in np.flatnonzero(clear).tolist()]
    marks = list(PIECES)
    return sorted(found, key=lambda one: (-round(abs(one[0].gap), 2), marks.index(names[one[1]][0])))


def _stands_out(gaps: np.ndarray, feature: int, present: Any) -> bool:
    """Whether a piece separates a class far better than every other one that is not in the same rows."""
    rivals = np.argsort(-gaps, kind="stable")[:200]
    together = _overlap(present, feature, rivals)
    separate = [gaps[rival] for rival, overlap in zip(rivals, together, strict=True) if overlap < TOGETHER]
    # Of a phrase, each word and each pair of words is a piece of its own.
    next_best = max(separate, default=0.0)
    return bool(gaps[feature] >= STANDS_OUT * next_best)


def _overlap(present: Any, feature: int, others: np.ndarray) -> np.ndarray:
    """Jaccard similarity of the rows of a piece and of each of several others."""
    column = present[:, [feature]]
    both = np.asarray((present[:, others].T @ column).todense()).ravel()
    either = np.asarray(present[:, others].sum(axis=0)).ravel() + column.sum() - both
    similarity: np.ndarray = both / np.maximum(either, 1)
    return similarity


def _distinct(found: list[tuple[Association, int]], present: Any) -> list[tuple[Association, int]]:
    """Leaves out pieces that are in the same rows as an earlier one for the same class."""
    kept: list[tuple[Association, int]] = []
    for association, feature in found:
        earlier = np.array([other for known, other in kept if known.label == association.label], dtype=np.int64)
        if len(earlier) and _overlap(present, feature, earlier).max() >= TOGETHER:
            continue
        kept.append((association, feature))
        if len(kept) == 2 * SHOWN:
            break
    return kept


def _of_pieces(
    split: ExploredSplit,
    column: str,
    leaking: list[tuple[Association, int]],
    names: np.ndarray,
    present: Any,
    of: str,
) -> Finding:
    notes: dict[int, str] = {}
    named = []
    for association, feature in leaking:
        name = PIECES[names[feature][0]].format(quoted(names[feature][1:]))
        named.append(f"{name}: {association.in_words(split.label_names)}")
        has = np.asarray(present[:, [feature]].todense()).ravel() > 0
        for row in np.flatnonzero((split.labels == association.label) & (has == (association.gap > 0))).tolist():
            notes.setdefault(row, name if association.gap > 0 else f"without {name}")
    where = " of the second text" if column == "text_pair" else ""
    detail = (
        f"Words or characters{where} can give the label away: {first_few(named, SHOWN, '; ')} "
        f"({of}). Words of the topic do so rightly; others show how the rows were collected."
    )
    rows = list(notes)
    examples = tuple((split.shown(row, notes[row]),) for row in rows[:SHOWN])
    return Finding("leak", split.split, len(rows), split.ids(rows), detail, examples=examples)
