"""Answers that were paid for, kept on disk."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from textclf.errors import UserError
from textclf.hashing import value_hash


def default_store() -> Path:
    """Where answers are kept, for all runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "textclf", "chat.sqlite")


class AnswerStore:
    """Answers by all that was sent for them: the address, and the whole request (the key is no part of it).

    What is to be asked again another time stands there, too, marked so (`again`): a replay takes it as it was. SQLite,
    from Python's own library: several runs may use one file at once, and nothing in it can run code.
    """

    def __init__(self, path: Path) -> None:
        """Takes the file; it is made when it is first used."""
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request TEXT, answer TEXT)"
                )
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"cache {str(self.path)!r} cannot be used ({error}): name another file") from error

    def get(self, url: str, request: Mapping[str, Any], replay: bool = False) -> dict[str, Any] | None:
        """The answer to a request, if there is one; one that is marked `again` counts in a `replay` alone."""
        with self._open() as connection:
            row = connection.execute("SELECT answer FROM answers WHERE key = ?", [_key(url, request)]).fetchone()
        answer: dict[str, Any] | None = None if row is None else json.loads(row[0])
        return None if answer is not None and "again" in answer and not replay else answer

    def put(self, url: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Keeps an answer; one that is marked `again` never takes another's place."""
        done = "IGNORE" if "again" in answer else "REPLACE"
        values = [_key(url, request), _as_text(request), _as_text(answer)]
        with self._open() as connection:
            connection.execute(f"INSERT OR {done} INTO answers VALUES (?, ?, ?)", values)


def _as_text(value: Mapping[str, Any]) -> str:
    """JSON that SQLite takes: half of a surrogate pair, where a token limit has cut a character, becomes `?`."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()


def _key(url: str, request: Mapping[str, Any]) -> str:
    return value_hash([url, request])
