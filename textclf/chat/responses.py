"""From a server's answer to the text that it gives, without what the model thought on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

OPENED = re.compile(
    r"<(?:seed:)?(?:think|thinking|thoughts?|reasoning)\b[^<>]*>"  # DeepSeek, Qwen, EXAONE, Seed
    r"|\[THINK\]"  # Mistral
    r"|◁think▷"  # Kimi
    r"|<\|START_THINKING\|>"  # Cohere
    r"|(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)\b",  # OpenAI's Harmony
    re.IGNORECASE,
)
CLOSED = re.compile(
    r"</(?:seed:)?(?:think|thinking|thoughts?|reasoning)>"
    r"|\[/THINK\]"
    r"|◁/think▷"
    r"|<\|END_THINKING\|>"
    r"|<\|channel\|>final\b[^<]*<\|message\|>",
    re.IGNORECASE,
)
SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>|</s>|<eos>|<end_of_turn>")
"""Tokens that some servers leave in a text."""
LIMITED = ("length", "model_length", "max_tokens")
FILTERED = ("content_filter", "safety")
"""Values of `finish_reason`, in small letters, of an answer that ended before its end."""


class Content(NamedTuple):
    """What an answer says.

    Attributes:
        text: Without thoughts; empty where there is nothing to read.
        cut: Whether the token limit ended it.
        missing: Why there is nothing to read; empty where there is a text.
    """

    text: str
    cut: bool
    missing: str


def content_of(answer: Mapping[str, Any]) -> Content:
    """What a server's answer says, whatever its form: a text, a list of parts, a refusal, or nothing."""
    if "error" in answer:
        return Content("", False, "an error")
    choice = first_choice(answer)
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    reason = str(choice.get("finish_reason")).lower()
    cut = reason in LIMITED
    if message.get("refusal"):
        return Content("", cut, "the model refused")
    if reason in FILTERED:
        return Content("", cut, "the server's content filter stopped it")
    text = without_thoughts(_joined(message.get("content")))
    if text is None:
        return Content("", cut, "its reasoning does not end")
    text = SPECIAL_TOKEN.sub("", text).strip()
    missing = "it calls a tool" if message.get("tool_calls") else "it has no text"
    return Content(text, cut, "" if text else missing)


def first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first of an answer's choices; empty where there is none."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else {}


def _joined(content: Any) -> str:
    """The text of a message's `content`: a string, or parts of which those that are text count."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        is_text = content.get("type", "text") in ("text", "output_text")
        return _joined(content.get("text")) if is_text else ""
    if isinstance(content, list):
        return "".join(map(_joined, content))
    return ""


def without_thoughts(text: str) -> str | None:
    """The text outside of reasoning; None where the reasoning does not end.

    All between the first opening mark and the last closing one is reasoning. Where a closing mark comes first, the
    opening one stood in the prompt, and all before it is reasoning, too.
    """
    opened = list(OPENED.finditer(text))
    closed = list(CLOSED.finditer(text))
    if not opened and not closed:
        return text
    if not closed or (opened and opened[-1].start() > closed[-1].start()):
        return None
    begins = opened[0].start() if opened and opened[0].start() < closed[0].start() else 0
    return text[:begins] + text[closed[-1].end() :]


def steps_of(answer: Mapping[str, Any]) -> list[Any] | None:
    """The log-probabilities that a server shows with an answer, token by token, those of reasoning left out.

    Returns:
        None where the server shows none.
    """
    shown = first_choice(answer).get("logprobs")
    steps = shown.get("content") if isinstance(shown, Mapping) else None
    return _after_thoughts(steps) if isinstance(steps, list) else None


def _after_thoughts(steps: Sequence[Any]) -> list[Any]:
    tokens = [str(step.get("token", "")) if isinstance(step, Mapping) else "" for step in steps]
    text = "".join(tokens)
    if without_thoughts(text) is None:
        return []
    answer_begins = max((mark.end() for mark in CLOSED.finditer(text)), default=0)
    position, skipped = 0, 0
    while position < answer_begins:
        position += len(tokens[skipped])
        skipped += 1
    return list(steps[skipped:])
