"""When a request is sent again."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from textclf.console import say

BACKOFF = 1.0
"""Longest pause before the first retry, in seconds; it doubles with each further one."""
MAX_PAUSE = 60.0
"""Longest pause before any retry, in seconds, unless the server asks for more."""
PATIENCE = 600.0
"""Longest pause that a server may ask for, in seconds; if it asks for more, the run stops, and can go on later."""


class PassingError(Exception):
    """A failure that may be over at the next try.

    Attributes:
        wait: Seconds that the server asks to wait, or None.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        """Takes the message, and the pause that the server asks for."""
        super().__init__(message)
        self.wait = wait


def pause(state: Any) -> float:
    """Seconds until the next try: a little more than the server asks for, otherwise a random part of a growing pause.

    Args:
        state: tenacity's `RetryCallState`; the last try raised a `PassingError`.
    """
    wait: float | None = state.outcome.exception().wait
    if not wait:
        longest = min(MAX_PAUSE, BACKOFF * 2 ** (state.attempt_number - 1))
        return random.uniform(0, longest)
    if wait > MAX_PAUSE:
        say(f"the server asks to wait {wait:.0f} s")
    return wait * random.uniform(1, 1.1)  # so that concurrent requests do not all return at the same moment


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None if it does not say.

    Args:
        headers: Headers of its response by lower-case name: `retry-after-ms` in milliseconds, or `retry-after` in
            seconds or as a date.
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
