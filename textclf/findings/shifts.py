"""How well a classifier tells the splits apart: it cannot where rows of all splits are of one kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textclf.data.splitting import draw_sample
from textclf.findings.finding import Finding
from textclf.findings.guessing import guess
from textclf.findings.rows import ExploredSplit

ROWS = 4_000
"""Maximum number of rows of each split that the classifier of splits is given."""
SHIFT = 0.55
"""An area under the ROC curve whose interval lies above this is reported; 0.5 is chance."""
SHOWN = 10


class Area(NamedTuple):
    """An area under the ROC curve with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def area_interval(scores: np.ndarray, positive: np.ndarray) -> Area:
    """The area under the ROC curve.

    Source of the interval: Hanley and McNeil, 1982, https://doi.org/10.1148/radiology.143.1.7063747.

    Args:
        scores: Higher for rows that are more likely positive, shape `(rows,)`.
        positive: Whether each is, bool, shape `(rows,)`; there are rows of both kinds.
    """
    from scipy.stats import rankdata

    ones = int(positive.sum())
    zeros = len(positive) - ones
    area = (float(rankdata(scores)[positive].sum()) - ones * (ones + 1) / 2) / (ones * zeros)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (ones - 1) * (q1 - area**2) + (zeros - 1) * (q2 - area**2)) / (ones * zeros)
    width = 1.96 * math.sqrt(max(variance, 0))
    return Area(area, max(area - width, 0), min(area + width, 1))


def find_split_shifts(splits: Sequence[ExploredSplit]) -> tuple[list[Finding], list[str]]:
    """Findings of the kind `split_shift`, and a sentence about each pair of splits that cannot be told apart.

    Args:
        splits: The later ones are compared with the first.

    Returns:
        Both; rows of a finding are those of the later split that look least like rows of the first.
    """
    findings = []
    sentences = []
    for other in splits[1:]:
        finding, sentence = _told_apart(splits[0], other)
        if finding is None:
            sentences.append(sentence)
        else:
            findings.append(finding)
    return findings, sentences


def _told_apart(first: ExploredSplit, other: ExploredSplit) -> tuple[Finding | None, str]:
    samples = []
    for split in (first, other):
        samples.append(split.select(draw_sample(split.labels, min(ROWS, len(split)), seed=0)))
    texts = [text for sample in samples for text in sample.joined_texts()]
    of_other = np.repeat([0, 1], [len(sample) for sample in samples])
    guessed = guess(texts, of_other) if min(map(len, samples)) else None
    if guessed is None:
        return None, f"{first.split} and {other.split} have too few rows for a classifier that tells them apart."
    scores = guessed[:, 1]
    area = area_interval(scores, of_other == 1)
    sentence = (
        f"A classifier tells {other.split} from {first.split} with an area under the ROC curve of {area.value:.3f} "
        f"({area.low:.3f} to {area.high:.3f}, 0.5 is chance; {len(samples[0]):,} and {len(samples[1]):,} rows)."
    )
    if area.low <= SHIFT:
        return None, sentence
    of_second = scores[len(samples[0]) :]
    order = np.argsort(-of_second, kind="stable")
    examples = tuple(
        (samples[1].shown(row, f"looks like {other.split} ({of_second[row]:.2f})"),) for row in order[:SHOWN]
    )
    conspicuous = order[of_second[order] > 0.5]
    return (
        Finding(
            "split_shift",
            f"{first.split}, {other.split}",
            0,
            samples[1].ids(conspicuous),
            sentence,
            examples=examples,
        ),
        sentence,
    )
