"""When to ask a server again."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from textclf.console import say

BACKOFF, LONGEST = 1.0, 60.0
"""Seconds that a first retry waits at most, and a later one; each draws its own share."""
PATIENCE = 600.0
"""Seconds that a server may ask to wait; where it asks for more, the run stops and can go on then."""


class PassingError(Exception):
    """Something that may be over at the next try.

    Attributes:
        wait: Seconds that the server asks to wait, or None.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        """Takes what happened."""
        super().__init__(message)
        self.wait = wait


def pause(state: Any) -> float:
    """Seconds until the next try: what the server asks for and a little more, else a random share of a growing time."""
    wait: float | None = state.outcome.exception().wait
    if not wait:
        return random.uniform(0, min(LONGEST, BACKOFF * 2 ** (state.attempt_number - 1)))
    if wait > LONGEST:
        say(f"the server asks to wait {wait:.0f} s")
    return wait * random.uniform(1, 1.1)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None where it does not say.

    Args:
        headers: Of its answer, by names in small letters: `retry-after-ms` in milliseconds, or `retry-after` in seconds
            or as a date.
    """
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(headers[name]) / unit)
        except (KeyError, ValueError):
            pass
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError):
        return None
