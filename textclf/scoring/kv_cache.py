"""Key-value caches: shared between rows and labels without a copy, and kept for the prefix of all prompts.

A `DynamicCache` of transformers grows by replacing its tensors; it never writes to the old ones. So a second cache
object that holds the same tensors is a snapshot for free, for sliding windows too, where cutting a cache back would
need states that have already been dropped.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from textclf.scoring.forward import Forward
from textclf.scoring.trie import common_prefix
from textclf.types import PreTrainedModel

MIN_SAVED = 64
"""Tokens that must be saved before a kept prefix is made longer: an extra pass has a cost of its own."""
SHAREABLE_LAYERS = {"DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer"}
"""Classes of cache layers that `fork` can share; a dummy layer has no states of its own."""


def new_cache(model: PreTrainedModel) -> Any:
    """An empty cache with the layers (full, sliding) that the model's config names."""
    from transformers import DynamicCache

    return DynamicCache(config=model.config)


def fork(cache: Any, rows: int | None = None, length: int | None = None) -> Any:
    """A second cache with the same tensors; the first does not change when the second grows.

    It reads attributes of the layers that transformers does not document (`keys`, `values`, `is_sliding`,
    `cumulative_length`); its public methods (`batch_repeat_interleave`, `crop`) copy the states, or change the first
    cache.

    Args:
        cache: A `DynamicCache`.
        rows: Shows its one row as this many rows (a view).
        length: Shows its first tokens only (a view); not for layers that have dropped states beyond their window.
    """
    forked = copy.copy(cache)
    forked.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in forked.layers:
        if layer.keys is None:  # a layer that uses another layer's states
            continue
        if rows is not None:
            layer.keys = layer.keys.expand(rows, -1, -1, -1)
            layer.values = layer.values.expand(rows, -1, -1, -1)
        if length is not None:
            layer.keys = layer.keys[:, :, :length]
            layer.values = layer.values[:, :, :length]
            if layer.is_sliding:
                layer.cumulative_length = layer.keys.shape[-2]
    return forked


def windows(model: PreTrainedModel) -> list[int]:
    """Sizes of all attention windows that the model's layers may have, by its config and by transformers' cache."""
    config = model.config.get_text_config(decoder=True)
    sizes = [getattr(config, name, None) for name in ("window_size", "attention_chunk_size", "sliding_window")]
    for layer in new_cache(model).layers:
        if getattr(layer, "is_sliding", False):
            sizes.append(layer.sliding_window)
    return sorted({int(size) for size in sizes if size})


def foreign_layers(model: PreTrainedModel) -> list[str]:
    """Classes of cache layers that `fork` cannot share: they are written in place, or have more than keys and values.

    Layers are recognised by the names of their classes, as transformers has no property for it: a new class is refused
    until it is known how it grows.
    """
    kinds = {type(layer).__name__ for layer in new_cache(model).layers}
    return sorted(kinds - SHAREABLE_LAYERS)


class PrefixCache:
    """Keys and values of the tokens that all prompts begin with; found in token ids, so it works across any template.

    The kept prefix is used for any prompts that begin with a part of it. It is made longer, or replaced, where the
    prompts at hand share more than it holds.

    Args:
        forward: The model; call `clear` if its weights have changed.
        window: The model's shortest window, or None: layers drop states beyond it, so no part can be taken of a prefix
            that is as long as the window.
    """

    def __init__(self, forward: Forward, window: int | None) -> None:
        """Starts empty."""
        self.forward = forward
        self.window = window
        self.clear()

    def clear(self) -> None:
        """Drops the prefix."""
        self.tokens: list[int] = []
        self.cache: Any = None

    def prefix_of(self, prompts: Sequence[list[int]]) -> tuple[int, Any]:
        """Gives the prefix of these prompts.

        At least the last token of each prompt is left out of it: the first label token is read there.

        Args:
            prompts: Token ids of each prompt.

        Returns:
            Number of tokens of the prefix, and its cache of one row; 0 and None where there is nothing to share.
        """
        shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
        usable = self._usable(prompts[0][:shared])
        saved = (len(prompts) - 1) * (shared - usable)
        if saved >= (MIN_SAVED if usable else 1):
            self._extend(prompts[0][:shared], usable)
            usable = shared
        if not usable:
            return 0, None
        if usable == len(self.tokens):
            return usable, self.cache
        return usable, fork(self.cache, length=usable)

    def _usable(self, tokens: list[int]) -> int:
        """How many of the kept tokens are the beginning of these."""
        if not self.tokens:
            return 0
        usable = common_prefix([self.tokens, tokens])
        # A part of a prefix that is as long as the window cannot be cut off: its first states are dropped.
        if self.window is not None and usable < len(self.tokens) >= self.window:
            return 0
        return usable

    def _extend(self, tokens: list[int], usable: int) -> None:
        """Runs the tokens behind the first `usable` ones, which are kept already."""
        device = self.forward.device
        if usable:
            cache = fork(self.cache, length=usable if usable < len(self.tokens) else None)
        else:
            cache = new_cache(self.forward.model)
        ids = torch.tensor([tokens[usable:]], device=device)
        mask = torch.ones(1, len(tokens), dtype=torch.long, device=device)
        self.forward(ids, mask, torch.arange(usable, len(tokens), device=device)[None], cache, keep=1)
        self.forward.counters.prefix_tokens += ids.numel()
        self.tokens = tokens
        self.cache = cache
