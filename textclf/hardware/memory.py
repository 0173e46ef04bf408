"""The memory that a process needs, and the return of what it no longer needs to the system."""

from __future__ import annotations

import ctypes
import sys
from typing import NamedTuple

import torch

MIB = 2**20


class PeakMemory(NamedTuple):
    """The most memory that a process has needed so far, in MiB; None where it is unknown.

    Attributes:
        resident: Of the process, without processes that it started.
        gpu: Of its GPU.
    """

    resident: float | None
    gpu: float | None


def peak_memory(device: torch.device) -> PeakMemory:
    """The peak of this process: since it started, and on a GPU since its counter was last set to 0.

    Args:
        device: The device that it computes on.
    """
    gpu = torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else None
    return PeakMemory(_peak_resident(), gpu)


def _peak_resident() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return peak * unit / MIB


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
