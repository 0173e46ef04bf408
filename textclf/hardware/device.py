"""Names of the device that a run computes on, and of the machine."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

from textclf.hashing import text_hash


def device_name(device: torch.device, processes: int = 1) -> str:
    """The device of a run in a few words: two runs have the same one if their speeds can be compared.

    Args:
        device: That of one process.
        processes: Number of processes, each of which has its own GPU, or shares the cores.

    Returns:
        Such as `NVIDIA H100`, `2 x NVIDIA H100`, or `AMD EPYC 7B13, 2 cores`.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return name if processes == 1 else f"{processes} x {name}"
    name = cpu_name()
    if device.type != "cpu":
        name += f" ({device.type})"
    name += f", {usable_cores()} cores"
    return name if processes == 1 else f"{name}, {processes} processes"


def cpu_name() -> str:
    """The model of the processor; its architecture where the system does not give a model."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:  # not Linux
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def cpu_kernels() -> str:
    """The model of the processor with the instructions that torch uses: where both are equal, so are sums."""
    return f"{cpu_name()} ({torch.backends.cpu.get_cpu_capability()})"


def usable_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_hash() -> str:
    """A hash that is the same for all processes of one machine, and does not tell its name."""
    name = platform.node()
    for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        try:
            name += Path(path).read_text()
        except OSError:  # not Linux
            continue
        break
    return text_hash(name)[:16]
