"""The prefix that all prompts share: run once, kept between calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from textclf.scoring.forward import Forward
from textclf.scoring.kv_cache import fork, new_cache
from textclf.scoring.trie import common_prefix

WORTH = 64  # tokens that must be saved before a kept prefix is made longer: an extra pass has a price of its own


class PrefixCache:
    """Keys and values of the tokens that prompts begin with, found in token space (so across any template).

    The kept prefix serves whatever prompts begin with a part of it. It is made longer, or made anew, where the prompts
    at hand share more than it holds.

    Args:
        forward: The model; what was kept is void once its weights change (`clear`).
        window: The model's shortest window, or None: layers drop states beyond it, so that of a prefix as long as that
            no part can be taken.
    """

    def __init__(self, forward: Forward, window: int | None) -> None:
        """Starts empty."""
        self.forward = forward
        self.window = window
        self.clear()

    def clear(self) -> None:
        """Forgets what is kept."""
        self.tokens: list[int] = []
        self.cache: Any = None

    def serve(self, prompts: Sequence[list[int]]) -> tuple[int, Any]:
        """Gives the prefix of these prompts.

        At least the last token of each prompt is left out of it: there the first label token is read.

        Returns:
            Its length, and its cache of one row; 0 and None where there is nothing to share.
        """
        shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
        kept = common_prefix([self.tokens, prompts[0][:shared]]) if self.tokens else 0
        if self.window is not None and kept < len(self.tokens) >= self.window:
            kept = 0
        saved = (len(prompts) - 1) * (shared - kept)
        if saved >= (WORTH if kept else 1):
            self._extend(prompts[0][:shared], kept)
            kept = shared
        if not kept:
            return 0, None
        return kept, self.cache if kept == len(self.tokens) else fork(self.cache, length=kept)

    def _extend(self, tokens: list[int], kept: int) -> None:
        """Runs the tokens that are not kept yet."""
        device = self.forward.device
        cache = fork(self.cache, length=kept if kept < len(self.tokens) else None) if kept else None
        cache = cache or new_cache(self.forward.model)
        ids = torch.tensor([tokens[kept:]], device=device)
        mask = torch.ones(1, len(tokens), dtype=torch.long, device=device)
        self.forward(ids, mask, torch.arange(kept, len(tokens), device=device)[None], cache, keep=1)
        self.forward.counters.prefix_tokens += ids.numel()
        self.tokens, self.cache = tokens, cache
