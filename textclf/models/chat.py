"""Classification by asking a chat server."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
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

PROMPT = "Classify the text into one of these categories: {labels}.\n\nText: {text}\n\nAnswer with the category alone."
REFUSED = ("extra_headers", "extra_query", "stream")
"""Not taken as `options`: the first two may hold a key, and would be written down; a stream comes in bits."""
EQUAL_LENGTH = 64
"""Of every text: they are asked in their own order, and 64 at a time where a batch is 4,096 tokens."""


class ChatClassifier(TextClassifier):
    """Asks any OpenAI-compatible server for the label of each text; nothing is trained.

    Answers are kept on disk by all that was sent, so that no question is paid for twice, and a run that was stopped
    goes on where it stood. The key comes from the environment (`OPENAI_API_KEY`) and is written nowhere.
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
        """Takes the question and the limits; the server is asked when the test starts.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            model: As the server calls it.
            base_url: Of the server, such as `http://localhost:8000/v1`; by default `OPENAI_BASE_URL`,
                else OpenAI's own.
            system: What the system says, before the question; `{labels}` stands for the answers.
            prompt: What the user says: with `{text}` or `[DOCUMENT]`, and `{text_pair}` and `{labels}` where wanted.
            answers: From answers to labels; several may mean one. The labels' names by default.
            parse: Whether an answer `equals` one of `answers` or `contains` it; case and marks around it do not count,
                nor does the model's reasoning. An answer that the token limit cut off must equal one.
            answer_format: What the server is asked for: `text`, one of the answers by `json_schema`, or `logprobs` of
                the answers' tokens, which alone give probabilities. Choose what the server can; one that cannot says so
                (or ignores it: answers are then read as text).
            temperature: Of the server's draw; null leaves it to the server.
            options: More fields of the request, such as `{max_tokens: 5, seed: 1}`; the server's own stand under
                `extra_body`.
            concurrency: Questions at once.
            timeout: Seconds for one try.
            max_retries: Tries after the first, after pauses that grow, or that the server asks for.
            max_requests: Stop before more tries than these.
            max_cost: Stop before the run costs more, by the prices and the dearest answer so far.
            input_price: Of a million tokens of prompts.
            output_price: Of a million tokens of answers.
            replay: Take all answers from the cache, and ask nothing.
            cache: File of answers; `~/.cache/textclf/chat.sqlite` by default.

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
        if wrong := [name for name in REFUSED if name in (options or {})]:
            raise UserError(f"options cannot have {wrong[0]}: leave it out, and give the key as OPENAI_API_KEY alone")
        server_url(base_url)  # complains before anything is written
        self.template = PromptTemplate.of(prompt.replace("[DOCUMENT]", "{text}"))
        answers = {name: name for name in self.label_names} if answers is None else answers
        self.answers = {str(answer): name for answer, name in answers.items()}
        self.words = _words(self.answers, self.label_names)
        self.model, self.base_url, self.system, self.parse = model, base_url, system, parse
        self.answer_format, self.options = answer_format, options or {}
        self.temperature = temperature
        self.limits = Limits(concurrency, timeout, max_retries, max_requests, max_cost, (input_price, output_price))
        self.replay, self.cache = replay, cache
        self.server: ChatServer | None = None
        self._shown = False
        self._unread: set[str] = set()

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The same `length` for every text."""
        return {"length": [EQUAL_LENGTH] * len(rows["text"])}

    @required_hook
    def setup(self, stage: str) -> None:
        """Refuses several processes: each would ask for itself, with limits of its own."""
        super().setup(stage)
        if self._trainer is not None and self.trainer.world_size > 1:
            raise UserError("ChatClassifier asks from one process: pass --trainer.devices 1, and a higher concurrency")

    def configure_model(self) -> None:
        """Looks for the key and the package before anything is asked."""
        if self.server is None:
            store = AnswerStore(Path(self.cache).expanduser() if self.cache else default_store())
            self.server = ChatServer(self.base_url, store, self.limits, self.replay)

    def request(self, row: dict[str, str]) -> dict[str, Any]:
        """All that is sent for a row: `text`, and `text_pair` where the prompt has it."""
        labels = ", ".join(self.answers)
        system = [] if self.system is None else [{"role": "system", "content": self.system.replace("{labels}", labels)}]
        question = {"role": "user", "content": self.template.fill({**row, "labels": labels})}
        drawn = {} if self.temperature is None else {"temperature": self.temperature}
        form = format_fields(self.answer_format, list(self.answers))
        return {"model": self.model, "messages": [*system, question], **drawn, **form, **self.options}

    def for_workers(self) -> Self:
        """Leaves the connection to the server out."""
        light = super().for_workers()
        light.server = None
        return light

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Asks for all rows of a batch.

        Returns:
            Log-probabilities in nats, float64, `(batch, num_classes)`; 0 and -inf where there are only answers; NaN for
            an answer that fits no label.
        """
        if self.server is None:
            self.configure_model()
        assert self.server is not None
        if "text_pair" in self.template.slots and "text_pair" not in batch:
            raise UserError("prompt has {text_pair}, but the rows have one text each: leave it out")
        columns = [name for name in ("text", "text_pair") if name in batch]
        rows = [
            dict(zip(columns, texts, strict=True)) for texts in zip(*(batch[name] for name in columns), strict=True)
        ]
        try:
            answers = self.server.ask([self.request(row) for row in rows])
        except (UserError, KeyboardInterrupt):
            self._say_what_it_came_to()
            raise
        if self.has_probabilities:
            self._shown = self._shown or any("error" not in each and steps_of(each) is not None for each in answers)
            return torch.from_numpy(np.stack([self._probable(answer) for answer in answers])).to(self.device)
        return as_scores([self.read(answer) for answer in answers], self.num_classes).to(self.device)

    def read(self, answer: Answer) -> int | None:
        """The class that an answer means; None where it fits none."""
        content = content_of(answer)
        found = class_of_chat(content.text, self.words, self.parse, content.cut)
        if found is None and "error" not in answer:
            self._say_unread(content)
        return found

    def _say_unread(self, content: Content) -> None:
        """Says why an answer cannot be read, each reason once."""
        why = content.missing
        if content.cut:
            why = f"{why or 'it is not complete'}: the token limit cut it off; raise max_tokens in --model.options"
        if why and why not in self._unread:
            self._unread.add(why)
            say(f"an answer counts as invalid: {why}")

    def _probable(self, answer: Answer) -> np.ndarray:
        """Log-probabilities of the classes, `(num_classes,)`; NaN where the answer fits none of the classes.

        Raises:
            UserError: The server has answered, and not shown log-probabilities with any answer of the run.
        """
        invalid, content = np.full(self.num_classes, np.nan), content_of(answer)
        steps = None if "error" in answer else steps_of(answer)
        if steps is None:
            if content.text and not self._shown:
                raise UserError(f"{self.model!r} gives no log-probabilities there: pass --model.answer_format text")
            found = None
        else:
            try:
                found = log_probs_of(steps, [word for own in self.words for word in own])
            except (LookupError, TypeError, ValueError, AttributeError):  # steps that are not as they should be
                found = None
        if found is None:
            if "error" not in answer:
                self._say_unread(content)
            return invalid
        ends = np.cumsum([0, *map(len, self.words)])
        scores = np.array([np.logaddexp.reduce(found[a:b]) for a, b in pairwise(ends)])
        return np.asarray(scores - np.logaddexp.reduce(scores))

    def figures(self, split: Literal["validation", "test"]) -> dict[str, float]:
        """What was asked, tokens and cost (null without prices)."""
        spent = {} if self.server is None else self.server.account.figures()
        return {f"chat/{name}": value for name, value in spent.items()}

    @required_hook
    def teardown(self, stage: str) -> None:
        """Says what it came to, and ends the connections."""
        if self.server is None:
            return
        self._say_what_it_came_to()
        self.server.close()
        self.server = None

    def _say_what_it_came_to(self) -> None:
        assert self.server is not None
        account, place = self.server.account, str(self.server.store.path)
        asked = f"{account.spent.requests:,} requests sent, {account.spent.cached:,} answers from {place!r}"
        say(f"{asked}; {account.summary()}")


def _words(answers: dict[str, str], label_names: Sequence[str]) -> list[list[str]]:
    """The answers of each class, normalized.

    Raises:
        UserError: An answer means no label, a label has no answer, or two answers are the same.
    """
    words: list[list[str]] = [[] for _ in label_names]
    for answer, name in answers.items():
        label = label_named(f"answers: {answer!r}", name, label_names)
        words[list(label_names).index(label)].append(normalize_answer(answer))
    flat = [word for own in words for word in own]
    if twice := [word for word in flat if not word or flat.count(word) > 1]:
        raise UserError(f"answers has {twice[0]!r} twice, or empty, but for case and marks: write them otherwise")
    if lost := [name for name, own in zip(label_names, words, strict=True) if not own]:
        raise UserError(f"no answer means {', '.join(lost)}: give answers {{answer: label}} for every label")
    return words
