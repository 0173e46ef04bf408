"""N-grams of any number of rows, counted in several processes and kept in a temporary file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from textclf.console import say
from textclf.errors import UserError
from textclf.models.array_file import ArrayFile, Place
from textclf.ngrams import (
    Analyzer,
    Matrix,
    NgramCounts,
    StoredCounts,
    count_in_worker,
    count_stored,
    names_of,
    restored,
)
from textclf.types import Dataset

READ_ROWS = 1000
"""Rows that are read from disk at once."""
CHUNK_CHARACTERS = 1_000_000
"""Characters of the rows whose n-grams are counted at once, or more where one row has more."""
FEW_CHUNKS = 8
"""With fewer chunks than this, starting processes takes longer than counting."""
MAX_PROCESSES = 8
"""More than this count faster than one process merges their vocabularies."""
IDLE_SECONDS = 30
"""After this time without work, processes end."""
MAX_NGRAMS = 4_000_000
"""Distinct n-grams of each kind, and of each column of texts, that are held in memory while counting."""


@dataclass
class Vocabulary:
    """The n-grams of one analyzer in one column, in the order in which they were first seen.

    Attributes:
        column: The column of the texts.
        analyzer: Whether the n-grams are of words or of characters.
        frequencies: Number of rows with each n-gram.
        totals: How often each n-gram is in all rows.
        dropped: The largest frequency of an n-gram that was dropped because there were too many; it may have been met
            in further rows afterwards.
    """

    column: str
    analyzer: Analyzer
    frequencies: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    dropped: int = 0

    def add(self, counts: StoredCounts, with_totals: bool) -> None:
        """Adds the counts of some rows; of too many n-grams, the less frequent half is dropped."""
        names = names_of(counts)
        _add(self.frequencies, names, counts.frequencies)
        if with_totals:
            _add(self.totals, names, counts.totals)
        if len(self.frequencies) > MAX_NGRAMS:
            self._drop_rare()

    def say_dropped(self) -> None:
        """Reports that there were too many n-grams, if there were."""
        if self.dropped:
            argument = f"{self.analyzer}_ngrams"
            say(
                f"{self.column} has more than {MAX_NGRAMS:,} distinct n-grams for {argument}, which is too many to "
                f"count: rare ones, in up to {self.dropped:,} of the rows that were read, are left out; a smaller "
                f"maximum in {argument} gives fewer"
            )

    def _drop_rare(self) -> None:
        """Drops n-grams as in lossy counting, so that at most half of `MAX_NGRAMS` are left.

        Manku and Motwani, 2002, https://www.vldb.org/conf/2002/S10P03.pdf.
        """
        frequencies = np.fromiter(self.frequencies.values(), np.int64, len(self.frequencies))
        self.dropped = int(np.partition(frequencies, -MAX_NGRAMS // 2)[-MAX_NGRAMS // 2])
        kept = {name: number for name, number in self.frequencies.items() if number > self.dropped}
        self.frequencies = kept
        self.totals = {name: number for name, number in self.totals.items() if name in kept}


class CountedRows:
    """The n-grams of rows.

    Attributes:
        rows: Number of rows.
        vocabularies: One for each analyzer of each column.
    """

    def __init__(
        self,
        rows: Dataset,
        ngrams: Mapping[Analyzer, tuple[int, int]],
        with_totals: bool,
        processes: int,
        file: ArrayFile,
    ) -> None:
        """Counts the n-grams of all rows.

        Args:
            rows: With the column `text`, and `text_pair` where there is one.
            ngrams: Minimum and maximum length of the n-grams by analyzer.
            with_totals: Whether to fill `Vocabulary.totals`.
            processes: How many to use; the result does not depend on it.
            file: For the counts.

        Raises:
            UserError: No space is left for the file.
        """
        columns = [column for column in ("text", "text_pair") if column in rows.column_names]
        self.rows = len(rows)
        self.vocabularies = [Vocabulary(column, analyzer) for column in columns for analyzer in ngrams]
        self._chunks: list[list[_Places]] = []
        self._file = file
        for counted in _count(_chunks_of(rows, columns), ngrams, processes):
            for vocabulary, counts in zip(self.vocabularies, counted, strict=True):
                vocabulary.add(counts, with_totals)
            self._chunks.append([_Places(*map(file.append, counts)) for counts in counted])

    def matrices(self, columns: Mapping[str, int], number: int) -> Iterator[Matrix]:
        """The counts of the rows, one chunk of rows after the other.

        Args:
            columns: The column of each n-gram that is kept; the others are left out.
            number: Which of `vocabularies` the n-grams belong to.

        Yields:
            CSR matrices of whole numbers, shape `(rows of the chunk, columns)`. In each row, n-grams are in the order
            in which the chunk first meets them.
        """
        for chunk in self._chunks:
            yield selected(restored(StoredCounts(*map(self._file.read, chunk[number]))), columns)


def selected(ngrams: NgramCounts, columns: Mapping[str, int]) -> Matrix:
    """The counts of the n-grams that are in `columns`, a CSR matrix of whole numbers, shape `(rows, columns)`."""
    from scipy.sparse import csr_matrix

    counts = ngrams.counts
    column_of = np.fromiter((columns.get(name, -1) for name in ngrams.names), np.int32)
    indices = column_of[counts.indices]
    kept = indices >= 0
    kept_before = np.concatenate([[0], np.cumsum(kept)])
    shape = (counts.shape[0], len(columns))
    return csr_matrix((counts.data[kept], indices[kept], kept_before[counts.indptr]), shape=shape)


class _Places(NamedTuple):
    """Where the arrays of `StoredCounts` are in the file."""

    names: Place
    frequencies: Place
    totals: Place
    indptr: Place
    indices: Place
    values: Place


def _add(known: dict[str, int], names: list[str], numbers: np.ndarray) -> None:
    for name, number in zip(names, numbers.tolist(), strict=True):
        known[name] = known.get(name, 0) + number


def _chunks_of(rows: Dataset, columns: list[str]) -> Iterator[dict[str, list[str]]]:
    """The texts of consecutive rows by column."""
    chunk: dict[str, list[str]] = {column: [] for column in columns}
    size = 0
    for window in rows.select_columns(columns).iter(batch_size=READ_ROWS):
        for texts in zip(*window.values(), strict=True):
            for column, text in zip(window, texts, strict=True):
                chunk[column].append(text)
                size += len(text)
            if size >= CHUNK_CHARACTERS:
                yield chunk
                chunk = {column: [] for column in columns}
                size = 0
    if chunk[columns[0]]:
        yield chunk


def _count(
    chunks: Iterator[dict[str, list[str]]], ngrams: Mapping[Analyzer, tuple[int, int]], processes: int
) -> Iterator[list[StoredCounts]]:
    """Counts the n-grams of each chunk, in its turn."""
    import joblib

    first = list(islice(chunks, FEW_CHUNKS))
    jobs = 1 if len(first) < FEW_CHUNKS else min(processes, MAX_PROCESSES)
    chunks = chain(first, chunks)
    if jobs == 1:
        yield from (count_stored(chunk, ngrams) for chunk in chunks)
        return
    # `max_nbytes`: joblib would copy large arguments to files. Groups: it would begin with all chunks, however many
    # results are waiting. `idle_worker_timeout`: its processes stay for the next call.
    count = partial(joblib.delayed(count_in_worker), os.getpid())
    with (
        joblib.parallel_config("loky", idle_worker_timeout=IDLE_SECONDS),
        joblib.Parallel(n_jobs=jobs, return_as="generator", max_nbytes=None) as parallel,
    ):
        while group := list(islice(chunks, 4 * jobs)):
            try:
                yield from parallel(count(chunk, ngrams) for chunk in group)
            except BrokenProcessPool as error:
                raise UserError(
                    "a process that counted n-grams was killed, probably because there is too little memory: "
                    "use fewer cores (`taskset -c 0 python -m textclf ...` uses one)"
                ) from error
