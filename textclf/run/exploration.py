"""`explore`: looks at the rows of a data set before any method is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from textclf.data.base import TextDataModule
from textclf.data.cleaning import CleaningStep, RowStep
from textclf.data.rows import TEST_SEED
from textclf.data.splitting import SPLITS, Split, draw_sample
from textclf.errors import UserError
from textclf.evaluation.provenance import described_data
from textclf.findings.characters import find_odd_characters
from textclf.findings.finding import Exploration, Finding
from textclf.findings.label_errors import find_label_errors
from textclf.findings.languages import find_languages
from textclf.findings.leaks import find_leaks
from textclf.findings.lengths import Measured, find_in_tokens, find_length_shifts, measure, summarize
from textclf.findings.near_repeats import find_near_repeats
from textclf.findings.pair_leaks import find_pair_leak
from textclf.findings.repeats import KeyedSplit, find_repeats, key_splits
from textclf.findings.rows import ExploredSplit
from textclf.findings.shares import class_counts, find_in_shares
from textclf.findings.shifts import find_split_shifts
from textclf.findings.words import rows_in_words
from textclf.models.base import TextClassifier
from textclf.models.embedding import EmbeddingClassifier
from textclf.run.similar_texts import check_embeds, find_similar_texts

IMPORTANCE = (
    "leak", "pair_leak", "overlap", "near_overlap", "conflict", "label_error", "repeat", "near_repeat", "empty",
    "few_rows", "imbalance", "class_shift", "split_shift", "length_shift", "cut", "unknown_tokens", "odd_characters",
    "markup", "language", "class_overlap",
)  # fmt: skip
"""Kinds of findings, the most important first: what makes a score worthless, then what lowers it."""


def explore(
    data: TextDataModule, model: TextClassifier | None = None, *, label_errors: bool = True, similar: bool = False
) -> Exploration:
    """Looks at the rows of a data set as they are in the source, before any cleaning.

    Args:
        data: The data set; of its options, `limit` is applied, each split by itself.
        model: The method whose tokenizer counts tokens.
        label_errors: Whether suspected label errors and confused classes are looked for, which takes longest.
        similar: Whether near repeats are looked for by the embeddings of the method, too.

    Raises:
        UserError: The rows cannot be read, or `similar` is set and the method has no embeddings.
    """
    embeds = check_embeds(model) if similar else None
    return _Explorer(data).explore(model, label_errors, embeds)


class _Explorer:
    """Collects what is found.

    Attributes:
        splits: The rows of each split that has any.
        findings: What was found.
        notes: What else is known, and what could not be examined.
        measured: Lengths of the rows of each split.
    """

    def __init__(self, data: TextDataModule) -> None:
        self.data = data
        self.label_names = tuple(data.label_names)
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.measured: list[Measured] = []
        self.splits: list[ExploredSplit] = self._read()

    def _read(self) -> list[ExploredSplit]:
        """Reads all splits of the source."""
        source = self.data.source_splits()
        if not source:
            raise UserError(
                f"{self.data.data_dir or type(self.data).__name__!r} has no rows: add train.csv, or the like"
            )
        self.data.check_relabels(keep_unknown=True)
        read = []
        for split in source:
            explored = self._limited(split, ExploredSplit(split, self.data.source_rows(split), self.label_names))
            if len(explored):
                read.append(explored)
                self._note_unknown_labels(explored)
            else:
                self.notes.append(f"The {split} split is empty.")
        if not read:
            raise UserError(f"{described_data(type(self.data).__name__, self.data.hparams)} has no rows in any split")
        missing = [split for split in SPLITS if split not in source]
        if missing:
            self.notes.append(f"The source has no {' and no '.join(missing)} split.")
        return read

    def _limited(self, split: Split, explored: ExploredSplit) -> ExploredSplit:
        """The rows that `limit` leaves."""
        limit = self.data.limit.get(split)
        if limit is None or limit >= len(explored):
            return explored
        self.notes.append(f"{split}: looked at {rows_in_words(limit)} of {len(explored):,} (limit).")
        if self.data.limit_by == "first":
            return explored.select(np.arange(limit))
        seed = TEST_SEED if split == "test" else self.data.seed
        return explored.select(draw_sample(explored.labels, limit, seed))

    def _note_unknown_labels(self, split: ExploredSplit) -> None:
        unknown = np.flatnonzero(split.labels < 0)
        if len(unknown):
            self.notes.append(
                f"{split.split}: {rows_in_words(len(unknown))} of {len(split):,} have no label, or none of the "
                f"classes, first the one with the id {split.ids(unknown[:1])[0]!r}: correct it, or drop such rows "
                "with the cleaning step DropUnknownLabels. They count in no class."
            )

    def explore(
        self, model: TextClassifier | None, label_errors: bool, embeds: EmbeddingClassifier | None
    ) -> Exploration:
        """Looks for everything; on a terminal, a bar shows how far it is."""
        from tqdm.auto import tqdm

        keyed = key_splits(self.splits)
        parts: dict[str, Callable[[], None]] = {
            "shares of classes": lambda: self._add(find_in_shares(self.splits)),
            "lengths": self._lengths,
            "tokens": lambda: self._tokens(model),
            "repeats": lambda: self._add(find_repeats(keyed)),
            "near repeats": lambda: self._add(find_near_repeats(keyed)),
            "similar texts": lambda: self._similar_texts(embeds, keyed),
            "odd characters": lambda: self._of_each(find_odd_characters),
            "languages": self._languages,
            "leaks": lambda: self._add(find_leaks(self.splits[0])),
            "pairs": lambda: self._add(*find_pair_leak(self.splits)),
            "differences of splits": lambda: self._add(*find_split_shifts(self.splits)),
            "label errors": lambda: self._label_errors(label_errors),
        }
        with tqdm(parts.items(), unit="part", disable=None) as bar:
            for name, look in bar:
                bar.set_description(name)
                look()
        return self._exploration()

    def _add(self, findings: Iterable[Finding], notes: Iterable[str] = ()) -> None:
        self.findings += findings
        self.notes += notes

    def _of_each(self, find: Callable[[ExploredSplit], list[Finding]]) -> None:
        for split in self.splits:
            self._add(find(split))

    def _languages(self) -> None:
        for split in self.splits:
            self._add(*find_languages(split))

    def _lengths(self) -> None:
        self.measured += [measure(split) for split in self.splits]
        self._add(find_length_shifts(self.measured))

    def _tokens(self, model: TextClassifier | None) -> None:
        """Counts tokens, where there is a tokenizer."""
        try:
            tokenization = None if model is None else model.tokenization()
        except UserError as error:
            self.notes.append(f"Tokens were not counted: {error}.")
            return
        if tokenization is None:
            self.notes.append(
                "Tokens were not counted: name a method that has a tokenizer, such as --config "
                "configs/model/fine_tune.yaml."
            )
            return
        for split in self.splits:
            measured, findings = find_in_tokens(split, tokenization)
            self.measured.append(measured)
            self._add(findings)

    def _similar_texts(self, model: EmbeddingClassifier | None, keyed: Sequence[KeyedSplit]) -> None:
        """Compares embeddings, where that is wanted."""
        if model is None:
            return
        try:
            self._add(find_similar_texts(model, keyed))
        except UserError as error:
            self.notes.append(f"Embeddings were not compared: {error}.")

    def _label_errors(self, wanted: bool) -> None:
        if not wanted:
            self.notes.append("Label errors were left out.")
            return
        try:
            self._add(find_label_errors(self.splits))
        except UserError as error:
            self.notes.append(f"Label errors were not looked for: {error}.")

    def _exploration(self) -> Exploration:
        counts = {
            split.split: dict(zip(self.label_names, class_counts(split).tolist(), strict=True)) for split in self.splits
        }
        self.findings.sort(key=lambda finding: (IMPORTANCE.index(finding.kind), -finding.count))
        return Exploration(
            described_data(type(self.data).__name__, self.data.hparams),
            self.label_names,
            counts,
            {split.split: len(split) for split in self.splits},
            tuple(type(step).__name__ for step in self.data.cleaning),
            tuple(replace(finding, mended=_is_mended(finding, self.data.cleaning)) for finding in self.findings),
            tuple(summarize(self.measured)),
            tuple(self.notes),
        )


def _is_mended(finding: Finding, recipe: Sequence[CleaningStep]) -> bool:
    """Whether a recipe has the step that mends a finding, and applies it to the split, or to the first of two."""
    dropped, *compared = finding.split.split(", ")
    for step in recipe:
        if type(step).__name__ != finding.remedy:
            continue
        if not isinstance(step, RowStep):
            return True  # texts are changed in all splits alike
        if dropped in step.splits and set(compared) <= set(getattr(step, "others", compared)):
            return True
    return False
