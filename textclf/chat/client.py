"""Asking an OpenAI-compatible server: many questions at once, each until it is answered, within limits."""

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

Request = Mapping[str, Any]
Answer = dict[str, Any]
KEY, ADDRESS = "OPENAI_API_KEY", "OPENAI_BASE_URL"
GIVE_UP = 10
"""Questions in a row that come to nothing, or first ones that are refused, before the server is held for lost."""
SHORTEST_SECRET = 8
"""Signs of a key that is struck out, at least; a shorter one is a dummy ('none', 'x'), and may stand in any answer."""
KEPT = "what was answered is kept"


def server_url(base_url: str | None) -> str:
    """The server's address: the one given, else `OPENAI_BASE_URL`, else OpenAI's own.

    Raises:
        UserError: It is no address of the web, or holds a name, a password or a query, which would be written down.
    """
    name = "base_url" if base_url is not None else ADDRESS
    url = base_url if base_url is not None else os.environ.get(ADDRESS) or "https://api.openai.com/v1"
    if "@" in url or "?" in url:
        raise UserError(f"{name} holds more than an address: give the key as {KEY} in the environment alone")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise UserError(f"{name} {url!r} is no address: write it as http://localhost:8000/v1, with http:// or https://")
    return url.rstrip("/")


class ChatServer:
    """A server, and the store of its answers.

    The key is read from the environment, given to the client, and kept nowhere else; should the server write it into an
    answer or an error, it is struck out there.
    """

    def __init__(self, base_url: str | None, store: AnswerStore, limits: Limits, replay: bool = False) -> None:
        """Takes the address (None: `OPENAI_BASE_URL`, else OpenAI's own).

        Raises:
            UserError: The address is none, there is no key, or the package `openai` is missing; with `replay` neither
                key nor package is needed.
        """
        self.url = server_url(base_url)
        self.store, self.limits, self.replay = store, limits, replay
        self.account = Account(limits)
        self._stop: UserError | None = None
        self._stopped = asyncio.Event()
        self._failures, self._answered = 0, 0
        self._doubted: list[tuple[Request, Answer]] = []
        if replay:
            return
        if find_spec("openai") is None or find_spec("tenacity") is None:
            raise UserError("ChatClassifier needs the package openai: pip install 'textclf[chat]'")
        self._key = os.environ.get(KEY, "").strip()
        if not self._key and not (base_url or os.environ.get(ADDRESS)):
            raise UserError(f"{KEY} is not set: export it, or pass --model.base_url of a server that needs none")
        if not (self._key.isascii() and self._key.isprintable()):
            raise UserError(f"{KEY} holds signs that no key has, such as a line break: export it again")
        self._background = Background()
        self._client: Any = None

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Gets an answer to each request, from the store or from the server; equal ones are asked once.

        Returns:
            The server's answers as JSON; `{"error": ...}` where it would not take the request, or it came to nothing.

        Raises:
            UserError: A limit is reached, the server is lost or takes no request at all, or `replay` lacks an answer.
                What was answered until then is kept.
        """
        keys = [json.dumps(request, sort_keys=True) for request in requests]
        unique = dict(zip(keys, requests, strict=True))
        stored = ((key, self.store.get(self.url, request, self.replay)) for key, request in unique.items())
        answers = {key: answer for key, answer in stored if answer is not None}
        missing = [key for key in unique if key not in answers]
        self.account.spent.cached += len(answers)
        for answer in answers.values():
            self.account.add(answer, of_run=False)
        self._trust(sum("error" not in answer for answer in answers.values()))
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
        """Asks as many at once as may be; where one stops the run, those under way are awaited and kept."""
        if self._client is None:
            from openai import AsyncOpenAI

            # Retries are ours: each must be counted, and a server may ask for longer pauses than the client takes.
            self._client = AsyncOpenAI(
                api_key=self._key or "none", base_url=self.url, max_retries=0, timeout=self.limits.timeout
            )
        slots, left = asyncio.Semaphore(self.limits.concurrency), list(requests)
        found: list[Answer | None] = []
        while left and self.account.blind and self._stop is None:  # one alone tells what one costs
            found.append(await self._ask_one(left.pop(0), slots))
        tasks = [asyncio.create_task(self._ask_one(request, slots)) for request in left]
        try:
            if tasks:
                await asyncio.wait(tasks)  # all of them, whatever one says
            found += [task.result() for task in tasks]
        finally:
            for task in tasks:  # where this was given up
                task.cancel()
        if self._stop is not None:
            raise self._stop
        if not self._answered and len(self._doubted) >= GIVE_UP:
            raise UserError(
                f"{self.url} takes no request ({_one_line(self._doubted[0][1]['error'])}): change what is asked for, "
                "by --model.answer_format text or --model.options"
            )
        return [answer for answer in found if answer is not None]  # None is there in a stopped run alone

    async def _ask_one(self, request: Request, slots: asyncio.Semaphore) -> Answer | None:
        """Asks until there is an answer, and keeps it; None where the run has been stopped."""
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
                answer = None if self._stop is not None else self._fail(str(error))
            if answer is not None:
                self._keep(request, answer)
        return answer

    async def _sleep(self, seconds: float) -> None:
        """Sleeps, but no longer than the run goes on."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    async def _try(self, request: Request) -> Answer | None:
        """Sends a request once; None where the run has been stopped."""
        import openai

        if self._stop is None and (limit := self.account.limit_reached()):
            self._halt(f"{limit}: {KEPT}; raise it and run the command again, in another run folder, to go on")
        if self._stop is not None:
            return None
        self.account.spent.requests += 1
        self.account.in_flight += 1
        try:
            async with asyncio.timeout(self.limits.timeout):
                raw = await self._client.chat.completions.with_raw_response.create(**request)
            return _checked(self._clean(raw.text))
        except openai.APIStatusError as error:
            return self._judge(error)
        except (openai.APIError, TimeoutError) as error:
            why = f"{error} {error.__cause__ or ''}".strip() or "no answer in time"
            raise PassingError(self._clean(why)) from None  # `error` itself may repeat the key
        except TypeError as error:  # the client's: nothing was sent
            self.account.spent.requests -= 1
            self._halt(
                f"options cannot be sent ({_one_line(self._clean(str(error)))}): mend the field, or put one that is "
                "the server's own under extra_body"
            )
            return None
        finally:
            self.account.in_flight -= 1

    def _judge(self, error: Any) -> Answer | None:
        """What a status other than 200 means: stop, try again, or this question is refused."""
        message, wait = self._clean(str(error)), retry_after(error.response.headers)
        if error.status_code in (401, 402, 403, 404):
            self._halt(
                f"{self.url} refuses ({message}): check {KEY} and its account, --model.base_url and --model.model"
            )
        elif error.code == "insufficient_quota":  # a 429 that does not pass
            self._halt(f"{self.url} refuses ({message}): {KEPT}")
        elif error.status_code in (408, 409, 429) or error.status_code >= 500:
            if wait is None or wait <= PATIENCE:
                raise PassingError(message, wait) from None  # `error` itself may repeat the key
            self._halt(f"{self.url} asks to wait {wait:.0f} s: {KEPT}; run the same command again then")
        else:
            return {"error": message}
        return None

    def _keep(self, request: Request, answer: Answer) -> None:
        """Adds up an answer, and stores it.

        A refusal holds for good only where the server has answered something: else the whole command may be wrong.
        """
        self.account.add(answer, of_run=True)
        if "error" not in answer:
            self._failures = 0
            self._trust(1)
        elif "again" not in answer:
            if self.account.spent.refused == 1:
                say(f"the server would not take a question ({_one_line(answer['error'])}): it counts as invalid")
            if not self._answered:
                self._doubted.append((request, answer))
                answer = {**answer, "again": "refused"}
        self.store.put(self.url, request, answer)
        if self.limits.max_cost is not None and "error" not in answer and not any(tokens_of(answer)):
            self._halt(f"max_cost cannot be kept: {self.url} does not tell its tokens; give max_requests instead")

    def _trust(self, answers: int) -> None:
        """Notes that there are answers: with the first one, earlier refusals hold."""
        self._answered += answers
        if self._answered:
            for refused in self._doubted:
                self.store.put(self.url, *refused)
            self._doubted.clear()

    def _fail(self, message: str) -> Answer:
        """Notes a question that came to nothing; stops the run where many in a row do."""
        self._failures += 1
        why = _one_line(message)
        if self.account.spent.failed == 0:
            say(f"a question came to nothing ({why}): it counts as invalid, and is asked again next time")
        if self._failures >= GIVE_UP:
            self._halt(
                f"{self.url} gave no answer to {self._failures} questions in a row ({why}): {KEPT}; see to the server "
                "and run the same command again"
            )
        return {"error": why, "again": "failed"}

    def _halt(self, why: str) -> None:
        """Lets nothing more be sent."""
        self._stop = self._stop or UserError(_one_line(why, 1000))
        self._stopped.set()

    def _interrupt(self) -> None:
        say("waiting for the answers under way (Ctrl-C again gives them up)")
        self._halt("stopped")

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= SHORTEST_SECRET else text

    def close(self) -> None:
        """Ends the connections."""
        if not self.replay:
            if self._client is not None:
                self._background.run(self._client.close())
                self._client = None
            self._background.close()


def _checked(text: str) -> Answer:
    """An answer as JSON, whatever it says; what is neither a chat completion nor paid for may be better next time.

    Raises:
        PassingError: It holds neither a message nor a count of tokens.
    """
    refused = f"the answer is no chat completion: {text[:80]!r}"
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise PassingError(refused) from error
    is_object = isinstance(answer, dict)
    if not is_object or not (isinstance(first_choice(answer).get("message"), dict) or any(tokens_of(answer))):
        raise PassingError(refused)
    return {name: value for name, value in answer.items() if name not in ("error", "again")}  # words of our own


def _one_line(message: str, most: int = 200) -> str:
    return " ".join(message.split())[:most]
