"""How likely a causal language model finds each label after a prompt."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from textclf.errors import UserError
from textclf.hardware.memory import trim_heap
from textclf.scoring.capabilities import Strategy, UnsupportedModelError, support_of
from textclf.scoring.forward import Batch, Forward, check_prompts, context_length, evaluating
from textclf.scoring.kv_cache import PrefixCache
from textclf.scoring.planning import by_length, default_budget, is_out_of_memory, plan_batches
from textclf.scoring.strategies import cached_scores, packed_scores, plain_score
from textclf.scoring.tokens import Bos, label_token_ids, prompt_token_ids
from textclf.scoring.trie import build_trie, one_begins_another
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TRIM_EVERY = 4  # batches; without it, memory grows with the number of prompts on some systems


@dataclass(frozen=True)
class LabelScores:
    """Scores of labels after prompts.

    Attributes:
        log_likelihoods: Sum of each label's token log-probabilities in nats, float64 of shape (prompts, labels).
        logit_sums: Sum of its tokens' raw logits, read at the same places, float64 of the same shape.
    """

    log_likelihoods: Tensor
    logit_sums: Tensor


def label_log_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    labels: Sequence[str],
    *,
    strategy: Literal["auto", "packed", "cached", "plain"] = "auto",
    max_batch_tokens: int | None = None,
) -> Tensor:
    """Scores every label after every prompt.

    Args:
        model: A causal language model as transformers ships it.
        tokenizer: Its tokenizer; its padding side does not matter.
        prompts: Prompts, tokenised with the tokenizer's own special tokens: one BOS at most, no appended EOS.
        labels: Labels, tokenised without special tokens, exactly as written (a leading space is the caller's).
        strategy: `packed`, `cached` or `plain`; `auto` takes the first of them that is right for this model.
        max_batch_tokens: Tokens of a forward pass; by default what suits the device. One prompt may exceed it.

    Returns:
        Summed token log-likelihoods in nats, float64 of shape (prompts, labels).

    Raises:
        ValueError: A prompt is longer than the model's context, a prompt or label has no token, or two labels have the
            same tokens.
        UnsupportedModelError: The strategy is not right for this model.
    """
    return LabelScorer(model, tokenizer, labels, strategy=strategy, max_batch_tokens=max_batch_tokens)(
        prompts
    ).log_likelihoods


class LabelScorer:
    """Scores fixed labels, and keeps the prompts' common prefix and its counters between calls.

    The kept prefix is void once the model's weights change: make a new scorer, or call `prefixes.clear`.

    Attributes:
        counters: Work done so far.
        strategy: The strategy that the last call took.
        reason: Why it took that one.
        reasons: Why each strategy that any call took was last taken.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        *,
        strategy: Literal["auto", "packed", "cached", "plain"] = "auto",
        max_batch_tokens: int | None = None,
        bos: Bos = "tokenizer",
    ) -> None:
        """Takes what `label_log_likelihoods` takes, save the prompts; and the policy of BOS (`prompt_token_ids`).

        Raises:
            ValueError: An unknown strategy, a budget below 1, no label, a label without tokens, or two with the same.
            UnsupportedModelError: The model is no causal language model.
        """
        if strategy not in ("auto", *get_args(Strategy)):
            raise UserError(f"strategy is {strategy!r}: choose auto, packed, cached or plain")
        if max_batch_tokens is not None and max_batch_tokens < 1:
            raise UserError(f"max_batch_tokens is {max_batch_tokens}: it must be 1 or more")
        if not labels:
            raise UserError("there are no labels to score")
        self.model, self.tokenizer, self.wish, self.bos = model, tokenizer, strategy, bos
        self.label_ids = label_token_ids(tokenizer, labels)
        if not all(self.label_ids):
            raise UserError(f"label {labels[self.label_ids.index([])]!r} has no tokens")
        for i, j in one_begins_another(self.label_ids):
            if self.label_ids[i] == self.label_ids[j]:
                same = f"labels {labels[i]!r} and {labels[j]!r} have the same tokens {self.label_ids[i]}"
                raise UserError(f"{same}: give labels that the tokenizer tells apart")
        with evaluating(model):
            self.support = support_of(model)
        self.trie = build_trie(self.label_ids)
        self.forward = Forward(model)
        self.counters = self.forward.counters
        self.prefixes = PrefixCache(self.forward, min(self.support.windows, default=None))
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
            UnsupportedModelError: The strategy that was asked for is not right for this model.
        """
        rows = prompt_token_ids(self.tokenizer, prompts, self.bos)
        check_prompts(rows, prompts, self.trie.longest - 1, context_length(self.model))
        empty = torch.empty(len(rows), len(self.label_ids), dtype=torch.float64)
        scores = LabelScores(empty, empty.clone())
        if rows:
            longest = max(map(len, rows)) + self.trie.longest - 1
            strategy = self._choose(longest)
            setattr(self.counters, strategy, getattr(self.counters, strategy) + len(rows))
            with torch.inference_mode(), evaluating(self.model):
                self._plain(rows, scores) if strategy == "plain" else self._batched(rows, scores, longest)
        return scores

    def _choose(self, longest: int) -> Strategy:
        """Settles the strategy for rows of up to `longest` tokens, and says why."""
        if self.wish != "auto":
            if reason := self.support.against(self.wish, longest):
                raise UnsupportedModelError(
                    f"{type(self.model).__name__} cannot be scored by strategy {self.wish!r}: {reason}; use 'auto'"
                )
            strategy, reason = self.wish, "asked for"
        else:
            refusals = {name: self.support.against(name, longest) for name in get_args(Strategy)}
            strategy = next(name for name, refusal in refusals.items() if refusal is None)
            reason = "; ".join(f"not {name}: {refusal}" for name, refusal in refusals.items() if refusal)
            reason = reason or "one pass for a prompt and all labels"
        if (strategy, reason) != (self.strategy, self.reason):
            log.info("label scoring is %s (%s)", strategy, reason)
        self.strategy, self.reason = strategy, reason
        self.reasons[strategy] = reason
        return strategy

    def _plain(self, rows: list[list[int]], scores: LabelScores) -> None:
        """Fills in the scores, one pass per prompt and label."""
        for i, row in enumerate(rows):
            for j, label in enumerate(self.label_ids):
                scores.log_likelihoods[i, j], scores.logit_sums[i, j] = plain_score(self.model, row, label)
                self.counters.forwards += 1
                self.counters.tokens += len(row) + len(label) - 1
                self.counters.projection_rows += len(row) + len(label) - 1

    def _batched(self, rows: list[list[int]], scores: LabelScores, longest: int) -> None:
        """Fills in the scores batch by batch; where memory runs out, the token budget is halved for good."""
        prefix, cache = self.prefixes.prefix_of(rows)
        self.counters.prefix_hits += len(rows) if prefix else 0
        equal = prefix > 0 and self.support.equal_lengths(longest)
        lengths = [len(row) - prefix for row in rows]
        extra = self.trie.nodes if self.strategy == "packed" else 0
        left = by_length(lengths)
        while left:
            for start, stop in plan_batches([lengths[i] for i in left], extra, self.budget, equal, prefix):
                picked = left[start:stop]
                edges = self._try(Batch.of([rows[i] for i in picked], prefix, self.forward.device), cache)
                if edges is None:
                    self.budget = max(1, len(picked) * (lengths[picked[0]] + extra) // 2)
                    log.warning("out of memory: the token budget of a batch is now %d", self.budget)
                    break
                scores.log_likelihoods[picked], scores.logit_sums[picked] = map(self.trie.totals, edges)
                self._trim()
            else:
                return
            left = left[start:]

    def _trim(self) -> None:
        self._batches += 1
        if self._batches % TRIM_EVERY == 0 and self.forward.device.type == "cpu":
            trim_heap()

    def _try(self, batch: Batch, cache: Any) -> tuple[Tensor, Tensor] | None:
        """Runs a batch; None if it does not fit into memory and has more than one prompt."""
        run = packed_scores if self.strategy == "packed" else cached_scores
        try:
            return run(self.forward, batch, self.trie, cache)
        except (RuntimeError, MemoryError) as error:
            if len(batch.ids) == 1 or not is_out_of_memory(error):
                raise
        # Not before here: the error's traceback holds what filled the memory.
        self.counters.out_of_memory += 1
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None
