"""Gives memory that is free back to the system."""

from __future__ import annotations

import ctypes
import sys


def trim_heap() -> None:
    """Returns the free pages of the C heap to the system, where that is glibc's; elsewhere nothing is done.

    Torch asks for aligned memory, and glibc before 2.38 seldom takes such a block again once it is freed
    (https://sourceware.org/bugzilla/show_bug.cgi?id=14581): on a CPU a process grows with each batch although nothing
    is kept. It takes a few milliseconds.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
