"""Answers of chat servers, kept on disk: no question is paid for twice."""

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
    """The file of answers, for all runs."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches, "textclf", "chat.sqlite")


class AnswerStore:
    """Answers by everything that was sent for them: the address and the whole request, but not the API key.

    Failures that the next run asks again are stored too, with the field `again`: a replay takes them as they were. It
    is an SQLite file: several runs may use it at the same time, and nothing in it can run code.
    """

    def __init__(self, path: Path) -> None:
        """Takes the path of the file, which is created when it is first used."""
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
        """The answer to a request; None if there is none.

        Args:
            url: Address of the server.
            request: The request.
            replay: Whether an answer with the field `again` counts.

        Raises:
            UserError: The file cannot be used.
        """
        with self._open() as connection:
            row = connection.execute("SELECT answer FROM answers WHERE key = ?", [_key(url, request)]).fetchone()
        if row is None:
            return None
        answer: dict[str, Any] = json.loads(row[0])
        if "again" in answer and not replay:
            return None
        return answer

    def put(self, url: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Stores an answer; one with the field `again` never replaces another one.

        Raises:
            UserError: The file cannot be used.
        """
        if_stored = "IGNORE" if "again" in answer else "REPLACE"
        values = [_key(url, request), _as_text(request), _as_text(answer)]
        with self._open() as connection:
            connection.execute(f"INSERT OR {if_stored} INTO answers VALUES (?, ?, ?)", values)


def _as_text(value: Mapping[str, Any]) -> str:
    """JSON in UTF-8; half of a surrogate pair, from a character that a token limit has cut, becomes `?`."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()


def _key(url: str, request: Mapping[str, Any]) -> str:
    return value_hash([url, request])
