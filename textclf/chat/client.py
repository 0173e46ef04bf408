"""Asking an OpenAI-compatible server: many questions at once, each until it is answered, within limits."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import Any, TypeVar

from textclf.chat.store import AnswerStore
from textclf.console import say
from textclf.errors import UserError

T = TypeVar("T")
Request = Mapping[str, Any]
Answer = dict[str, Any]
KEY = "OPENAI_API_KEY"
BACKOFF, LONGEST = 1.0, 60.0
"""Seconds that a first retry waits at most, and a later one; each draws its own share."""
GIVE_UP = 10
"""Questions in a row that come to nothing before the server is held for lost."""


@dataclass
class Spent:
    """What was asked, and what it cost.

    Attributes:
        requests: Sent in this run, each try counted.
        cached: Answers that were there already.
        failed: Questions that came to nothing, whatever was tried; they are not kept, and asked again another time.
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


class PassingError(Exception):
    """Something that may be over at the next try.

    Attributes:
        wait: Seconds that the server asks to wait, or None.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        """Takes what happened."""
        super().__init__(message)
        self.wait = wait


class ChatServer:
    """A server, and the store of its answers.

    The key is read from the environment, given to the client, and kept nowhere else; should the server write it into an
    answer or an error, it is struck out there.
    """

    def __init__(self, base_url: str | None, store: AnswerStore, limits: Limits, replay: bool = False) -> None:
        """Takes the address (None: `OPENAI_BASE_URL`, else OpenAI's own).

        Raises:
            UserError: There is no key, or the package `openai` is missing; with `replay` neither is needed.
        """
        own = os.environ.get("OPENAI_BASE_URL")
        self.url = (base_url or own or "https://api.openai.com/v1").rstrip("/")
        self.store, self.limits, self.replay = store, limits, replay
        self.spent = Spent()
        self._stop: UserError | None = None
        self._in_flight, self._failures, self._answered, self._dearest = 0, 0, 0, 0.0
        if replay:
            return
        if find_spec("openai") is None or find_spec("tenacity") is None:
            raise UserError("ChatClassifier needs the package openai: pip install 'textclf[chat]'")
        self._key = os.environ.get(KEY, "")
        if not self._key and not (base_url or own):
            raise UserError(f"{KEY} is not set: export it, or pass --model.base_url of a server that needs none")
        self._background = Background()
        self._client: Any = None

    def ask(self, requests: Sequence[Request]) -> list[Answer | None]:
        """Gets an answer to each request, from the store or from the server; equal ones are asked once.

        Returns:
            The server's answers as JSON; `{"error": ...}` where it would not take the request; None where it came to
            nothing.

        Raises:
            UserError: A limit is reached, the server is lost or takes no request at all, or `replay` lacks an answer.
                What was answered until then is kept.
        """
        keys = [json.dumps(request, sort_keys=True) for request in requests]
        unique = dict(zip(keys, requests, strict=True))
        known = {key: answer for key, request in unique.items() if (answer := self.store.get(self.url, request))}
        missing = [key for key in unique if key not in known]
        self.spent.cached += len(known)
        for answer in known.values():
            self._account(answer)
        if missing and self.replay:
            raise UserError(
                f"replay: {len(missing)} of {len(unique)} questions have no answer in {str(self.store.path)!r}: "
                "run it without replay first, with the same model, prompt and base_url"
            )
        answers: dict[str, Answer | None] = dict(known)
        if missing:
            found = self._background.run(self._ask_all([unique[key] for key in missing]))
            answers |= dict(zip(missing, found, strict=True))
        return [answers[key] for key in keys]

    async def _ask_all(self, requests: Sequence[Request]) -> list[Answer | None]:
        """Asks as many at once as may be; where one stops the run, those under way are awaited and kept."""
        if self._client is None:
            from openai import AsyncOpenAI

            # Retries are ours: each must be counted, and a server may ask for longer pauses than the client takes.
            self._client = AsyncOpenAI(
                api_key=self._key or "none", base_url=self.url, max_retries=0, timeout=self.limits.timeout
            )
        slots = asyncio.Semaphore(self.limits.concurrency)
        tasks = [asyncio.create_task(self._ask_one(request, slots)) for request in requests]
        await asyncio.wait(tasks)  # all of them, whatever one says
        answers = [task.result() for task in tasks]
        refusals = [(r, a) for r, a in zip(requests, answers, strict=True) if a is not None and "error" in a]
        if refusals and not self._answered:
            raise UserError(f"{self.url} takes no request ({refusals[0][1]['error']}): change what is asked for")
        for request, answer in refusals:
            self._account(answer)
            self.store.put(self.url, request, answer)
        if self._stop is not None:
            raise self._stop
        return answers

    async def _ask_one(self, request: Request, slots: asyncio.Semaphore) -> Answer | None:
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        tries = AsyncRetrying(
            retry=retry_if_exception_type(PassingError),
            stop=stop_after_attempt(1 + self.limits.max_retries),
            wait=_pause,
            reraise=True,
        )
        async with slots:
            try:
                answer: Answer | None = await tries(self._try, request)
            except PassingError as error:
                self._fail(str(error))
                return None
        if answer is not None and "error" not in answer:
            self._failures, self._answered = 0, self._answered + 1
            self._account(answer, self.limits.prices)
            self.store.put(self.url, request, answer)
        return answer

    async def _try(self, request: Request) -> Answer | None:
        """Sends a request once; None where the run has been stopped."""
        import openai

        self._check_limits()
        if self._stop is not None:
            return None
        self.spent.requests += 1
        self._in_flight += 1
        try:
            async with asyncio.timeout(self.limits.timeout):
                raw = await self._client.chat.completions.with_raw_response.create(**request)
            return _checked(self._clean(raw.text))
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            self._stop = UserError(
                f"{self.url} refuses ({self._clean(str(error))}): check {KEY}, --model.base_url and --model.model"
            )
            return None
        except openai.APIStatusError as error:
            if error.code == "insufficient_quota":  # a 429 that does not pass
                self._stop = UserError(f"{self.url} refuses ({self._clean(str(error))}): what was answered is kept")
                return None
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                raise PassingError(self._clean(str(error)), _retry_after(error.response.headers)) from None
            return {"error": self._clean(str(error))}
        except (openai.APIError, TimeoutError) as error:
            raise PassingError(self._clean(str(error)) or "no answer in time") from None
        finally:
            self._in_flight -= 1

    def _check_limits(self) -> None:
        most, dear = self.limits.max_requests, self.limits.max_cost
        again = "what was answered is kept; raise it and run the command again, in another run folder, to go on"
        if self._stop is None and most is not None and self.spent.requests >= most:
            self._stop = UserError(f"max_requests {most} is reached: {again}")
        # What is under way may cost as much as the dearest answer so far.
        expected = self.spent.cost_of_run + (self._in_flight + 1) * self._dearest
        if self._stop is None and dear is not None and expected > dear:
            self._stop = UserError(f"max_cost {dear} is reached ({self.spent.cost_of_run:.6f} spent): {again}")

    def _fail(self, message: str) -> None:
        """Notes a question that came to nothing; stops the run where many in a row do."""
        self.spent.failed += 1
        self._failures += 1
        if self.spent.failed == 1:
            say(
                f"a question came to nothing ({_one_line(message)}): it counts as invalid, and is asked again next time"
            )
        if self._failures >= GIVE_UP and self._stop is None:
            self._stop = UserError(
                f"{self.url} gave no answer to {self._failures} questions in a row ({_one_line(message)}): what was "
                "answered is kept; see to the server and run the same command again"
            )

    def _account(self, answer: Answer, prices: tuple[float, float] | None = None) -> None:
        """Adds up an answer's tokens and cost; `prices` where it was asked for in this run."""
        self.spent.refused += "error" in answer
        usage = answer.get("usage") or {}
        asked, written = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        cost = (asked * self.limits.prices[0] + written * self.limits.prices[1]) / 1e6
        self.spent.prompt_tokens += asked
        self.spent.completion_tokens += written
        self.spent.cost += cost
        if prices is not None:
            self.spent.cost_of_run += cost
            self._dearest = max(self._dearest, cost)
            if self.limits.max_cost is not None and not usage and self._stop is None:
                self._stop = UserError(
                    f"max_cost cannot be kept: {self.url} does not tell its tokens; give max_requests instead"
                )

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def close(self) -> None:
        """Ends the connections."""
        if not self.replay:
            if self._client is not None:
                self._background.run(self._client.close())
                self._client = None
            self._background.close()


class Background:
    """An event loop in a thread of its own, so that a caller may have one too (as notebooks do)."""

    def __init__(self) -> None:
        """Starts it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it to its end; what interrupts the caller ends it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def close(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _pause(state: Any) -> float:
    """Seconds until the next try: what the server asks for and a little more, else a random share of a growing time."""
    wait: float | None = state.outcome.exception().wait
    if wait is None:
        return random.uniform(0, min(LONGEST, BACKOFF * 2 ** (state.attempt_number - 1)))
    if wait > LONGEST:
        say(f"the server asks to wait {wait:.0f} s")
    return wait * random.uniform(1, 1.1)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a `Retry-After` asks for, given as such or as a date; None where there is none."""
    given = headers.get("retry-after", "")
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return None


def _checked(text: str) -> Answer:
    """An answer as JSON; anything else may be better at the next try."""
    try:
        answer = json.loads(text)
        content = answer["choices"][0]["message"].get("content")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise PassingError(f"the answer is no chat completion: {text[:80]!r}") from None
    if content is not None and not isinstance(content, str):
        raise PassingError(f"the answer's content is no text: {text[:80]!r}")
    checked: Answer = answer
    return checked


def _one_line(message: str) -> str:
    return " ".join(message.split())[:200]
