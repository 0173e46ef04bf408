"""All labels behind each prompt in one forward pass.

A row is the prompt, then the inner nodes of the label trie (tree attention as in SpecInfer, Miao et al. 2023,
https://arxiv.org/abs/2305.09781). A node sees the cached prefix, its prompt and its own ancestors, and stands at the
position that it would have if its label stood there alone. So a single-token label costs nothing beyond the prompt,
and K labels cost the trie's inner nodes, not K prompts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textclf.scoring.forward import Batch, Forward, read_edges
from textclf.scoring.kv_cache import fork
from textclf.scoring.trie import LabelTrie


def packed_scores(forward: Forward, batch: Batch, trie: LabelTrie, prefix: Any) -> tuple[Tensor, Tensor]:
    """Scores all labels after each prompt of a batch; takes and returns what `cached_scores` does."""
    rows = len(batch.ids)
    nodes = trie.tokens.to(forward.device).expand(rows, -1)
    depths = trie.depths.to(forward.device)
    logits = forward(
        torch.cat([batch.ids, nodes], 1),
        additive(visible(batch, trie), forward.model.dtype),
        torch.cat([batch.positions, batch.lengths[:, None] - 1 + depths], 1),
        None if prefix is None else fork(prefix, rows),
        keep=1 + trie.nodes,
        padding=batch.padding,
    )
    return read_edges(logits, trie, 0)


def visible(batch: Batch, trie: LabelTrie) -> Tensor:
    """Who sees whom: True of shape (batch, 1, seq + nodes, prefix + seq + nodes).

    Padding sees itself and the prefix, as a row of nothing would be NaN; nobody sees padding.
    """
    width, nodes = batch.ids.shape[1], trie.nodes
    seen = torch.zeros(width + nodes, width + nodes, dtype=torch.bool, device=batch.ids.device)
    seen[:width, :width] = torch.ones_like(seen[:width, :width]).tril()
    seen[width:, :width] = True
    seen[width:, width:] = trie.ancestors.to(seen.device)
    real = torch.nn.functional.pad(batch.real, (0, nodes), value=True)
    rows = seen & real[:, None, :] | torch.eye(width + nodes, dtype=torch.bool, device=seen.device)
    return torch.nn.functional.pad(rows, (batch.prefix, 0), value=True)[:, None]


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to be added to attention scores: a boolean one would be added as 0 and 1 by eager attention."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)
