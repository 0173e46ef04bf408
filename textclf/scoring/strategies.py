"""The three ways to score labels after prompts: plain, cached and packed.

*plain* is the oracle: one forward pass per prompt and label, as simple as possible. The other two must agree with it.

*cached* runs each prompt once, and then walks the labels' trie chain by chain on the prompt's key-value cache, all
rows of a batch at once. At a fork the cache is neither copied nor cut back: each branch grows its own tensors from the
same ones (`textclf.scoring.kv_cache`). The model makes its own masks, so this works for layers with windows and for
ALiBi too, where rows cannot be packed.

*packed* runs a prompt and all labels in one forward pass. A row is the prompt, followed by the inner nodes of the
labels' trie (tree attention as in SpecInfer, Miao et al. 2023, https://arxiv.org/abs/2305.09781). A node attends to the
cached prefix, to its prompt and to its own ancestors, at the position that it would have if its label were alone. So
labels of one token cost nothing beyond the prompt, and K labels cost the inner nodes of the trie, not K prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from textclf.scoring.forward import Batch, Forward, check_prompts, context_length, evaluating, input_device, read_edges
from textclf.scoring.kv_cache import fork, new_cache
from textclf.scoring.tokens import Bos, label_token_ids, prompt_token_ids
from textclf.scoring.trie import Chain, LabelTrie
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase

# Plain


def plain_score(model: PreTrainedModel, prompt: Sequence[int], label: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Scores one label after one prompt: the oracle.

    The logits at position i predict token i + 1. So the label's first token is read at the prompt's last position, and
    the label's last token need not be run.

        tokens   p0 p1 p2 l0 (l1)
        read           ^  ^
        of             l0 l1

    Args:
        model: A causal language model in evaluation mode.
        prompt: Token ids of the prompt, at least one.
        label: Token ids of the label, at least one.

    Returns:
        Log-likelihood of the label in nats, and the sum of its tokens' raw logits; both float64 scalars.
    """
    ids = torch.tensor([[*prompt, *label[:-1]]], device=input_device(model))
    logits = model(input_ids=ids, use_cache=False).logits[0].float()
    read = torch.arange(len(prompt) - 1, ids.shape[1], device=logits.device)
    tokens = torch.tensor(label, device=logits.device)
    log_probs = logits.log_softmax(-1)
    return log_probs[read, tokens].double().sum(), logits[read, tokens].double().sum()


def as_published(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    labels: Sequence[str],
    bos: Bos = "tokenizer",
) -> Tensor:
    """Misread sums of raw logits, only to reproduce figures that were published with them.

    With L prompt tokens and n label tokens t1 .. tn it adds logits[L + n - i, ti]: read one position late, and in
    reverse order. The right reading is the sum over logits[L + i - 2, ti].

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: Prompts.
        labels: Labels, appended as written.
        bos: BOS policy, as in `prompt_token_ids`.

    Returns:
        Sums, float64 of shape (prompts, labels).

    Raises:
        UserError: A prompt has no token, or does not fit into the model's context with a whole label behind it.
    """
    rows = prompt_token_ids(tokenizer, prompts, bos)
    return misread_sums(model, rows, label_token_ids(tokenizer, labels), prompts)


@torch.inference_mode()
def misread_sums(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    prompts: Sequence[str] | None = None,
) -> Tensor:
    """The sums of `as_published`, from the token ids of prompts and labels; `prompts` are for messages."""
    check_prompts(rows, max(map(len, labels), default=0), context_length(model), prompts)
    sums = torch.empty(len(rows), len(labels), dtype=torch.float64)
    with evaluating(model):
        for i, prompt in enumerate(rows):
            for j, label in enumerate(labels):
                ids = torch.tensor([[*prompt, *label]], device=input_device(model))
                logits = model(input_ids=ids, use_cache=False).logits[0].double()
                positions = [ids.shape[1] - k for k in range(1, len(label) + 1)]  # the last one first
                sums[i, j] = sum(logits[position, token] for position, token in zip(positions, label, strict=True))
    return sums


# Cached


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
    # The dtype is given, as the default one is bf16 within a step of a trainer with the precision bf16-true.
    log_probs = torch.empty(rows, len(trie.reads), device=logits.device, dtype=torch.float32)
    raw = torch.empty_like(log_probs)

    def fill_in(logits: Tensor, first: int) -> None:
        """Fills in the edges that are read at these logits, the first of which is read `first`."""
        edges = trie.edges(first, first + logits.shape[1])
        log_probs[:, edges], raw[:, edges] = read_edges(logits, trie, first)

    def walk(chain: Chain, cache: Any, mask: Tensor) -> None:
        """Runs the nodes of a chain behind what the cache holds, then the chains that continue it."""
        start, stop = chain.nodes
        ids = trie.tokens[start:stop].to(forward.device).expand(rows, -1)
        positions = batch.lengths[:, None] - 1 + trie.depths[start:stop].to(forward.device)
        mask = torch.nn.functional.pad(mask, (0, stop - start), value=1)
        fill_in(forward(ids, mask, positions, cache, keep=stop - start), start + 1)
        for following in chain.then:
            walk(following, fork(cache), mask)

    fill_in(logits, 0)
    for chain in trie.chains:
        walk(chain, fork(cache), mask)
    return log_probs, raw


# Packed


def packed_scores(forward: Forward, batch: Batch, trie: LabelTrie, prefix: Any) -> tuple[Tensor, Tensor]:
    """Scores all labels after each prompt of a batch; arguments and results are those of `cached_scores`."""
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
    """Which position attends to which: True of shape (batch, 1, seq + nodes, prefix + seq + nodes).

    For the prompt `p q`, padded to three columns, and the labels `a b`, `a c d` and `e` (inner nodes a, c), without a
    prefix:

               .  p  q  a  c
            .  x                padding attends to itself, as softmax over nothing is NaN
            p     x
            q     x  x
            a     x  x  x
            c     x  x  x  x

    The columns of a prefix are put before these; every position attends to them.
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
    """A mask that is added to attention scores: eager attention would add a boolean one as 0 and 1."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)
