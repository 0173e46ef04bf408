"""How many prompts run together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# Tokens of one forward pass. A CPU is fastest with what its caches hold; 4096 cost it a third of the speed.
BUDGETS = {"cpu": 768, "mps": 4096}
BUDGET_ELSEWHERE = 16384


def default_budget(device: torch.device) -> int:
    """Tokens of a forward pass where nobody has said otherwise."""
    return BUDGETS.get(device.type, BUDGET_ELSEWHERE)


def by_length(lengths: Sequence[int]) -> list[int]:
    """Order in which prompts run: the longest first, so that what does not fit shows at once."""
    return sorted(range(len(lengths)), key=lambda i: -lengths[i])


def next_batch(order: Sequence[int], lengths: Sequence[int], extra: int, budget: int, equal: bool) -> list[int]:
    """Takes the prompts of the next batch.

    Args:
        order: Prompts that are left, longest first.
        lengths: Tokens to run of each prompt.
        extra: Tokens that stand behind each prompt in the same pass.
        budget: Tokens of the batch, padding included; one prompt may exceed it.
        equal: Whether only prompts of equal length may run together.
    """
    longest = lengths[order[0]]
    count = max(1, budget // (longest + extra))
    return [i for i in order[:count] if not equal or lengths[i] == longest]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a smaller batch may fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory", "not enough memory")
    )
