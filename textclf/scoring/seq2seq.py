"""How likely an encoder-decoder finds each label as its whole answer to a text.

The encoder runs once per text. The decoder walks the labels' trie chain by chain, all texts of a batch at once; the
keys and values of its cross-attention are computed once, too, and what labels begin with is shared
(`textclf.scoring.trie`). A label is scored as the tokenizer writes a target, with its end: so a label that is a prefix
of another is not always the likelier one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from textclf.errors import UserError
from textclf.scoring.capabilities import UnsupportedModelError
from textclf.scoring.forward import read_edges
from textclf.scoring.kv_cache import fork
from textclf.scoring.trie import Chain, LabelTrie, prefix_pairs
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase


def target_token_ids(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[list[int]]:
    """Token ids of each label as a target: with the special tokens that the tokenizer adds, the end among them.

    Raises:
        UserError: Two labels have the same tokens.
    """
    encoded = tokenizer(text_target=list(labels), padding=False, truncation=False)
    rows = [list(ids) for ids in encoded["input_ids"]]
    for i, j in prefix_pairs(rows):
        if rows[i] == rows[j]:
            raise UserError(f"labels {labels[i]!r} and {labels[j]!r} have the same tokens {rows[i]}: give other words")
    return rows


def seq2seq_scores(model: PreTrainedModel, inputs: Mapping[str, Tensor], trie: LabelTrie) -> Tensor:
    """Scores all labels as the answer to each text of a batch.

    Args:
        model: An encoder-decoder in evaluation mode.
        inputs: `input_ids` and `attention_mask`, int64 `(batch, seq)`.
        trie: The labels' token ids, as `target_token_ids` gives them.

    Returns:
        Log-likelihoods in nats, float64 `(batch, labels)`.
    """
    encoder: Any = model.get_encoder()
    encoded = encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    rows = len(inputs["input_ids"])
    # The dtype is given, as the default one is bf16 within a step of a trainer with the precision bf16-true.
    log_probs = torch.empty(rows, len(trie.reads), device=model.device, dtype=torch.float32)

    def step(tokens: Tensor, cache: Any, first: int) -> Any:
        """Runs the same tokens for each text and fills in the edges that are read at them; returns the grown cache."""
        output = model(
            encoder_outputs=encoded,
            attention_mask=inputs["attention_mask"],
            decoder_input_ids=tokens.to(model.device).expand(rows, -1),
            past_key_values=cache,
            use_cache=True,
        )
        edges = trie.edges(first, first + len(tokens))
        log_probs[:, edges], _ = read_edges(output.logits, trie, first)
        return output.past_key_values

    def walk(chain: Chain, cache: Any) -> None:
        """Runs the nodes of a chain behind what the cache holds, then the chains that continue it."""
        start, stop = chain.nodes
        cache = step(trie.tokens[start:stop], _fork_decoder(cache), start + 1)
        for following in chain.then:
            walk(following, cache)

    cache = step(torch.tensor([decoder_start(model)]), None, 0)
    for chain in trie.chains:
        walk(chain, cache)
    return trie.totals(log_probs)


def _fork_decoder(cache: Any) -> Any:
    """A second cache of the decoder's own tokens; the cache of the text never changes, and is shared.

    `self_attention_cache` is an attribute of transformers' `EncoderDecoderCache`, which has no public way to copy it
    without its tensors.
    """
    forked = copy.copy(cache)
    forked.self_attention_cache = fork(cache.self_attention_cache)
    return forked


def decoder_start(model: PreTrainedModel) -> int:
    """The token that comes before an answer.

    Raises:
        UnsupportedModelError: The model's config does not name it.
    """
    start = model.config.decoder_start_token_id
    if start is None:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no decoder_start_token_id: give a model whose config has one"
        )
    return int(start)


def plain_seq2seq_score(model: PreTrainedModel, text: Sequence[int], label: Sequence[int]) -> Tensor:
    """The oracle: one label as the answer to one text, in a pass of its own; log-likelihood in nats, float64 scalar."""
    target = torch.tensor([label], device=model.device)
    logits: Tensor = model(input_ids=torch.tensor([text], device=model.device), labels=target).logits.float()
    return logits.log_softmax(-1).gather(-1, target[..., None]).double().sum()
