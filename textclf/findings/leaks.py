"""What gives the label away: white space and other traces of how rows were collected, and lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from textclf.data.splitting import draw_sample
from textclf.findings.associations import GAP, Association, ClassShares, class_shares
from textclf.findings.characters import ODDITIES, Oddity, find_outer_space
from textclf.findings.finding import Finding
from textclf.findings.leaking_words import find_leaking_words
from textclf.findings.lengths import measure
from textclf.findings.rows import ExploredSplit
from textclf.findings.shares import FEW, class_counts
from textclf.findings.words import rows_in_words

ROWS = 30_000
"""Maximum number of rows that are looked at; of more a sample, stratified by class."""
TRACE_GAP = 0.1
"""A trace, which says nothing of the content, leaks where its shares inside and outside of a class differ by so much;
for lengths it is `GAP`."""
SHOWN = 10


@dataclass(frozen=True)
class Trace:
    """A property of a text that says nothing of its content.

    Attributes:
        name: What rows with it have.
        holds: Whether a text has it.
        remedy: The cleaning step that takes it out.
    """

    name: str
    holds: Callable[[str], bool]
    remedy: str | None


def _traces() -> list[Trace]:
    traces = [
        Trace("white space at the end", lambda text: text.rstrip() != text, "StripWhitespace"),
        Trace("white space at the beginning", lambda text: text.lstrip() != text, "StripWhitespace"),
        Trace("line breaks", lambda text: "\n" in text.strip(), "JoinLines"),
    ]
    for oddity in ODDITIES:
        if oddity.found is not find_outer_space:
            traces.append(Trace(oddity.name, partial(_is_in, oddity), oddity.remedy))
    return traces


def _is_in(oddity: Oddity, text: str) -> bool:
    return oddity.found(text) is not None


def find_leaks(split: ExploredSplit) -> list[Finding]:
    """Findings of the kind `leak`: traces, lengths, and words and characters that give the label away.

    A feature leaks if it is far more frequent inside of a class than outside; chance is ruled out (Bonferroni).

    Args:
        split: Its rows with a valid label are looked at, or a sample of them.
    """
    valid = np.flatnonzero(split.labels >= 0)
    if len(valid) > ROWS:
        valid = valid[draw_sample(split.labels[valid], ROWS, seed=0)]
    sample = split.select(valid)
    frequent = class_counts(sample) >= FEW
    if frequent.sum() < 1 or len(np.unique(sample.labels)) < 2:
        return []
    of = rows_in_words(len(sample))
    if len(sample) < len(split):
        of = f"a sample of {of}"
    return [*_leaking_traces(sample, of), *_leaking_lengths(sample, of), *find_leaking_words(sample, of)]


# Traces


def _leaking_traces(split: ExploredSplit, of: str) -> list[Finding]:
    from scipy.sparse import csr_array

    findings = []
    traces = _traces()
    for column in split.text_columns:
        texts = [text for window in split.windows(column) for text in window]
        holds = np.array([[trace.holds(text) for trace in traces] for text in texts], dtype=np.float64)
        classes = list(class_shares(csr_array(holds), split.labels, len(split.label_names)))
        for feature, trace in enumerate(traces):
            found = _clearest(classes, feature)
            if found is None or abs(found.gap) < TRACE_GAP:
                continue
            has = holds[:, feature] > 0
            rows = np.flatnonzero((split.labels == found.label) & (has == (found.gap > 0)))
            where = " of the second text" if column == "text_pair" else ""
            name = trace.name[0].upper() + trace.name[1:]
            detail = f"{name}{where} can give the label away: {found.in_words(split.label_names)} have it ({of})."
            note = trace.name if found.gap > 0 else f"no {trace.name}"
            examples = tuple((split.shown(row, note),) for row in rows[:SHOWN])
            findings.append(
                Finding("leak", split.split, len(rows), split.ids(rows), detail, trace.remedy, examples=examples)
            )
    return findings


def _clearest(classes: Sequence[ClassShares], feature: int) -> Association | None:
    """The class that a feature is most characteristic of; None where all differences may be chance.

    Where two classes are equally far apart, as they are if there are only two, it is the one that has the feature.
    """
    certain = [shares.of(feature) for shares in classes if shares.gaps[feature]]
    return max(certain, key=lambda found: (round(abs(found.gap), 9), found.gap), default=None)


# Lengths


def _leaking_lengths(split: ExploredSplit, of: str) -> list[Finding]:
    """Classes whose texts lie in a range of lengths that the texts of the others avoid, or the other way round."""
    leaking = []
    for unit, lengths in measure(split).lengths.items():
        for label, number in enumerate(class_counts(split)):
            others = len(split) - int(number)
            if min(number, others) < FEW:
                continue
            found, low, high = length_gap(lengths[split.labels == label], lengths[split.labels != label], label)
            # Kuiper's statistic of equal distributions exceeds 3 with a probability below 1e-5.
            if abs(found.gap) >= GAP and abs(found.gap) * np.sqrt(number * others / len(split)) > 3:
                leaking.append((abs(found.gap), found, unit, lengths, low, high))
    if not leaking:
        return []
    # Of two classes, the lengths of one say the same as those of the other.
    leaking.sort(key=lambda one: (-round(one[0], 9), -one[1].gap))
    if len(split.label_names) == 2:
        leaking = [one for one in leaking if one[1].label == leaking[0][1].label]
    named = [
        f"{low:,} to {high:,} {unit}: {found.in_words(split.label_names)}"
        for _, found, unit, _, low, high in leaking[:3]
    ]
    _, found, unit, lengths, low, high = leaking[0]
    inside = (lengths >= low) & (lengths <= high)
    rows = np.flatnonzero((split.labels == found.label) & (inside == (found.gap > 0)))
    detail = f"The length alone can give the label away. {'; '.join(named)} ({of})."
    examples = tuple((split.shown(row, f"{lengths[row]:,} {unit}"),) for row in rows[:SHOWN])
    return [Finding("leak", split.split, len(rows), split.ids(rows), detail, examples=examples)]


def length_gap(inside: np.ndarray, outside: np.ndarray, label: int) -> tuple[Association, int, int]:
    """The range of lengths in which the shares of the rows inside and outside of a class differ most (Kuiper).

    Args:
        inside: Lengths of the rows of a class.
        outside: Lengths of the others.
        label: The class.

    Returns:
        The shares of the rows in that range, its least and its greatest length.
    """
    longest = int(max(inside.max(), outside.max()))
    # Position i is the share of rows that are shorter than i.
    shorter = [
        np.concatenate([[0], np.cumsum(np.bincount(lengths, minlength=longest + 1))]) / len(lengths)
        for lengths in (inside, outside)
    ]
    difference = shorter[0] - shorter[1]
    low, high = sorted((int(difference.argmin()), int(difference.argmax())))
    found = Association(label, *(float(share[high] - share[low]) for share in shorter))
    return found, low, max(low, high - 1)
