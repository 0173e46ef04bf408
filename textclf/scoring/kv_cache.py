"""What is done to a key-value cache: sharing it between rows and labels without copying it.

A transformers `DynamicCache` grows by putting new tensors in the place of old ones; the old ones are never written to.
So a second cache object that holds the same tensors is a free snapshot, for sliding windows too, where cutting a cache
back would need states that were already dropped.
"""

from __future__ import annotations

import copy
from typing import Any

from textclf.types import PreTrainedModel


def new_cache(model: PreTrainedModel) -> Any:
    """An empty cache with the layers (full, sliding) that the model's config asks for."""
    from transformers import DynamicCache

    return DynamicCache(config=model.config)


def fork(cache: Any, rows: int | None = None, length: int | None = None) -> Any:
    """A second cache with the same tensors; the first does not change when the second grows.

    Args:
        cache: A `DynamicCache`.
        rows: Show its one row as so many rows (a view).
        length: Show only its first tokens (a view); not for layers that have dropped states beyond their window.
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
    """Sizes of all windows that the model's layers may look through, as its config and transformers' cache tell."""
    config = model.config.get_text_config(decoder=True)
    named = (getattr(config, name, None) for name in ("window_size", "attention_chunk_size", "sliding_window"))
    cached = (layer.sliding_window for layer in new_cache(model).layers if getattr(layer, "is_sliding", False))
    return sorted({int(size) for size in (*named, *cached) if size})


def foreign_layers(model: PreTrainedModel) -> list[str]:
    """Kinds of cache layers that `fork` does not know: their states are written in place or hold more than keys."""
    shared = {"DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer"}  # a dummy: a layer with no states of its own
    return sorted({type(layer).__name__ for layer in new_cache(model).layers} - shared)
