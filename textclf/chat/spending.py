"""Counts of requests, tokens and cost, and the limits of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST_TOKENS = 2**53
"""Larger counts of tokens, which no answer has, are not believed."""


@dataclass
class Spent:
    """Counts of requests, tokens and cost.

    Attributes:
        requests: Requests that were sent in this run, every try counted.
        cached: Answers that were found in the store.
        failed: Questions without an answer after all retries; the next run asks them again.
        refused: Questions that the server rejected.
        prompt_tokens: Tokens of the prompts of all answers, those from the store included.
        completion_tokens: Tokens of all answers, those from the store included.
        cost: Cost of all answers, those from the store included, in the currency of the prices.
        cost_of_run: Cost of the answers to the requests of this run.
    """

    requests: int = 0
    cached: int = 0
    failed: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    cost_of_run: float = 0.0


@dataclass(frozen=True)
class Limits:
    """Limits of a run.

    Attributes:
        concurrency: Number of requests at the same time.
        timeout: Seconds for one attempt.
        max_retries: Attempts after the first.
        max_requests: Attempts of the whole run; None for no limit.
        max_cost: Cost of the run; None for no limit.
        prices: Prices of a million tokens, of the prompt and of the answer.
    """

    concurrency: int = 8
    timeout: float = 60.0
    max_retries: int = 6
    max_requests: int | None = None
    max_cost: float | None = None
    prices: tuple[float, float] = (0.0, 0.0)


def tokens_of(answer: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of tokens of the prompt, and of everything that the model generated; 0 if a response has no counts.

    Some servers count the tokens of the reasoning not in `completion_tokens`, but only in `total_tokens`.
    """
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return 0, 0
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    completion = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    total = _count(usage.get("total_tokens"))
    return prompt, max(completion, total - prompt)


def _count(value: Any) -> int:
    """A count of tokens; 0 for what cannot be one."""
    if isinstance(value, int | float) and 0 < value < MOST_TOKENS:
        return int(value)
    return 0


class Account:
    """Adds up the cost of answers, and detects that the next request could exceed a limit.

    Attributes:
        limits: The limits.
        spent: What was spent so far.
        in_flight: Number of tries that wait for a response.
    """

    def __init__(self, limits: Limits) -> None:
        """Takes the limits."""
        self.limits = limits
        self.spent = Spent()
        self.in_flight = 0
        self._highest_cost = 0.0

    @property
    def cost_is_unknown(self) -> bool:
        """Whether there is a limit of cost, but no answer yet from which the cost of one could be known."""
        return self.limits.max_cost is not None and not self._highest_cost

    def add(self, answer: Mapping[str, Any], of_run: bool) -> None:
        """Adds an answer's tokens and cost.

        Args:
            answer: The server's response, or `{"error": ...}`.
            of_run: Whether this run sent the request.
        """
        if "error" in answer:
            if answer.get("again") == "failed":
                self.spent.failed += 1
            else:
                self.spent.refused += 1
        prompt, completion = tokens_of(answer)
        prompt_price, completion_price = self.limits.prices
        cost = (prompt * prompt_price + completion * completion_price) / 1e6
        self.spent.prompt_tokens += prompt
        self.spent.completion_tokens += completion
        self.spent.cost += cost
        if of_run:
            self.spent.cost_of_run += cost
        self._highest_cost = max(self._highest_cost, cost)

    def limit_reached(self) -> str | None:
        """The limit that one more try could exceed, in words; None if it can exceed none.

        Every response that is waited for may cost as much as the most expensive answer so far.
        """
        max_requests = self.limits.max_requests
        max_cost = self.limits.max_cost
        spent = self.spent
        if max_requests is not None and spent.requests >= max_requests:
            return f"max_requests {max_requests} is reached"
        if max_cost is not None and spent.cost_of_run + (self.in_flight + 1) * self._highest_cost > max_cost:
            waiting = f", {self.in_flight} under way" if self.in_flight else ""
            return f"max_cost {max_cost} is reached ({spent.cost_of_run:.6f} spent{waiting})"
        return None

    def figures(self) -> dict[str, float]:
        """What was spent, by name; costs are NaN if no prices are given."""
        figures = asdict(self.spent)
        if not any(self.limits.prices):
            figures |= {"cost": math.nan, "cost_of_run": math.nan}
        return figures

    def summary(self) -> str:
        """Tokens and cost in words."""
        spent = self.spent
        tokens = f"{spent.prompt_tokens:,} tokens asked, {spent.completion_tokens:,} answered"
        if not any(self.limits.prices):
            return f"{tokens}; no prices given"
        return f"{tokens}; cost {spent.cost:.4f}, of this run {spent.cost_of_run:.4f}"
