"""What a run asks and what it costs, and how far it may go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Spent:
    """What was asked, and what it cost.

    Attributes:
        requests: Sent in this run, each try counted.
        cached: Answers that were there already.
        failed: Questions that came to nothing, whatever was tried; they are asked again another time.
        refused: Questions that the server would not take.
        prompt_tokens: Of all answers, those that were there already included.
        completion_tokens: The same.
        cost: The same, in the currency of the prices.
        cost_of_run: Of the answers to what was sent in this run.
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
    """How much may be asked in a run.

    Attributes:
        concurrency: Questions at once.
        timeout: Seconds for one try.
        max_retries: Tries after the first.
        max_requests: Tries of the run; None for any number.
        max_cost: Of the run; None for any.
        prices: Of a million tokens, of the prompt and of the answer.
    """

    concurrency: int = 8
    timeout: float = 60.0
    max_retries: int = 6
    max_requests: int | None = None
    max_cost: float | None = None
    prices: tuple[float, float] = (0.0, 0.0)


def tokens_of(answer: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of the prompt, and of all that the model wrote; 0 where an answer does not tell.

    Some servers leave reasoning out of `completion_tokens`, and count it in `total_tokens` alone.
    """
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return 0, 0
    asked = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    written = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    return asked, max(written, _count(usage.get("total_tokens")) - asked)


def _count(value: Any) -> int:
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else 0


class Account:
    """Adds up what answers cost, and tells when the next question would break a limit.

    Attributes:
        spent: So far.
        in_flight: Tries under way.
    """

    def __init__(self, limits: Limits) -> None:
        """Takes the limits."""
        self.limits, self.spent, self.in_flight = limits, Spent(), 0
        self._dearest = 0.0

    @property
    def blind(self) -> bool:
        """Whether a cost is to be kept, and no answer has told yet what one may cost."""
        return self.limits.max_cost is not None and not self._dearest

    def add(self, answer: Mapping[str, Any], of_run: bool) -> None:
        """Adds up an answer's tokens and cost.

        Args:
            answer: The server's, or `{"error": ...}`.
            of_run: Whether it was asked for in this run.
        """
        if "error" in answer:
            self.spent.failed += answer.get("again") == "failed"
            self.spent.refused += answer.get("again") != "failed"
        asked, written = tokens_of(answer)
        cost = (asked * self.limits.prices[0] + written * self.limits.prices[1]) / 1e6
        self.spent.prompt_tokens += asked
        self.spent.completion_tokens += written
        self.spent.cost += cost
        self.spent.cost_of_run += cost if of_run else 0.0
        self._dearest = max(self._dearest, cost)

    def limit_reached(self) -> str | None:
        """The limit that one more try might break; what is under way may cost as much as the dearest answer so far."""
        most, dear, spent = self.limits.max_requests, self.limits.max_cost, self.spent
        if most is not None and spent.requests >= most:
            return f"max_requests {most} is reached"
        if dear is not None and spent.cost_of_run + (self.in_flight + 1) * self._dearest > dear:
            waiting = f", {self.in_flight} under way" if self.in_flight else ""
            return f"max_cost {dear} is reached ({spent.cost_of_run:.6f} spent{waiting})"
        return None

    def figures(self) -> dict[str, float]:
        """What was spent, by name; costs are NaN where no prices are given."""
        costs = {} if any(self.limits.prices) else {"cost": float("nan"), "cost_of_run": float("nan")}
        return {**asdict(self.spent), **costs}

    def summary(self) -> str:
        """Tokens and cost in words."""
        spent = self.spent
        cost = f"cost {spent.cost:.4f}, of this run {spent.cost_of_run:.4f}"
        tokens = f"{spent.prompt_tokens:,} tokens asked, {spent.completion_tokens:,} answered"
        return f"{tokens}; {cost if any(self.limits.prices) else 'no prices given'}"
