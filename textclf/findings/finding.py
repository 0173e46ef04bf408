"""What an exploration of a data set reports: findings with their rows, lengths, and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Kind = Literal[
    "empty", "repeat", "near_repeat", "conflict", "overlap", "near_overlap", "leak", "pair_leak", "label_error",
    "class_overlap", "odd_characters", "markup", "imbalance", "few_rows", "class_shift", "length_shift", "cut",
    "unknown_tokens", "language", "split_shift",
]  # fmt: skip
"""What a finding is about."""

KINDS: tuple[str, ...] = get_args(Kind)
MAX_ROWS = 1000
"""Maximum number of ids in `Finding.rows`."""
MAX_EXAMPLES = 50
"""Maximum number of examples of a finding."""


@dataclass(frozen=True)
class ShownRow:
    """A row as it is shown.

    Attributes:
        id: The source's id.
        split: Its split.
        text: Its text, as in the source.
        label: The name of its label; None if it has no valid one.
        text_pair: The second text, where the task has pairs.
        note: What is noticed in this row, such as `looks like sports (0.93)`.
    """

    id: str
    split: str
    text: str
    label: str | None
    text_pair: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        kind: What it is about.
        split: The split, or two splits joined by `, ` where a finding is about both.
        count: Number of rows that it concerns; 0 where it concerns a split as a whole.
        rows: Their ids, `MAX_ROWS` at most, the most conspicuous first.
        detail: A sentence or two with the figures.
        remedy: The name of the cleaning step that mends it, or None.
        examples: Groups of rows to be shown side by side, `MAX_EXAMPLES` at most: a pair of near repeats is one group
            of two rows, a suspected label error a group of one.
        mended: Whether the data set's own cleaning mends it: it has that step, and applies it to the split.
    """

    kind: Kind
    split: str
    count: int
    rows: tuple[str, ...]
    detail: str
    remedy: str | None = None
    examples: tuple[tuple[ShownRow, ...], ...] = ()
    mended: bool = False

    def as_json(self) -> dict[str, Any]:
        """The finding without its examples."""
        return {
            "finding": self.kind,
            "split": self.split,
            "count": self.count,
            "rows": list(self.rows[:MAX_ROWS]),
            "detail": self.detail,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Lengths:
    """Lengths of the texts of one class of a split.

    Attributes:
        unit: What is counted.
        split: The split.
        label: The name of the class; None for all rows of the split.
        rows: Number of texts.
        mean: Mean length.
        quantiles: Minimum, 5 %, 25 %, 50 %, 75 %, 95 % quantile, and maximum.
        histogram: Number of texts in each bin; bins of all classes of a unit have the same edges.
        edges: Edges of the bins, one more than bins; the last bin has all longer texts.
    """

    unit: Literal["characters", "words", "tokens"]
    split: str
    label: str | None
    rows: int
    mean: float
    quantiles: tuple[float, ...]
    histogram: tuple[int, ...]
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Exploration:
    """All that an exploration of a data set reports.

    Attributes:
        name: The name of the data set.
        label_names: The classes.
        splits: Number of rows of each class of each split, before cleaning; rows without a valid label are not in them.
        rows: Number of rows of each split, before cleaning.
        recipe: Names of the cleaning steps that the data set's configuration has.
        findings: In the order of their importance.
        lengths: Lengths by unit, split, and class.
        notes: What was measured without a finding, and what could not be examined and why, one sentence each.
    """

    name: str
    label_names: tuple[str, ...]
    splits: Mapping[str, Mapping[str, int]]
    rows: Mapping[str, int]
    recipe: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    lengths: Sequence[Lengths] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """Counts, findings, lengths, and notes as plain values."""
        return {
            "data": self.name,
            "splits": {
                split: {"rows": self.rows[split], "classes": dict(counts)} for split, counts in self.splits.items()
            },
            "findings": [finding.as_json() for finding in self.findings],
            "lengths": [asdict(lengths) for lengths in self.lengths],
            "notes": list(self.notes),
        }
