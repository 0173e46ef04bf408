"""How many prompts run together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import torch

# Tokens of one forward pass. A CPU is fastest with what its caches hold; 4096 cost it a third of the speed.
BUDGETS = {"cpu": 1024, "mps": 4096}
BUDGET_ELSEWHERE = 16384
HELD = 8  # times its tokens that a forward pass may hold keys of: those of the prefix stand there once per row
PASS = 48  # what a forward pass costs beside its tokens, in tokens


def default_budget(device: torch.device) -> int:
    """Tokens of a forward pass where nobody has said otherwise."""
    return BUDGETS.get(device.type, BUDGET_ELSEWHERE)


def by_length(lengths: Sequence[int]) -> list[int]:
    """Order in which prompts run: the longest first, so that what does not fit shows at once."""
    return sorted(range(len(lengths)), key=lambda i: -lengths[i])


def plan_batches(
    lengths: Sequence[int], extra: int, budget: int, equal: bool, prefix: int = 0
) -> list[tuple[int, int]]:
    """Cuts prompts into batches so that tokens, padding and passes together cost the least.

    Found from the end by dynamic programming: the best cut of what follows a batch does not depend on the batch. Only
    where the length changes, or the budget ends, can a batch end well.

    Args:
        lengths: Tokens to run of each prompt, longest first.
        extra: Tokens that stand behind each prompt in the same pass.
        budget: Tokens of a batch, padding included; one prompt may exceed it.
        equal: Whether only prompts of equal length may run together.
        prefix: Tokens of the cached prefix. A layer copies its keys for each row, which costs memory but, in all, the
            same however rows are cut; so it limits a batch's rows, and is no part of the cost.

    Returns:
        First prompt of each batch, and one past its last.
    """
    count = len(lengths)
    changes = [i for i in range(1, count) if lengths[i] != lengths[i - 1]]
    cost, end = [0] * (count + 1), [count] * count
    for start in reversed(range(count)):
        width = lengths[start] + extra
        rows = min(budget // width, HELD * budget // (prefix + width))
        full = min(count, start + max(1, rows))
        ends = changes[bisect_right(changes, start) : bisect_right(changes, full)]
        ends = ends[:1] or [full] if equal else [*ends, full]
        cost[start], end[start] = min(((stop - start) * width + PASS + cost[stop], stop) for stop in ends)
    batches, start = [], 0
    while start < count:
        batches.append((start, end[start]))
        start = end[start]
    return batches


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a smaller batch may fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory", "not enough memory")
    )
