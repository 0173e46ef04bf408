"""One forward pass of a causal language model: what it is given, what is counted, and how its logits are read."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textclf.errors import UserError
from textclf.scoring.trie import LabelTrie
from textclf.types import PreTrainedConfig, PreTrainedModel

LOGITS_PER_PIECE = 2**23
"""Logits that are converted to fp32 at a time, so that the additional memory stays constant."""


@dataclass
class Counters:
    """Work done so far.

    Attributes:
        tokens: Tokens run through the model, without padding.
        padding: Padding tokens run through it.
        forwards: Forward passes.
        projection_rows: Positions that were projected onto the vocabulary.
        prefix_tokens: Of `tokens`, those run once as a prefix that prompts share.
        prefix_hits: Prompts whose prefix was taken from the cache.
        out_of_memory: Number of times that the token budget was halved.
        packed: Prompts scored by the strategy `packed`.
        cached: Prompts scored by `cached`.
        plain: Prompts scored by `plain`.
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
        """Share of padding in all tokens that were run."""
        return self.padding / max(1, self.padding + self.tokens)


class Forward:
    """Calls a model with the optional arguments that it accepts, and counts the work.

    Attributes:
        counters: Work done so far.
        device: The device that token ids must be on.
        optional: The arguments that this model accepts, but not every model does.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Stores a causal language model in evaluation mode."""
        self.model = model
        self.counters = Counters()
        self.device = input_device(model)
        parameters = inspect.signature(model.forward).parameters
        self.optional = {"position_ids", "logits_to_keep"} & set(parameters)

    def __call__(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any, keep: int, padding: int = 0) -> Tensor:
        """Runs tokens that follow those of a cache, which grows by them.

        Args:
            ids: Token ids, shape (batch, seq).
            mask: 2-D mask of cached and new tokens, or a 4-D mask that is added to the attention scores.
            positions: Position of each token, shape (batch, seq).
            cache: Keys and values of earlier tokens, or None.
            keep: Number of last positions to project onto the vocabulary.
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
    """Prompts without the prefix that they share, padded on the left.

    So the last token of each row is in the last column, and one slice of columns is read in all rows. A short row has
    its padding between the cached prefix and its first token; positions do not count it.

    Attributes:
        ids: Token ids, shape (batch, seq).
        real: False for padding, shape (batch, seq).
        prefix: Number of tokens of the cached prefix.
    """

    ids: Tensor
    real: Tensor
    prefix: int

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], prefix: int, device: torch.device) -> Batch:
        """Pads prompts, given as token ids that include the prefix."""
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
    """Reads the log-probability and the raw logit of each edge of a trie from logits at consecutive reads.

    Args:
        logits: Logits at the reads from `first` on, shape (batch, reads, vocabulary).
        trie: The labels.
        first: Number of the first read.

    Returns:
        Log-probabilities and logits of the edges at these reads, fp32 of shape (batch, edges).
    """
    edges = trie.edges(first, first + logits.shape[1])
    reads = (trie.reads[edges] - first).to(logits.device)
    picked = logits[:, reads, trie.edge_tokens[edges].to(logits.device)].float()
    flat = logits.reshape(-1, logits.shape[-1])
    pieces = torch.split(flat, max(1, LOGITS_PER_PIECE // flat.shape[1]))
    total = torch.cat([piece.float().logsumexp(-1) for piece in pieces]).view(logits.shape[:2])
    return picked - total[:, reads], picked


# The model, and what it can read


def input_device(model: PreTrainedModel) -> torch.device:
    """The device that a model's token ids must be on, also where its layers are spread over several devices."""
    return next(model.get_input_embeddings().parameters()).device


def context_length(model: PreTrainedModel | PreTrainedConfig) -> int | None:
    """Number of tokens that a model, or a model of this configuration, can read; None where there is no limit."""
    whole: Any = getattr(model, "config", model)
    config = whole.get_text_config(decoder=True)
    for name in ("max_position_embeddings", "max_seq_len", "n_positions"):
        size = getattr(config, name, None)
        if size:
            return int(size)
    return None


def check_prompts(
    rows: Sequence[Sequence[int]], label_tokens: int, limit: int | None, prompts: Sequence[str] | None = None
) -> None:
    """Checks that prompts can be scored.

    Args:
        rows: Token ids of each prompt.
        label_tokens: Largest number of label tokens that are run behind a prompt.
        limit: The model's context length; None for no limit.
        prompts: The prompts themselves, for messages.

    Raises:
        UserError: A prompt has no token, or does not fit into the context with a label behind it.
    """
    for number, row in enumerate(rows):
        name = f"prompt {number}" if prompts is None else f"prompt {number} ({prompts[number][:40]!r})"
        if not row:
            raise UserError(
                f"{name} has no tokens, and no BOS is added: there is nothing before the first label token; give a "
                "text, or a prompt with a BOS"
            )
        if limit is not None and len(row) + label_tokens > limit:
            raise UserError(
                f"{name} has {len(row)} tokens; with {label_tokens} of a label behind them, this exceeds the "
                f"model's context of {limit}: shorten its text"
            )


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Puts a model into evaluation mode (no dropout), and back into its former mode afterwards."""
    training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(training)
