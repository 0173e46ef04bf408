"""The seed of a process."""

from __future__ import annotations

import os


def global_seed() -> int | None:
    """What `seed_everything` was last called with; None where it was not called."""
    seed = os.environ.get("PL_GLOBAL_SEED")  # kept there by Lightning, for other processes
    return None if seed is None else int(seed)
