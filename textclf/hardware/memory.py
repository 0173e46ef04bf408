"""Returns free memory to the system."""

from __future__ import annotations

import ctypes
import sys


def trim_heap() -> None:
    """Returns the free pages of the C heap to the system, in a few milliseconds; does nothing without glibc.

    Torch allocates aligned memory, and glibc before 2.38 rarely uses such a block again after it was freed
    (https://sourceware.org/bugzilla/show_bug.cgi?id=14581): on a CPU the memory of a process grows with each batch
    although nothing is kept.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)  # the C library of this process
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
