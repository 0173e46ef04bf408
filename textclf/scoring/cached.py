"""Each prompt once, then its key-value cache for every label.

The labels' trie is walked chain by chain, all rows of a batch at once. At a fork the cache is not copied and not cut
back: each way on grows its own tensors from the same ones (`textclf.scoring.kv_cache`). The model makes its own masks,
so that this works for layers with windows and for ALiBi, where rows cannot be packed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textclf.scoring.forward import Batch, Forward, read_edges
from textclf.scoring.kv_cache import fork, new_cache
from textclf.scoring.trie import Chain, LabelTrie


def cached_scores(forward: Forward, batch: Batch, trie: LabelTrie, prefix: Any) -> tuple[Tensor, Tensor]:
    """Scores all labels after each prompt of a batch.

    Args:
        forward: The model.
        batch: Prompts.
        trie: Labels.
        prefix: Cache of the prompts' common prefix, one row, or None.

    Returns:
        Log-probabilities and raw logits of the trie's edges, shape (batch, edges).
    """
    rows = len(batch.ids)
    cache = new_cache(forward.model) if prefix is None else fork(prefix, rows)
    mask = torch.nn.functional.pad(batch.real, (batch.prefix, 0), value=True).long()
    logits = forward(batch.ids, mask, batch.positions, cache, keep=1, padding=batch.padding)
    log_probs = torch.empty(rows, len(trie.reads), device=logits.device)
    raw = torch.empty_like(log_probs)

    def note(logits: Tensor, first: int) -> None:
        edges = trie.edges(first, first + logits.shape[1])
        log_probs[:, edges], raw[:, edges] = read_edges(logits, trie, first)

    def walk(chain: Chain, cache: Any, mask: Tensor) -> None:
        start, stop = chain.nodes
        ids = trie.tokens[start:stop].to(forward.device).expand(rows, -1)
        positions = batch.lengths[:, None] - 1 + trie.depths[start:stop].to(forward.device)
        mask = torch.nn.functional.pad(mask, (0, stop - start), value=1)
        note(forward(ids, mask, positions, cache, keep=stop - start), start + 1)
        for following in chain.then:
            walk(following, fork(cache), mask)

    note(logits, 0)
    for chain in trie.chains:
        walk(chain, fork(cache), mask)
    return log_probs, raw
