"""Lengths of the texts in characters, words and tokens, by class; what is cut off, and unknown tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from textclf.data.splitting import draw_sample
from textclf.findings.finding import Finding, Lengths
from textclf.findings.rows import ExploredSplit
from textclf.findings.shares import SURE
from textclf.findings.words import first_few, quoted, rows_in_words

Unit = Literal["characters", "words", "tokens"]
UNITS: tuple[Unit, ...] = get_args(Unit)
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
BINS = 40
SHIFT = 0.1
"""Lengths of two splits that differ by more than this (Kolmogorov-Smirnov statistic) are reported."""
TOKENIZED_ROWS = 50_000
"""Maximum number of rows of a split that are tokenized; of a larger one a sample, stratified by class."""
TOKENIZED_AT_ONCE = 1_000
SHOWN = 10
"""Number of rows that are shown of a finding."""


@dataclass(frozen=True)
class Tokenization:
    """How the configured method turns texts into tokens.

    Attributes:
        name: Of the tokenizer, such as a hub id.
        max_length: Tokens of a text (or pair) that are read; None for no limit.
        around: How many tokens of the method's `max_length` a prompt or a hypothesis takes up, so that the text has
            `max_length` of this object left.
        separately: Whether the two texts of a pair are read one by one, each up to `max_length`.
        token_ids: Gives the ids of texts (and their pairs), special tokens included, nothing cut off.
        unknown_id: The id of the unknown token; None where there is none.
        unknown_words: Gives the words of a text that contain an unknown token; None if they cannot be named.
    """

    name: str
    max_length: int | None
    token_ids: Callable[[list[str], list[str] | None], Sequence[Sequence[int]]]
    unknown_id: int | None = None
    unknown_words: Callable[[str], list[str]] | None = None
    around: int = 0
    separately: bool = False

    def limit_in_words(self) -> str:
        """The maximum length, with what is added to a text."""
        if not self.around:
            return f"max_length {self.max_length}"
        return f"the {self.max_length} tokens that the prompt ({self.around} tokens) leaves"


@dataclass(frozen=True)
class Measured:
    """Lengths of the texts of one split; those of the two texts of a pair are added up.

    Attributes:
        split: The split, or a sample of it.
        lengths: By unit; int64, shape `(rows,)`.
    """

    split: ExploredSplit
    lengths: Mapping[Unit, np.ndarray]


def measure(split: ExploredSplit) -> Measured:
    """Counts the characters, and the words between white space, of each row."""
    characters = np.zeros(len(split), dtype=np.int64)
    words = np.zeros(len(split), dtype=np.int64)
    for column in split.text_columns:
        start = 0
        for texts in split.windows(column):
            stop = start + len(texts)
            characters[start:stop] += np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
            counts = (len(text.split()) for text in texts)
            words[start:stop] += np.fromiter(counts, dtype=np.int64, count=len(texts))
            start = stop
    return Measured(split, {"characters": characters, "words": words})


def summarize(measured: Sequence[Measured]) -> list[Lengths]:
    """Lengths by unit, split and class; all histograms of a unit have the same bins.

    Args:
        measured: Of each split.
    """
    summaries = []
    for unit in UNITS:
        known = [one for one in measured if unit in one.lengths and len(one.split)]
        if not known:
            continue
        edges = _edges(np.concatenate([one.lengths[unit] for one in known]))
        for one in known:
            summaries.append(_summary(unit, one.split.split, None, one.lengths[unit], edges))
            for label, name in enumerate(one.split.label_names):
                of_class = one.lengths[unit][one.split.labels == label]
                if len(of_class):
                    summaries.append(_summary(unit, one.split.split, name, of_class, edges))
    return summaries


def _edges(lengths: np.ndarray) -> np.ndarray:
    """Edges of bins of equal, whole width up to the 99 % quantile; the last bin has all longer texts."""
    width = max(1, int(np.ceil((np.quantile(lengths, 0.99) + 1) / BINS)))
    number = int(min(BINS, lengths.max() // width + 1))
    return np.arange(number + 1) * width


def _summary(unit: Unit, split: str, label: str | None, lengths: np.ndarray, edges: np.ndarray) -> Lengths:
    counts = np.histogram(np.minimum(lengths, edges[-1] - 1), edges)[0]
    return Lengths(
        unit,
        split,
        label,
        len(lengths),
        float(lengths.mean()),
        tuple(np.quantile(lengths, QUANTILES).tolist()),
        tuple(counts.tolist()),
        tuple(edges.astype(float).tolist()),
    )


def find_length_shifts(measured: Sequence[Measured]) -> list[Finding]:
    """Findings of the kind `length_shift`: splits whose texts have other lengths than those of the first split.

    Args:
        measured: Of each split.
    """
    from scipy.stats import ks_2samp

    findings = []
    for other in measured[1:]:
        first = measured[0]
        if not len(first.split) or not len(other.split):
            continue
        before, after = first.lengths["words"], other.lengths["words"]
        test = ks_2samp(before, after, method="asymp")
        if test.statistic <= SHIFT or test.pvalue >= SURE:
            continue
        detail = (
            f"Texts of {other.split.split} have {after.mean():.1f} words on average, those of {first.split.split} "
            f"{before.mean():.1f}; medians {np.median(after):.0f} and {np.median(before):.0f}. The distributions "
            f"differ by {test.statistic:.1%} of the rows (Kolmogorov-Smirnov)."
        )
        findings.append(Finding("length_shift", f"{first.split.split}, {other.split.split}", 0, (), detail))
    return findings


# Tokens


def find_in_tokens(split: ExploredSplit, tokenization: Tokenization) -> tuple[Measured, list[Finding]]:
    """Counts tokens, and gives findings of the kinds `cut` and `unknown_tokens`.

    Args:
        split: Its rows; of more than `TOKENIZED_ROWS` a sample is tokenized.
        tokenization: The configured tokenizer.

    Returns:
        The lengths in tokens of the rows that were tokenized, and the findings.
    """
    sample = split
    if len(split) > TOKENIZED_ROWS:
        sample = split.select(draw_sample(split.labels, TOKENIZED_ROWS, seed=0))
    counts = _count_tokens(sample, tokenization)
    of = rows_in_words(len(sample))
    if len(sample) < len(split):
        of = f"a sample of {of}"
    findings = [*_cut(sample, counts, tokenization, of), *_unknown(sample, counts, tokenization, of)]
    return Measured(sample, {"tokens": counts.lengths}), findings


class _Counts(NamedTuple):
    """Tokens of each row, int64, shape `(rows,)`: all, those that are cut off, and unknown ones."""

    lengths: np.ndarray
    cut: np.ndarray
    unknown: np.ndarray


def _count_tokens(split: ExploredSplit, tokenization: Tokenization) -> _Counts:
    batches = [np.empty((3, 0), dtype=np.int64)]
    columns = list(split.text_columns)
    for batch in split.rows.select_columns(columns).iter(batch_size=TOKENIZED_AT_ONCE):
        if tokenization.separately:
            encoded = [tokenization.token_ids(batch[column], None) for column in columns]
        else:
            encoded = [tokenization.token_ids(batch["text"], batch.get("text_pair"))]
        batches.append(np.sum([_counts_of(ids, tokenization) for ids in encoded], axis=0))
    return _Counts(*np.concatenate(batches, axis=1))


def _counts_of(ids: Sequence[Sequence[int]], tokenization: Tokenization) -> np.ndarray:
    """The three counts of `_Counts` for some texts, shape `(3, texts)`."""
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    cut = np.zeros_like(lengths)
    if tokenization.max_length is not None:
        cut = np.maximum(lengths - tokenization.max_length, 0)
    unknown = np.zeros_like(lengths)
    if tokenization.unknown_id is not None:
        unknown = np.array([list(of_text).count(tokenization.unknown_id) for of_text in ids], dtype=np.int64)
    return np.stack([lengths, cut, unknown])


def _cut(split: ExploredSplit, counts: _Counts, tokenization: Tokenization, of: str) -> list[Finding]:
    if not counts.cut.any():
        return []
    lengths = counts.lengths
    rows = np.flatnonzero(counts.cut)
    rows = rows[np.argsort(-counts.cut[rows], kind="stable")]
    share = counts.cut.sum() / lengths.sum()
    detail = (
        f"{len(rows):,} of {of} ({len(rows) / len(lengths):.1%}) are longer than {tokenization.limit_in_words()} of "
        f"{quoted(tokenization.name)}: {share:.1%} of all tokens are cut off; the longest row has "
        f"{lengths.max():,}. By class: {_by_class(split, rows)}."
    )
    examples = tuple((split.shown(row, f"{lengths[row]:,} tokens"),) for row in rows[:SHOWN])
    return [Finding("cut", split.split, len(rows), split.ids(rows), detail, examples=examples)]


def _by_class(split: ExploredSplit, rows: np.ndarray) -> str:
    """The share of the rows of each class that are among given ones, the largest first."""
    shares = []
    for label, name in enumerate(split.label_names):
        of_class = int((split.labels == label).sum())
        if of_class:
            shares.append((int((split.labels[rows] == label).sum()) / of_class, name))
    shares.sort(key=lambda pair: -pair[0])
    return first_few([f"{quoted(name)} {share:.1%}" for share, name in shares], limit=5)


def _unknown(split: ExploredSplit, counts: _Counts, tokenization: Tokenization, of: str) -> list[Finding]:
    lengths, unknown = counts.lengths, counts.unknown
    rows = np.flatnonzero(unknown)
    if not len(rows):
        return []
    rows = rows[np.argsort(-(unknown[rows] / lengths[rows]), kind="stable")]
    share = unknown.sum() / lengths.sum()
    detail = (
        f"{quoted(tokenization.name)} has no token for {share:.2%} of all pieces, in {len(rows):,} of {of} "
        f"({len(rows) / len(lengths):.1%})"
    )
    if named := _unknown_words(split, rows, tokenization):
        detail += f"; the most frequent: {first_few(named)}"
    examples = tuple((split.shown(row, f"{unknown[row]:,} unknown tokens"),) for row in rows[:SHOWN])
    return [Finding("unknown_tokens", split.split, len(rows), split.ids(rows), f"{detail}.", examples=examples)]


def _unknown_words(split: ExploredSplit, rows: np.ndarray, tokenization: Tokenization) -> list[str]:
    """The most frequent words with an unknown token, in the rows that are kept in the finding."""
    if tokenization.unknown_words is None:
        return []
    counts: Counter[str] = Counter()
    some = split.select(rows[:1000])
    for column in split.text_columns:
        for texts in some.windows(column):
            for text in texts:
                counts.update(tokenization.unknown_words(text))
    return [f"{quoted(word)} ({count:,})" for word, count in counts.most_common(10)]
