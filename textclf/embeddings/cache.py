"""Cache of vectors on disk, by text: one SQLite file for each encoder and its settings.

SQLite locks the file among processes, and rolls back what a killed process has left half-written. It does not detect a
changed byte inside a value: therefore each row has a checksum.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from filelock import FileLock

from textclf.console import say
from textclf.errors import UserError
from textclf.hashing import CHECKSUM_BYTES, checksum

T = TypeVar("T")
DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ}
LOCK_TIMEOUT = 120.0
"""Seconds that a process waits while another one writes."""
KEYS_PER_QUERY = 500
"""SQLite limits the number of parameters of a query."""
SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, value BLOB NOT NULL)"


class Embedded(NamedTuple):
    """The vector of one text, and how much of the text was read.

    Attributes:
        vector: float32, shape `(dimension,)`.
        length: Tokens that were read.
        cut: Tokens that were cut off.
    """

    vector: np.ndarray
    length: int
    cut: int


class VectorCache:
    """Cached vectors of one encoder with its settings.

    Args:
        path: The SQLite file; it and its folder are created on first use.
        dimension: Dimension of a vector.
    """

    def __init__(self, path: Path, dimension: int) -> None:  # noqa: D107  # in the docstring of the class
        self.path = path
        self.dimension = dimension

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Embedded]:
        """Returns the cached vectors by key, without missing and damaged ones.

        Args:
            keys: Keys of texts, from `textclf.hashing.text_key`.

        Raises:
            UserError: The file cannot be read.
        """
        return self._work(lambda connection: self._read(connection, keys))

    def add(self, found: Mapping[bytes, Embedded]) -> dict[bytes, Embedded]:
        """Writes vectors, all or none of them.

        Args:
            found: Vectors by key.

        Returns:
            The vectors as they are in the cache: where two processes add the same text, those of the first.

        Raises:
            UserError: The file cannot be written.
        """

        def write(connection: sqlite3.Connection) -> dict[bytes, Embedded]:
            connection.execute("BEGIN IMMEDIATE")
            known = self._read(connection, list(found))
            rows = [(key, self._pack(key, value)) for key, value in found.items() if key not in known]
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
            connection.execute("COMMIT")
            return {**found, **known}

        return self._work(write)

    def _read(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Embedded]:
        found: dict[bytes, Embedded] = {}
        damaged = 0
        for start in range(0, len(keys), KEYS_PER_QUERY):
            part = keys[start : start + KEYS_PER_QUERY]
            placeholders = ",".join("?" * len(part))
            query = f"SELECT text, value FROM vectors WHERE text IN ({placeholders})"
            for key, value in connection.execute(query, part):
                unpacked = self._unpack(key, value)
                if unpacked is None:
                    damaged += 1
                else:
                    found[key] = unpacked
        if damaged:
            say(f"{damaged} vectors in {str(self.path)!r} are damaged: they are computed again")
        return found

    def _pack(self, key: bytes, value: Embedded) -> bytes:
        numbers = np.array([value.length, value.cut], dtype="<i8").tobytes()
        return seal(value.vector.astype("<f4").tobytes() + numbers, key)

    def _unpack(self, key: bytes, value: bytes) -> Embedded | None:
        """The vector of a row; None if the row is damaged."""
        size = 4 * self.dimension
        packed = unseal(value, key)
        if packed is None or len(packed) != size + 16:
            return None
        length, cut = np.frombuffer(packed, dtype="<i8", offset=size).tolist()
        return Embedded(np.frombuffer(packed, dtype="<f4", count=self.dimension), length, cut)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Opens the file for one operation: a connection must not be inherited by a forked process."""
        try:
            try:
                return self._try(work)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
            return self._repair(work)
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"the embeddings in {str(self.path)!r} cannot be read or written ({error}): make room, wait for "
                "the process that has locked them, or set HF_DATASETS_CACHE to another folder"
            ) from error

    def _repair(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Replaces a damaged file, unless another process that found the damage has done so already."""
        with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_TIMEOUT):
            try:
                return self._try(work)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
            say(f"{str(self.path)!r} is damaged: its embeddings are computed again")
            for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                path.unlink(missing_ok=True)
            return self._try(work)

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=LOCK_TIMEOUT, isolation_level=None)) as connection:
            connection.execute(SCHEMA)
            return work(connection)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether an error means a damaged file: by its extended code, or by the primary code in its lowest byte."""
    return not {error.sqlite_errorcode, error.sqlite_errorcode & 0xFF}.isdisjoint(DAMAGE_CODES)


def seal(content: bytes, key: bytes = b"") -> bytes:
    """Appends a checksum of the key and the content."""
    return content + checksum(key + content)


def unseal(sealed: bytes, key: bytes = b"") -> bytes | None:
    """The content; None if it does not match its checksum."""
    content = sealed[:-CHECKSUM_BYTES]
    return content if checksum(key + content) == sealed[-CHECKSUM_BYTES:] else None
