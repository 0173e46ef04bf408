"""Vectors on disk, by the text that they are of: one SQLite file for each way of embedding.

SQLite locks the file among processes, and rolls back what a killed one has left half-written. What it does not notice
is a changed byte inside a value: each row carries a checksum.
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
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ}
WAIT = 120.0
"""Seconds that a process waits for another one's writing."""
AT_ONCE = 500
"""Keys in one question; SQLite has a limit."""
SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, value BLOB NOT NULL)"


class Embedded(NamedTuple):
    """The vector of one text, and how much of the text it is of.

    Attributes:
        vector: float32, shape `(dimension,)`.
        length: Tokens that were read.
        cut: Tokens that were cut off.
    """

    vector: np.ndarray
    length: int
    cut: int


class VectorCache:
    """What is known of the texts that were embedded in one way.

    Args:
        path: The SQLite file; it and its folder are made on first use.
        dimension: Entries of a vector.
    """

    def __init__(self, path: Path, dimension: int) -> None:  # noqa: D107  # the class says it
        self.path, self.dimension = path, dimension

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Embedded]:
        """Finds what is known of the texts; a row that is damaged is not.

        Args:
            keys: As `text_key` gives them.

        Raises:
            UserError: The file cannot be read.
        """
        return self._work(lambda connection: self._read(connection, keys))

    def add(self, found: Mapping[bytes, Embedded]) -> dict[bytes, Embedded]:
        """Keeps vectors, all or none of them; gives them as they are kept: where two processes meet, the first's.

        Args:
            found: By key.

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
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            for key, value in connection.execute(f"SELECT text, value FROM vectors WHERE text IN ({marks})", some):
                unpacked = self._unpack(key, value)
                if unpacked is None:
                    damaged += 1
                else:
                    found[key] = unpacked
        if damaged:
            say(f"{damaged} vectors in {str(self.path)!r} are damaged: they are made again")
        return found

    def _pack(self, key: bytes, value: Embedded) -> bytes:
        numbers = np.array([value.length, value.cut], dtype="<i8").tobytes()
        return seal(value.vector.astype("<f4").tobytes() + numbers, key)

    def _unpack(self, key: bytes, value: bytes) -> Embedded | None:
        size, packed = 4 * self.dimension, unseal(value, key)
        if packed is None or len(packed) != size + 16:
            return None
        length, cut = np.frombuffer(packed, dtype="<i8", offset=size).tolist()
        return Embedded(np.frombuffer(packed, dtype="<f4", count=self.dimension), length, cut)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Opens the file for one piece of work: a connection must not live on in a forked process."""
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
                "the process that holds them, or set HF_DATASETS_CACHE to another folder"
            ) from error

    def _repair(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Begins a new file; not where another process that saw the damage has done so already."""
        with FileLock(self.path.with_suffix(".lock"), timeout=WAIT):
            try:
                return self._try(work)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
            say(f"{str(self.path)!r} is damaged: its embeddings are made again")
            for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                path.unlink(missing_ok=True)
            return self._try(work)

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)) as connection:
            connection.execute(SCHEMA)
            return work(connection)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether a file's content is wrong: by the extended code, or by the plain one in its lowest byte."""
    return not {error.sqlite_errorcode, error.sqlite_errorcode & 0xFF}.isdisjoint(DAMAGED)


def seal(content: bytes, key: bytes = b"") -> bytes:
    """Adds a checksum of the content, and of what it belongs to."""
    return content + checksum(key + content)


def unseal(sealed: bytes, key: bytes = b"") -> bytes | None:
    """The content; None where it has changed."""
    content = sealed[:-CHECKSUM_BYTES]
    return content if checksum(key + content) == sealed[-CHECKSUM_BYTES:] else None
