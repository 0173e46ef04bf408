"""How many prompts run together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import torch

BUDGETS = {"cpu": 1024, "mps": 4096}
"""Tokens of one forward pass. A CPU is fastest with what its caches hold: with 4096 it loses a third of its speed."""
BUDGET_ELSEWHERE = 16384
"""Tokens of one forward pass on other devices."""
CACHED_PER_BUDGET = 8
"""Cached tokens that a forward pass may hold keys of, as a multiple of its budget; a prefix counts once per row."""
COST_OF_PASS = 48
"""Cost of a forward pass in addition to its tokens, in tokens."""
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What messages of torch and of the operating system say; they have no common type."""


def default_budget(device: torch.device) -> int:
    """Tokens of a forward pass where the user has not given any."""
    return BUDGETS.get(device.type, BUDGET_ELSEWHERE)


def by_length(lengths: Sequence[int]) -> list[int]:
    """Order in which prompts run: the longest first, so that a lack of memory shows at once."""
    return sorted(range(len(lengths)), key=lambda i: -lengths[i])


def plan_batches(
    lengths: Sequence[int], extra: int, budget: int, equal: bool, prefix: int = 0
) -> list[tuple[int, int]]:
    """Splits prompts into batches so that tokens, padding and passes together cost the least.

    By dynamic programming from the end: the best split of the prompts behind a batch does not depend on the batch. Only
    positions where the length changes, or the budget is used up, can be the end of an optimal batch.

    Args:
        lengths: Tokens to run of each prompt, longest first.
        extra: Tokens that are run behind each prompt in the same pass.
        budget: Tokens of a batch, padding included; a single prompt may exceed it.
        equal: Whether only prompts of equal length may run together.
        prefix: Tokens of the cached prefix. A layer copies its keys for each row. This costs memory, so it limits the
            rows of a batch; in all, it costs the same however rows are split, so it is not part of the cost.

    Returns:
        First prompt of each batch, and one past its last.
    """
    count = len(lengths)
    changes = [i for i in range(1, count) if lengths[i] != lengths[i - 1]]
    cost = [0] * (count + 1)  # of the prompts from each one on
    end = [count] * count  # of the batch that begins with each prompt
    for start in reversed(range(count)):
        width = lengths[start] + extra
        rows = min(budget // width, CACHED_PER_BUDGET * budget // (prefix + width))
        full = min(count, start + max(1, rows))
        ends = changes[bisect_right(changes, start) : bisect_right(changes, full)]
        if equal:
            ends = ends[:1] or [full]
        else:
            ends = [*ends, full]
        cost[start], end[start] = min(((stop - start) * width + COST_OF_PASS + cost[stop], stop) for stop in ends)
    batches = []
    start = 0
    while start < count:
        batches.append((start, end[start]))
        start = end[start]
    return batches


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a smaller batch may fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in OUT_OF_MEMORY)
