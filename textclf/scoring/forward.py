"""One call of a model, counted; and what is read from the logits it gives."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textclf.scoring.plain import input_device
from textclf.scoring.trie import LabelTrie
from textclf.types import PreTrainedModel

PIECE = 2**23  # logits that are taken to fp32 at a time, so that the extra memory stays flat


@dataclass
class Counters:
    """Work done so far.

    Attributes:
        tokens: Tokens run through the model, padding left out.
        padding: Padding run beside them.
        forwards: Calls of the model.
        projection_rows: Positions that were projected onto the vocabulary.
        prefix_tokens: Of `tokens`, those run once as the prefix that prompts share.
        prefix_hits: Prompts whose prefix was taken from the cache.
        out_of_memory: Times that the token budget was halved.
        packed: Prompts scored by this strategy.
        cached: Prompts scored by this one.
        plain: Prompts scored by this one.
    """

    tokens: int = 0
    padding: int = 0
    forwards: int = 0
    projection_rows: int = 0
    prefix_tokens: int = 0
    prefix_hits: int = 0
    out_of_memory: int = 0
    packed: int = 0
    cached: int = 0
    plain: int = 0

    @property
    def padding_share(self) -> float:
        """Share of padding in all that was run."""
        return self.padding / max(1, self.padding + self.tokens)


class Forward:
    """Calls a model with those of the arguments that it takes, and counts.

    Attributes:
        counters: Work done so far.
        device: Where tokens are wanted.
        optional: Those arguments that not every model takes, but this one does.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Takes a causal language model in evaluation mode."""
        self.model = model
        self.counters = Counters()
        self.device = input_device(model)
        parameters = inspect.signature(model.forward).parameters
        self.optional = {"position_ids", "logits_to_keep"} & set(parameters)

    def __call__(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any, keep: int, padding: int = 0) -> Tensor:
        """Runs tokens behind what a cache holds, which grows by them.

        Args:
            ids: Tokens, shape (batch, seq).
            mask: 2-D mask of cached and new tokens, or 4-D mask to be added to the attention scores.
            positions: Position of each token, shape (batch, seq).
            cache: Keys and values of earlier tokens, or None.
            keep: Number of last positions to project.
            padding: Number of the tokens that are padding.

        Returns:
            Logits at the last positions, shape (batch, keep, vocabulary).
        """
        optional = {"position_ids": positions, "logits_to_keep": keep}
        logits: Tensor = self.model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **{name: value for name, value in optional.items() if name in self.optional},
        ).logits
        self.counters.forwards += 1
        self.counters.tokens += ids.numel() - padding
        self.counters.padding += padding
        self.counters.projection_rows += logits.shape[0] * logits.shape[1]
        return logits[:, -keep:]


@dataclass(frozen=True)
class Batch:
    """Prompts without the prefix they share, padded on the left.

    So each row's last token stands in the last column, and one slice of columns is read in all rows. Between a cached
    prefix and a short row there is padding; positions do not count it.

    Attributes:
        ids: Tokens, shape (batch, seq).
        real: False where padding stands, shape (batch, seq).
        prefix: Length of the prefix that stands before them in the cache.
    """

    ids: Tensor
    real: Tensor
    prefix: int

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], prefix: int, device: torch.device) -> Batch:
        """Pads prompts, given as tokens with their prefix."""
        width = max(len(row) for row in rows) - prefix
        gaps = [width - (len(row) - prefix) for row in rows]
        ids = [[0] * gap + list(row[prefix:]) for gap, row in zip(gaps, rows, strict=True)]
        real = torch.arange(width) >= torch.tensor(gaps)[:, None]
        return cls(torch.tensor(ids, device=device), real.to(device), prefix)

    @property
    def lengths(self) -> Tensor:
        """Number of tokens of each prompt, prefix included, shape (batch,)."""
        return self.prefix + self.real.sum(1)

    @property
    def positions(self) -> Tensor:
        """Position of each token, shape (batch, seq)."""
        return (self.prefix + self.real.cumsum(1) - 1).clamp(min=0)

    @property
    def padding(self) -> int:
        """Number of padding tokens."""
        return int((~self.real).sum())


def read_edges(logits: Tensor, trie: LabelTrie, first: int) -> tuple[Tensor, Tensor]:
    """Takes log-probabilities and raw logits of a trie's edges from logits at consecutive reads.

    Args:
        logits: Logits at the reads from `first` on, shape (batch, reads, vocabulary).
        trie: The labels.
        first: Number of the first read.

    Returns:
        Log-probabilities and logits of those edges, fp32 of shape (batch, edges of these reads).
    """
    edges = trie.edges(first, first + logits.shape[1])
    reads = (trie.reads[edges] - first).to(logits.device)
    picked = logits[:, reads, trie.edge_tokens[edges].to(logits.device)].float()
    flat = logits.reshape(-1, logits.shape[-1])
    pieces = torch.split(flat, max(1, PIECE // flat.shape[1]))
    total = torch.cat([piece.float().logsumexp(-1) for piece in pieces]).view(logits.shape[:2])
    return picked - total[:, reads], picked
