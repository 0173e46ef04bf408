"""An event loop in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
CTRL_C_SECONDS = 0.2


class Background:
    """An event loop in a thread of its own, so that a caller may have a running loop too, as notebooks do."""

    def __init__(self) -> None:
        """Starts the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], interrupt: Callable[[], None] | None = None) -> T:
        """Runs a coroutine to its end, and gives its result.

        Args:
            work: The coroutine.
            interrupt: Called in the loop's thread at Ctrl-C, to let the work end soon; its end is awaited. A second
                Ctrl-C ends it at once.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return _result(future)
        except KeyboardInterrupt:
            if interrupt is not None:
                self._loop.call_soon_threadsafe(interrupt)
                with suppress(Exception):
                    _result(future)
            raise
        finally:
            future.cancel()

    def close(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _result(future: Future[T]) -> T:
    """The result of a future; Ctrl-C is noticed while it is awaited.

    A wait without a time limit goes on after Ctrl-C on Windows, and where a library has set SA_RESTART for SIGINT.
    """
    while not wait([future], CTRL_C_SECONDS).done:
        pass
    return future.result()
