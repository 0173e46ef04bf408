"""Scores of labels after prompts, by a causal language model."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from textclf.errors import UserError, check_least
from textclf.hardware.memory import trim_heap
from textclf.scoring.capabilities import Strategy, StrategyChoice, UnsupportedModelError, capabilities_of
from textclf.scoring.forward import Batch, Forward, check_prompts, context_length, evaluating
from textclf.scoring.kv_cache import PrefixCache
from textclf.scoring.planning import by_length, default_budget, is_out_of_memory, plan_batches
from textclf.scoring.strategies import cached_scores, misread_sums, packed_scores, plain_score
from textclf.scoring.tokens import Bos, label_token_ids, prompt_token_ids
from textclf.scoring.trie import build_trie, prefix_pairs
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TRIM_EVERY = 4
"""Batches between two trims of the heap; without them, memory grows with the number of prompts on some systems."""


@dataclass(frozen=True)
class LabelScores:
    """Scores of labels after prompts.

    Attributes:
        log_likelihoods: Sum of each label's token log-probabilities in nats, float64 of shape (prompts, labels).
        logit_sums: Sum of its tokens' raw logits, read at the same positions, float64 of the same shape.
    """

    log_likelihoods: Tensor
    logit_sums: Tensor


def label_log_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    labels: Sequence[str],
    *,
    strategy: StrategyChoice = "auto",
    max_batch_tokens: int | None = None,
) -> Tensor:
    """Scores every label after every prompt.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer; its padding side does not matter.
        prompts: Prompts, tokenised with the tokenizer's own special tokens: one BOS at most, no appended EOS.
        labels: Labels, tokenised without special tokens, exactly as written (a leading space must be written).
        strategy: `packed`, `cached` or `plain`; `auto` takes the first of them that is correct for this model.
        max_batch_tokens: Tokens of a forward pass; by default what suits the device. A single prompt may exceed it.

    Returns:
        Summed token log-likelihoods in nats, float64 of shape (prompts, labels).

    Raises:
        ValueError: A prompt is longer than the model's context, a prompt or label has no token, or two labels have the
            same tokens.
        UnsupportedModelError: The strategy is not correct for this model.
    """
    scorer = LabelScorer(model, tokenizer, labels, strategy=strategy, max_batch_tokens=max_batch_tokens)
    return scorer(prompts).log_likelihoods


class LabelScorer:
    """Scores fixed labels, and keeps the common prefix of the prompts and its counters between calls.

    The kept prefix is invalid once the weights of the model change: create a new scorer, or call `prefixes.clear`.

    Attributes:
        counters: Work done so far.
        strategy: The strategy of the last call.
        reason: Why it was chosen.
        reasons: For each strategy that was chosen, why it was chosen last.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        *,
        strategy: StrategyChoice = "auto",
        max_batch_tokens: int | None = None,
        bos: Bos = "tokenizer",
    ) -> None:
        """Takes the arguments of `label_log_likelihoods` without the prompts, and the BOS policy (`prompt_token_ids`).

        Raises:
            ValueError: An unknown strategy, a budget below 1, no label, a label without tokens, or two with the same.
            UnsupportedModelError: The model is not a causal language model.
        """
        if strategy not in get_args(StrategyChoice):
            raise UserError(f"strategy is {strategy!r}: choose auto, packed, cached or plain")
        check_least("max_batch_tokens", max_batch_tokens, 1)
        self.model = model
        self.tokenizer = tokenizer
        self.requested = strategy
        self.bos = bos
        self.label_ids = label_token_ids(tokenizer, labels)
        _check_labels(labels, self.label_ids)
        with evaluating(model):
            self.capabilities = capabilities_of(model)
        self.trie = build_trie(self.label_ids)
        self.forward = Forward(model)
        self.counters = self.forward.counters
        self.prefixes = PrefixCache(self.forward, min(self.capabilities.windows, default=None))
        self.budget = max_batch_tokens or default_budget(self.forward.device)
        self.strategy: Strategy | None = None
        self.reason = ""
        self.reasons: dict[str, str] = {}
        self._batches = 0

    def __call__(self, prompts: Sequence[str]) -> LabelScores:
        """Scores the labels after each prompt.

        Args:
            prompts: Prompts.

        Returns:
            Scores in the order of prompts and labels.

        Raises:
            ValueError: A prompt has no token, or is longer than the model's context.
            UnsupportedModelError: The strategy that was asked for is not correct for this model.
        """
        return self.score_ids(prompt_token_ids(self.tokenizer, prompts, self.bos), prompts)

    def score_ids(self, rows: Sequence[list[int]], prompts: Sequence[str] | None = None) -> LabelScores:
        """Scores the labels after each prompt, as `__call__` does, from token ids.

        Args:
            rows: Token ids of each prompt, as `prompt_token_ids` gives them.
            prompts: The prompts themselves, for messages.
        """
        check_prompts(rows, self.trie.longest - 1, context_length(self.model), prompts)
        scores = LabelScores(
            log_likelihoods=torch.empty(len(rows), len(self.label_ids), dtype=torch.float64),
            logit_sums=torch.empty(len(rows), len(self.label_ids), dtype=torch.float64),
        )
        if not rows:
            return scores
        longest = max(map(len, rows)) + self.trie.longest - 1
        strategy = self._choose(longest)
        setattr(self.counters, strategy, getattr(self.counters, strategy) + len(rows))
        with torch.inference_mode(), evaluating(self.model):
            if strategy == "plain":
                self._score_plain(rows, scores)
            else:
                self._score_batches(rows, scores, longest)
        return scores

    def misread_sums(self, rows: Sequence[list[int]]) -> Tensor:
        """The sums of `textclf.scoring.as_published` from the token ids of each prompt; they are not counted as work.

        Returns:
            Sums, float64 of shape (prompts, labels).
        """
        return misread_sums(self.model, rows, self.label_ids)

    def _choose(self, longest: int) -> Strategy:
        """Chooses the strategy for rows of up to `longest` tokens, and stores the reason."""
        if self.requested == "auto":
            strategy, reason = self._first_correct(longest)
        else:
            strategy, reason = self.requested, "asked for"
            refusal = self.capabilities.refusal(strategy, longest)
            if refusal is not None:
                raise UnsupportedModelError(
                    f"{type(self.model).__name__} cannot be scored by strategy {strategy!r}: {refusal}; use 'auto'"
                )
        if (strategy, reason) != (self.strategy, self.reason):
            log.info("label scoring is %s (%s)", strategy, reason)
        self.strategy = strategy
        self.reason = reason
        self.reasons[strategy] = reason
        return strategy

    def _first_correct(self, longest: int) -> tuple[Strategy, str]:
        """The fastest strategy that is correct, and why the faster ones are not."""
        refusals: list[str] = []
        for strategy in get_args(Strategy):
            refusal = self.capabilities.refusal(strategy, longest)
            if refusal is None:
                return strategy, "; ".join(refusals) or "one pass for a prompt and all labels"
            refusals.append(f"not {strategy}: {refusal}")
        raise AssertionError("plain is correct for every model")

    def _score_plain(self, rows: Sequence[list[int]], scores: LabelScores) -> None:
        """Fills in the scores, one pass per prompt and label."""
        for i, row in enumerate(rows):
            for j, label in enumerate(self.label_ids):
                scores.log_likelihoods[i, j], scores.logit_sums[i, j] = plain_score(self.model, row, label)
                self.counters.forwards += 1
                self.counters.tokens += len(row) + len(label) - 1
                self.counters.projection_rows += len(row) + len(label) - 1

    def _score_batches(self, rows: Sequence[list[int]], scores: LabelScores, longest: int) -> None:
        """Fills in the scores batch by batch; where memory runs out, the token budget is halved for good."""
        prefix, cache = self.prefixes.prefix_of(rows)
        if prefix:
            self.counters.prefix_hits += len(rows)
        equal = prefix > 0 and self.capabilities.needs_equal_lengths(longest)
        lengths = [len(row) - prefix for row in rows]
        extra = self.trie.nodes if self.strategy == "packed" else 0
        left = by_length(lengths)
        while left:
            for start, stop in plan_batches([lengths[i] for i in left], extra, self.budget, equal, prefix):
                indices = left[start:stop]
                edges = self._try(Batch.of([rows[i] for i in indices], prefix, self.forward.device), cache)
                if edges is None:
                    self.budget = max(1, len(indices) * (lengths[indices[0]] + extra) // 2)
                    log.warning("out of memory: the token budget of a batch is now %d", self.budget)
                    break
                log_probs, logits = edges
                scores.log_likelihoods[indices] = self.trie.totals(log_probs)
                scores.logit_sums[indices] = self.trie.totals(logits)
                self._trim()
            else:  # no batch ran out of memory
                return
            left = left[start:]  # planned again, with the smaller budget

    def _trim(self) -> None:
        self._batches += 1
        if self._batches % TRIM_EVERY == 0 and self.forward.device.type == "cpu":
            trim_heap()

    def _try(self, batch: Batch, cache: Any) -> tuple[Tensor, Tensor] | None:
        """Scores a batch; None if it does not fit into memory and has more than one prompt."""
        score = packed_scores if self.strategy == "packed" else cached_scores
        try:
            return score(self.forward, batch, self.trie, cache)
        except (RuntimeError, MemoryError) as error:
            if len(batch.ids) == 1 or not is_out_of_memory(error):
                raise
        # Not within `except`: the error's traceback holds the tensors that filled the memory.
        self.counters.out_of_memory += 1
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


def _check_labels(labels: Sequence[str], label_ids: Sequence[list[int]]) -> None:
    """Refuses labels that cannot be scored, or that have the same tokens."""
    if not labels:
        raise UserError("there are no labels to score")
    for label, ids in zip(labels, label_ids, strict=True):
        if not ids:
            raise UserError(f"label {label!r} has no tokens")
    for i, j in prefix_pairs(label_ids):
        if label_ids[i] == label_ids[j]:
            raise UserError(
                f"labels {labels[i]!r} and {labels[j]!r} have the same tokens {label_ids[i]}: give labels with "
                "different tokens"
            )
