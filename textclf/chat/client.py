"""Client of an OpenAI-compatible server: concurrent requests with retries, within limits, answers from a store."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from textclf.chat.background import Background
from textclf.chat.responses import first_choice
from textclf.chat.retries import PATIENCE, PassingError, pause, retry_after
from textclf.chat.spending import Account, Limits, tokens_of
from textclf.chat.store import AnswerStore
from textclf.console import say
from textclf.errors import UserError
from textclf.parsing import parse_json
from textclf.redaction import REMOVED, SHORTEST, redacted

Request = Mapping[str, Any]
Answer = dict[str, Any]
KEY = "OPENAI_API_KEY"
ADDRESS = "OPENAI_BASE_URL"
GIVE_UP = 10
"""Number of questions without an answer, in a row or at the beginning, after which the run stops."""
KEPT = "the answers so far are stored"


def server_url(base_url: str | None) -> str:
    """The server's address: the argument, otherwise `OPENAI_BASE_URL`, otherwise OpenAI's own.

    Raises:
        UserError: It is not an http or https address, or it has a user name, a password or a query: these would be
            written to files.
    """
    name = "base_url"
    if base_url is None:
        name = ADDRESS
        base_url = os.environ.get(ADDRESS) or "https://api.openai.com/v1"
    if "@" in base_url or "?" in base_url:
        raise UserError(
            f"{name} has a user name, a password or a query: give the key in the environment variable {KEY} only"
        )
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UserError(
            f"{name} {base_url!r} is not an address: write it as http://localhost:8000/v1, with http:// or https://"
        )
    return base_url.rstrip("/")


class ChatServer:
    """A server, and the store of its answers.

    The key is read from the environment, passed to the client, and written nowhere; if the server repeats it in an
    answer or an error, it is removed from there.
    """

    def __init__(self, base_url: str | None, store: AnswerStore, limits: Limits, replay: bool = False) -> None:
        """Checks the address and the key; nothing is sent yet.

        Args:
            base_url: Address of the server; None for `OPENAI_BASE_URL`, or OpenAI's own.
            store: Where answers are stored.
            limits: Limits of the run.
            replay: Take all answers from the store; neither key nor package is needed then.

        Raises:
            UserError: The address is invalid, there is no key, or the package `openai` is missing.
        """
        self.url = server_url(base_url)
        self.store = store
        self.limits = limits
        self.replay = replay
        self.account = Account(limits)
        self._stop: UserError | None = None  # why nothing more is sent
        self._stopped = asyncio.Event()
        self._failures = 0  # in a row
        self._answered = 0
        self._doubted: list[tuple[Request, Answer]] = []  # refusals before the first answer
        if replay:
            return
        if find_spec("openai") is None or find_spec("tenacity") is None:
            raise UserError("ChatClassifier needs the package openai: pip install 'textclf[chat]'")
        self._key = os.environ.get(KEY, "").strip()
        if not self._key and not (base_url or os.environ.get(ADDRESS)):
            raise UserError(f"{KEY} is not set: export it, or pass --model.base_url of a server that needs none")
        if not (self._key.isascii() and self._key.isprintable()):
            raise UserError(f"{KEY} has characters that a key cannot have, such as a line break: export it again")
        self._background = Background()
        self._client: Any = None

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Gets an answer to each request, from the store or from the server; equal requests are sent once.

        Returns:
            The server's responses as JSON; `{"error": ...}` for a request that it rejected, or that got no response.

        Raises:
            UserError: A limit is reached, the server does not respond or rejects every request, an answer cannot be
                stored, or one is missing in a `replay`. The answers until then are stored.
        """
        keys = [json.dumps(request, sort_keys=True) for request in requests]
        unique = dict(zip(keys, requests, strict=True))
        answers: dict[str, Answer] = {}
        missing = []
        for key, request in unique.items():
            answer = self.store.get(self.url, request, self.replay)
            if answer is None:
                missing.append(key)
                continue
            answers[key] = answer
            self.account.spent.cached += 1
            self.account.add(answer, of_run=False)
        self._count_answers(sum("error" not in answer for answer in answers.values()))
        if missing and self.replay:
            raise UserError(
                f"replay: {len(missing)} of {len(unique)} questions have no answer in {str(self.store.path)!r}: "
                "run it without replay first, with the same model, prompt and base_url"
            )
        if missing:
            work = self._ask_all([unique[key] for key in missing])
            try:
                found = self._background.run(work, self._interrupt)
            except KeyboardInterrupt:
                self._stop = None  # in a notebook another question may follow
                self._stopped.clear()
                raise
            answers |= dict(zip(missing, found, strict=True))
        return [answers[key] for key in keys]

    async def _ask_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Sends requests concurrently; if one of them stops the run, the others in flight are awaited and stored."""
        if self._client is None:
            from openai import AsyncOpenAI  # optional dependency

            # The client's own retries are off: each try must be counted, and the pauses may be longer than it allows.
            self._client = AsyncOpenAI(
                api_key=self._key or "none", base_url=self.url, max_retries=0, timeout=self.limits.timeout
            )
        slots = asyncio.Semaphore(self.limits.concurrency)
        left = list(requests)
        found: list[Answer | None] = []
        # With a limit of cost, requests are sent one by one until an answer shows what one may cost.
        while left and self.account.cost_is_unknown and self._stop is None:
            found.append(await self._ask_one(left.pop(0), slots))
        tasks = [asyncio.create_task(self._ask_one(request, slots)) for request in left]
        try:
            if tasks:
                await asyncio.wait(tasks)  # unlike `gather`, it waits for all of them if one raises an error
            found += [task.result() for task in tasks]
        finally:
            for task in tasks:  # still running if this coroutine was cancelled
                task.cancel()
        if self._stop is not None:
            raise self._stop
        if not self._answered and len(self._doubted) >= GIVE_UP:
            raise UserError(
                f"{self.url} rejects every request ({_one_line(self._doubted[0][1]['error'])}): change "
                "--model.options, or pass --model.answer_format text"
            )
        return [answer for answer in found if answer is not None]  # only a run that was stopped has None

    async def _ask_one(self, request: Request, slots: asyncio.Semaphore) -> Answer | None:
        """Sends a request until there is an answer, and stores that; None if the run was stopped."""
        # Optional dependency.
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        tries = AsyncRetrying(
            retry=retry_if_exception_type(PassingError),
            stop=stop_after_attempt(1 + self.limits.max_retries),
            wait=pause,
            sleep=self._sleep,
            reraise=True,
        )
        async with slots:
            try:
                answer: Answer | None = await tries(self._try, request)
            except PassingError as error:
                answer = None
                if self._stop is None:
                    answer = self._fail(str(error))
            if answer is not None:
                try:
                    self._keep(request, answer)
                except UserError as error:  # further answers could not be stored either, and would be paid for again
                    self._halt(str(error))
        return answer

    async def _sleep(self, seconds: float) -> None:
        """Sleeps, at most until the run is stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    async def _try(self, request: Request) -> Answer | None:
        """Sends a request once; None if the run was stopped."""
        import openai  # optional dependency

        if self._stop is None and (limit := self.account.limit_reached()):
            self._halt(f"{limit}: {KEPT}; raise it and run the command again, in another run folder, to go on")
        if self._stop is not None:
            return None
        self.account.spent.requests += 1
        self.account.in_flight += 1
        try:
            async with asyncio.timeout(self.limits.timeout):
                raw = await self._client.chat.completions.with_raw_response.create(**request)
            return checked_answer(self._clean(raw.text))
        except openai.APIStatusError as error:
            return self._judge(error)
        except TimeoutError:
            raise PassingError(f"no answer in {self.limits.timeout:g} s") from None
        except openai.APIError as error:
            why = f"{error} {error.__cause__ or ''}".strip()
            raise PassingError(self._clean(why)) from None  # `error` itself may repeat the key
        except TypeError as error:  # raised by the client, before anything was sent
            self.account.spent.requests -= 1
            self._halt(
                f"options cannot be sent ({_one_line(self._clean(str(error)))}): correct the field, or put one that "
                "only this server knows under extra_body"
            )
            return None
        finally:
            self.account.in_flight -= 1

    def _judge(self, error: Any) -> Answer | None:
        """Reacts to an HTTP error: stops the run, asks for a retry, or gives the rejection of this request."""
        message = self._clean(str(error))
        wait = retry_after(error.response.headers)
        if error.status_code in (401, 402, 403, 404):
            self._halt(
                f"{self.url} refuses ({message}): check {KEY} and its account, --model.base_url and --model.model"
            )
        elif error.code == "insufficient_quota":  # status 429 too, but waiting does not help
            self._halt(f"{self.url} refuses ({message}): {KEPT}")
        elif error.status_code in (408, 409, 429) or error.status_code >= 500:
            if wait is None or wait <= PATIENCE:
                raise PassingError(message, wait) from None  # `error` itself may repeat the key
            self._halt(f"{self.url} asks to wait {wait:.0f} s: {KEPT}; run the same command again then")
        else:
            return {"error": message}
        return None

    def _keep(self, request: Request, answer: Answer) -> None:
        """Adds an answer to the account, and stores it.

        A rejection is final only if the server has answered some request: otherwise the command itself may be wrong.
        """
        self.account.add(answer, of_run=True)
        if "error" not in answer:
            self._failures = 0
            self._count_answers(1)
        elif "again" not in answer:
            if self.account.spent.refused == 1:
                say(f"the server rejected a question ({_one_line(answer['error'])}): it counts as invalid")
            if not self._answered:
                self._doubted.append((request, answer))
                answer = {**answer, "again": "refused"}
        self.store.put(self.url, request, answer)
        if self.limits.max_cost is not None and "error" not in answer and not any(tokens_of(answer)):
            self._halt(f"max_cost cannot be kept: {self.url} does not report tokens; give max_requests instead")

    def _count_answers(self, answers: int) -> None:
        """Counts answers; with the first one, earlier rejections become final."""
        self._answered += answers
        if self._answered:
            for refused in self._doubted:
                self.store.put(self.url, *refused)
            self._doubted.clear()

    def _fail(self, message: str) -> Answer:
        """Notes a question without an answer; stops the run after many in a row."""
        self._failures += 1
        why = _one_line(message)
        if self.account.spent.failed == 0:
            say(f"a question got no answer ({why}): it counts as invalid, and is asked again next time")
        if self._failures >= GIVE_UP:
            self._halt(
                f"{self.url} gave no answer to {self._failures} questions in a row ({why}): {KEPT}; check the server "
                "and run the same command again"
            )
        return {"error": why, "again": "failed"}

    def _halt(self, why: str) -> None:
        """Stops the run: nothing more is sent."""
        self._stop = self._stop or UserError(_one_line(why, 1000))
        self._stopped.set()

    def _interrupt(self) -> None:
        say("waiting for the answers that are in flight (Ctrl-C again drops them)")
        self._halt("stopped")

    def _clean(self, text: str) -> str:
        """A text of the server without the key, and without the passwords of a proxy."""
        text = redacted(text)
        return text.replace(self._key, REMOVED) if len(self._key) >= SHORTEST else text

    def close(self) -> None:
        """Ends the connections."""
        if not self.replay:
            if self._client is not None:
                self._background.run(self._client.close())
                self._client = None
            self._background.close()


def checked_answer(text: str) -> Answer:
    """The response as JSON, if it has a message or was paid for.

    Raises:
        PassingError: It has neither a message nor a count of tokens; a retry may give another response.
    """
    no_completion = PassingError(f"the answer is not a chat completion: {text[:80]!r}")
    try:
        answer = parse_json(text)
    except ValueError as error:
        raise no_completion from error
    if not isinstance(answer, dict):
        raise no_completion
    has_message = isinstance(first_choice(answer).get("message"), dict)
    if not has_message and not any(tokens_of(answer)):
        raise no_completion
    # These two fields are the store's own.
    return {name: value for name, value in answer.items() if name not in ("error", "again")}


def _one_line(message: str, longest: int = 200) -> str:
    return " ".join(message.split())[:longest]
