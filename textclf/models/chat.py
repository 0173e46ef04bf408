"""Classification by asking a chat server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from textclf.chat.answer_formats import format_fields, log_probs_of
from textclf.chat.answers import Parse, as_scores, class_of_chat, normalize_answer
from textclf.chat.client import Answer, ChatServer, server_url
from textclf.chat.responses import Content, content_of, steps_of
from textclf.chat.spending import Limits
from textclf.chat.store import AnswerStore, default_store
from textclf.console import say
from textclf.errors import UserError, check_least, check_range
from textclf.models.base import TextClassifier
from textclf.models.hooks import required_hook
from textclf.models.label_arguments import label_named
from textclf.models.prompts import PromptTemplate
from textclf.processes import attached_trainer

PROMPT = "Classify the text into one of these categories: {labels}.\n\nText: {text}\n\nAnswer with the category alone."
REFUSED = ("extra_headers", "extra_query", "stream")
"""Refused in `options`: the first two may contain a key, which would be saved; streamed answers come in parts."""
EQUAL_LENGTH = 64
"""The `length` of every text, so that texts keep their order, and a batch of 4,096 tokens has 64 texts."""


class ChatClassifier(TextClassifier):
    """Asks any OpenAI-compatible server for the label of each text; nothing is trained.

    Answers are cached on disk by the whole request, so that no request is paid for twice, and an interrupted run
    continues where it stopped. The key is read from the environment (`OPENAI_API_KEY`) and never saved.
    """

    may_not_answer = True

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        model: str = "gpt-4o-mini",
        base_url: str | None = None,
        system: str | None = None,
        prompt: str = PROMPT,
        answers: dict[str, str] | None = None,
        parse: Parse = "equals",
        answer_format: Literal["text", "json_schema", "logprobs"] = "text",
        temperature: float | None = 0.0,
        options: dict[str, Any] | None = None,
        concurrency: int = 8,
        timeout: float = 60.0,
        max_retries: int = 6,
        max_requests: int | None = None,
        max_cost: float | None = None,
        input_price: float = 0.0,
        output_price: float = 0.0,
        replay: bool = False,
        cache: str | None = None,
    ) -> None:
        """Stores the prompt and the limits; requests are sent when the test starts.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            model: Name of the model on the server.
            base_url: URL of the server, such as `http://localhost:8000/v1`; by default `OPENAI_BASE_URL`,
                else OpenAI's.
            system: System message; `{labels}` is replaced by the answers.
            prompt: User message, with `{text}` or `[DOCUMENT]`, and optionally `{text_pair}` and `{labels}`.
            answers: From answers to labels; several answers may mean one label. The label names by default.
            parse: Whether an answer must be equal to one of `answers` (`equals`) or contain it (`contains`), ignoring
                case, punctuation around it, and the model's reasoning. A truncated answer must be equal to one.
            answer_format: Format of the answers: `text`, one of the answers by `json_schema`, or `logprobs` of the
                answers' tokens, the only one that gives probabilities. A server that does not support the format
                returns an error, or ignores it: answers are then read as text.
            temperature: Sampling temperature; null for the server's default.
            options: More fields of the request, such as `{max_tokens: 5, seed: 1}`; fields that only this server knows
                under `extra_body`.
            concurrency: Number of concurrent requests.
            timeout: Seconds for one attempt.
            max_retries: Attempts after the first, after growing pauses, or pauses that the server asks for.
            max_requests: Maximum number of attempts in a run.
            max_cost: Maximum cost of a run, estimated by the prices and the most expensive answer so far.
            input_price: Price of a million prompt tokens.
            output_price: Price of a million answer tokens.
            replay: Use cached answers only, and send no requests.
            cache: File of cached answers; `~/.cache/textclf/chat.sqlite` by default.

        Raises:
            UserError: A value is out of range, the prompt has no slot for the text, or the answers do not fit the
                labels.
        """
        super().__init__(num_classes, label_names)
        self.has_probabilities = answer_format == "logprobs"
        countable = max_cost is None or (max_cost > 0 and input_price + output_price > 0)
        check_least("concurrency", concurrency, 1)
        check_range("timeout", timeout, timeout > 0, "seconds, more than 0")
        check_least("max_retries", max_retries, 0)
        check_least("max_requests", max_requests, 0)
        check_least("input_price", input_price, 0)
        check_least("output_price", output_price, 0)
        check_range("max_cost", max_cost, countable, "more than 0, and input_price and output_price, too")
        for name in REFUSED:
            if name in (options or {}):
                raise UserError(f"options cannot have {name}: leave it out, and give the key as OPENAI_API_KEY alone")
        server_url(base_url)  # raises its error before anything is written
        self.template = PromptTemplate.of(prompt.replace("[DOCUMENT]", "{text}"))
        if answers is None:
            answers = {name: name for name in self.label_names}
        self.answers = {str(answer): name for answer, name in answers.items()}
        self.words = _words(self.answers, self.label_names)
        self.model = model
        self.base_url = base_url
        self.system = system
        self.parse = parse
        self.answer_format = answer_format
        self.options = options or {}
        self.temperature = temperature
        self.limits = Limits(concurrency, timeout, max_retries, max_requests, max_cost, (input_price, output_price))
        self.replay = replay
        self.cache = cache
        self.server: ChatServer | None = None
        self._has_logprobs = False
        self._reported_reasons: set[str] = set()

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Gives every text the same `length`."""
        return {"length": [EQUAL_LENGTH] * len(rows["text"])}

    @required_hook
    def setup(self, stage: str) -> None:
        """Refuses several processes: each would have limits of its own."""
        super().setup(stage)
        trainer = attached_trainer(self)
        if trainer is not None and trainer.world_size > 1:
            raise UserError("ChatClassifier asks from one process: pass --trainer.devices 1, and a higher concurrency")

    def configure_model(self) -> None:
        """Checks the key and the package before any request is sent."""
        if self.server is None:
            store = AnswerStore(Path(self.cache).expanduser() if self.cache else default_store())
            self.server = ChatServer(self.base_url, store, self.limits, self.replay)

    def request(self, row: dict[str, str]) -> dict[str, Any]:
        """The whole request for a row.

        Args:
            row: `text`, and `text_pair` if the prompt contains it.
        """
        labels = ", ".join(self.answers)
        messages = []
        if self.system is not None:
            messages.append({"role": "system", "content": self.system.replace("{labels}", labels)})
        messages.append({"role": "user", "content": self.template.fill({**row, "labels": labels})})
        request: dict[str, Any] = {"model": self.model, "messages": messages}
        if self.temperature is not None:
            request["temperature"] = self.temperature
        request.update(format_fields(self.answer_format, list(self.answers)))
        request.update(self.options)
        return request

    def for_workers(self) -> Self:
        """A copy without the connection to the server."""
        light = super().for_workers()
        light.server = None
        return light

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Sends the requests of a batch.

        Returns:
            Log-probabilities in nats, float64, `(batch, num_classes)`; 0 and -inf for answers without probabilities;
            NaN for an answer that fits no label.
        """
        if self.server is None:
            self.configure_model()
        assert self.server is not None
        requests = [self.request(row) for row in self.template.rows(batch)]
        try:
            answers = self.server.ask(requests)
        except (UserError, KeyboardInterrupt):
            self._report_cost()
            raise
        if self.has_probabilities:
            for answer in answers:
                if "error" not in answer and steps_of(answer) is not None:
                    self._has_logprobs = True
            log_probs = [self._log_probs_of(answer) for answer in answers]
            return torch.from_numpy(np.stack(log_probs)).to(self.device)
        return as_scores([self.read(answer) for answer in answers], self.num_classes).to(self.device)

    def read(self, answer: Answer) -> int | None:
        """The class that an answer means; None if it fits none."""
        content = content_of(answer)
        found = class_of_chat(content.text, self.words, self.parse, content.cut)
        if found is None and "error" not in answer:
            self._report_unreadable(content)
        return found

    def _report_unreadable(self, content: Content) -> None:
        """Reports why an answer cannot be read, each reason once."""
        why = content.missing
        if content.cut:
            why = f"{why or 'it is not complete'}: the token limit cut it off; raise max_tokens in --model.options"
        if why and why not in self._reported_reasons:
            self._reported_reasons.add(why)
            say(f"an answer counts as invalid: {why}")

    def _log_probs_of(self, answer: Answer) -> np.ndarray:
        """Log-probabilities of the classes, `(num_classes,)`; NaN if the answer fits none of them.

        Raises:
            UserError: The server has answered, but no answer of the run has log-probabilities.
        """
        content = content_of(answer)
        steps = None if "error" in answer else steps_of(answer)
        if steps is None:
            if content.text and not self._has_logprobs:
                raise UserError(f"{self.model!r} gives no log-probabilities there: pass --model.answer_format text")
            found = None
        else:
            try:
                found = log_probs_of(steps, [word for own in self.words for word in own])
            except (LookupError, TypeError, ValueError, AttributeError):  # steps of another form than OpenAI's
                found = None
        if found is None:
            if "error" not in answer:
                self._report_unreadable(content)
            return np.full(self.num_classes, np.nan)
        ends = np.cumsum([0, *map(len, self.words)])
        scores = np.array([np.logaddexp.reduce(found[start:stop]) for start, stop in pairwise(ends)])
        return np.asarray(scores - np.logaddexp.reduce(scores))

    def figures(self, split: Literal["validation", "test"]) -> dict[str, float]:
        """Numbers of requests and tokens, and the cost (null without prices)."""
        if self.server is None:
            return {}
        return {f"chat/{name}": value for name, value in self.server.account.figures().items()}

    @required_hook
    def teardown(self, stage: str) -> None:
        """Reports requests and cost, and closes the connections."""
        if self.server is None:
            return
        self._report_cost()
        self.server.close()
        self.server = None

    def _report_cost(self) -> None:
        assert self.server is not None
        account = self.server.account
        path = str(self.server.store.path)
        say(
            f"{account.spent.requests:,} requests sent, {account.spent.cached:,} answers from {path!r}; "
            f"{account.summary()}"
        )


def _words(answers: dict[str, str], label_names: Sequence[str]) -> list[list[str]]:
    """The answers of each class, without case and surrounding punctuation.

    Raises:
        UserError: An answer means no label, a label has no answer, or two answers are the same.
    """
    words: list[list[str]] = [[] for _ in label_names]
    for answer, name in answers.items():
        label = label_named(f"answers: {answer!r}", name, label_names)
        words[list(label_names).index(label)].append(normalize_answer(answer))
    counts = Counter(chain.from_iterable(words))
    for word, count in counts.items():
        if not word or count > 1:
            raise UserError(f"answers has {word!r} twice, or empty, apart from case and punctuation: change one")
    lost = [name for name, class_words in zip(label_names, words, strict=True) if not class_words]
    if lost:
        raise UserError(f"no answer means {', '.join(lost)}: give answers {{answer: label}} for every label")
    return words
