"""How well one text of a pair alone predicts the label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textclf.data.splitting import draw_sample
from textclf.findings.finding import MAX_ROWS, Finding
from textclf.findings.guessing import guess
from textclf.findings.label_errors import FOLDS
from textclf.findings.rows import ExploredSplit
from textclf.findings.shares import SURE

ROWS = 10_000
"""Maximum number of pairs that are looked at; of more a sample, stratified by class."""
SHOWN = 10


def find_pair_leak(splits: Sequence[ExploredSplit]) -> tuple[list[Finding], list[str]]:
    """Finding of the kind `pair_leak`: how well the second text of a pair alone predicts the label.

    Args:
        splits: All splits; their rows with a valid label are looked at together, or a sample of them.

    Returns:
        The finding where the second text alone predicts better than the majority; otherwise a sentence about it.
    """
    from scipy.stats import binomtest

    if not splits[0].has_pairs:
        return [], []
    samples = _samples(splits)
    labels = np.concatenate([sample.labels for sample in samples])
    present, classes = np.unique(labels, return_inverse=True)
    firsts, seconds = (
        [text for sample in samples for window in sample.windows(column) for text in window]
        for column in ("text", "text_pair")
    )
    # Pairs of one first text are in one fold: where it is paired with each label once, the words of its second texts
    # would tell which labels are left.
    scores = guess(seconds, classes, groups=firsts) if len(present) > 1 else None
    names = ", ".join(split.split for split in splits)
    if scores is None:
        return [], [f"{names}: there are too few different second texts to predict labels from them."]
    right = scores.argmax(axis=1) == classes
    majority = float(np.bincount(classes).max() / len(classes))
    test = binomtest(int(right.sum()), len(right), majority, alternative="greater")
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    sentence = (
        f"The second text alone predicts {right.mean():.1%} of the labels ({interval.low:.1%} to {interval.high:.1%}; "
        f"out of fold, {len(right):,} pairs), the most frequent label {majority:.1%}."
    )
    if test.pvalue >= SURE:
        return [], [f"{names}: {sentence}"]
    certainty = np.where(right, scores[np.arange(len(right)), classes], 0)
    order = np.argsort(-certainty, kind="stable")[: int(right.sum())]
    owner = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    place = np.concatenate([np.arange(len(sample)) for sample in samples])
    shown = [samples[owner[row]].shown(place[row], f"predicted ({certainty[row]:.2f})") for row in order[:MAX_ROWS]]
    ids = tuple(row.id for row in shown)
    examples = tuple((row,) for row in shown[:SHOWN])
    return [Finding("pair_leak", names, len(order), ids, sentence, examples=examples)], []


def _samples(splits: Sequence[ExploredSplit]) -> list[ExploredSplit]:
    """The rows of each split that are looked at: of classes with a row for each fold."""
    labels = np.concatenate([split.labels for split in splits])
    owner = np.repeat(np.arange(len(splits)), [len(split) for split in splits])
    place = np.concatenate([np.arange(len(split)) for split in splits])
    counts = np.bincount(labels[labels >= 0], minlength=len(splits[0].label_names))
    usable = np.flatnonzero((labels >= 0) & (counts[labels] >= FOLDS))
    if len(usable) > ROWS:
        usable = usable[draw_sample(labels[usable], ROWS, seed=0)]
    return [split.select(place[usable][owner[usable] == number]) for number, split in enumerate(splits)]
