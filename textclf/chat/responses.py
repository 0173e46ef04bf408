"""Responses of chat servers: the text of an answer without the model's reasoning, and its log-probabilities."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

REASONING_BEGINS = re.compile(
    r"<(?:seed:)?(?:think|thinking|thoughts?|reasoning)\b[^<>]*>"  # DeepSeek, Qwen, EXAONE, Seed
    r"|\[THINK\]"  # Mistral
    r"|◁think▷"  # Kimi
    r"|<\|START_THINKING\|>"  # Cohere
    r"|(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)\b",  # OpenAI's Harmony
    re.IGNORECASE,
)
REASONING_ENDS = re.compile(
    r"</(?:seed:)?(?:think|thinking|thoughts?|reasoning)>"
    r"|\[/THINK\]"
    r"|◁/think▷"
    r"|<\|END_THINKING\|>"
    r"|<\|channel\|>final\b[^<]*<\|message\|>",
    re.IGNORECASE,
)
SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>|</s>|<eos>|<end_of_turn>")
"""Special tokens that some servers leave in a text."""
LIMIT_REASONS = ("length", "model_length", "max_tokens")
"""Lower-case values of `finish_reason` if the token limit ended an answer."""
FILTER_REASONS = ("content_filter", "safety")
"""Lower-case values of `finish_reason` if a content filter ended an answer."""


class Content(NamedTuple):
    """The content of an answer.

    Attributes:
        text: The text without reasoning; empty if there is none.
        cut: Whether the token limit ended it.
        missing: Why there is no text; empty if there is one.
    """

    text: str
    cut: bool
    missing: str


def content_of(answer: Mapping[str, Any]) -> Content:
    """The content of a server's response, which may be a text, a list of parts, a refusal, or nothing."""
    if "error" in answer:
        return Content("", False, "an error")
    choice = first_choice(answer)
    message = choice.get("message")
    if not isinstance(message, Mapping):
        message = {}
    reason = str(choice.get("finish_reason")).lower()
    cut = reason in LIMIT_REASONS
    if message.get("refusal"):
        return Content("", cut, "the model refused")
    if reason in FILTER_REASONS:
        return Content("", cut, "the server's content filter stopped it")
    text = without_reasoning(_joined(message.get("content")))
    if text is None:
        return Content("", cut, "its reasoning does not end")
    text = SPECIAL_TOKEN.sub("", text).strip()
    missing = "it calls a tool" if message.get("tool_calls") else "it has no text"
    return Content(text, cut, "" if text else missing)


def first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first of a response's choices; empty if there is none."""
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    return {}


def _joined(content: Any) -> str:
    """The text of a message's `content`: a string, or a list of parts, of which only those of type text count."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping) and content.get("type", "text") in ("text", "output_text"):
        return _joined(content.get("text"))
    if isinstance(content, list):
        return "".join(map(_joined, content))
    return ""


def without_reasoning(text: str) -> str | None:
    """The text outside of the reasoning; None if the reasoning does not end.

    Everything between the first opening mark and the last closing one is reasoning. If a closing mark comes first, the
    opening one was in the prompt, and everything before it is reasoning, too.
    """
    opening = list(REASONING_BEGINS.finditer(text))
    closing = list(REASONING_ENDS.finditer(text))
    if not opening and not closing:
        return text
    if not closing or (opening and opening[-1].start() > closing[-1].start()):
        return None
    opened_in_prompt = not opening or opening[0].start() > closing[0].start()
    begin = 0 if opened_in_prompt else opening[0].start()
    return text[:begin] + text[closing[-1].end() :]


def steps_of(answer: Mapping[str, Any]) -> list[Any] | None:
    """The log-probabilities that a server shows for each token of an answer, without those of the reasoning.

    Returns:
        None if the server shows none.
    """
    shown = first_choice(answer).get("logprobs")
    if not isinstance(shown, Mapping) or not isinstance(shown.get("content"), list):
        return None
    return _after_reasoning(shown["content"])


def _after_reasoning(steps: Sequence[Any]) -> list[Any]:
    """The steps of the tokens after the last mark that closes the reasoning; none if the reasoning does not end."""
    tokens = [_token(step) for step in steps]
    text = "".join(tokens)
    if without_reasoning(text) is None:
        return []
    answer_begins = max((mark.end() for mark in REASONING_ENDS.finditer(text)), default=0)
    position = 0
    skipped = 0
    while position < answer_begins:
        position += len(tokens[skipped])
        skipped += 1
    return list(steps[skipped:])


def _token(step: Any) -> str:
    return str(step.get("token", "")) if isinstance(step, Mapping) else ""
