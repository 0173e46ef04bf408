"""From what a model has written to a class."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Parse = Literal["contains", "equals"]
AROUND = " \t\r\n.,!?:;\"'`*_~()[]{}<>“”„‘’‚«»‹›。、！？…·•「」『』【】〈〉《》〔〕\u200b\u2060\ufeff"
"""Characters around an answer that are not part of it. (A minus sign is part of it.)"""
BEFORE = "".join(sign for sign in AROUND if sign.isascii()).encode()
FENCED = re.compile(r"```\w*\s*\n(.*?)(?:```|\Z)", re.DOTALL)
"""A block of code in Markdown, which a token limit may have left open."""
JSON_NAMES = ("answer", "label", "category", "class", "classification", "sentiment", "prediction", "topic")
"""Names of the value that is the answer in a JSON object of several, the best first."""
TAGGED = re.compile(r"<?(\w+)>(.*)</\1>?", re.DOTALL)
"""An answer in tags of its own, the outermost brackets of which may be gone: `simplified` takes them for marks."""
LISTED = re.compile(r"(?:([0-9]{1,2}|[a-z])[.):]|[-–—]|#{1,6})\s+(?!\d)")
"""The beginning of an item of a list, or of a heading."""
LEAD_IN = re.compile(
    r"(?:the |my )?(?:final |correct |predicted )?(?:answer|label|category|class|classification|sentiment|prediction|"
    r"topic|output|result|response|정답|답변|답|분류|라벨|레이블|감정|카테고리)[\s*_\"'`]*(?:[:=]|is\b|은\b|는\b)"
)
"""Words that announce an answer."""


def class_of(answer: str, words: Sequence[Sequence[str]], parse: Parse) -> int | None:
    """The class whose word an answer is, or holds; None where there is none, or more than one.

    Args:
        answer: As it was written; blanks around it do not count.
        words: Of each class, to the letter.
        parse: `equals` or `contains`.
    """
    answer = answer.strip()
    if parse == "equals":
        fits = [i for i, own in enumerate(words) if answer in own]
    else:
        fits = [i for i, own in enumerate(words) if any(word in answer for word in own)]
    return fits[0] if len(fits) == 1 else None


def simplified(answer: str) -> str:
    """An answer without regard to case, to the width of its signs, and to what stands around it."""
    composed = unicodedata.normalize("NFKC", answer).strip()
    return (composed.strip(AROUND) or composed).casefold()


def class_of_chat(text: str, words: Sequence[Sequence[str]], parse: Parse, cut: bool = False) -> int | None:
    """The class that a chat model's answer means; None where there is none, or more than one.

    The value in a JSON object is the answer. `equals` also takes an answer that is announced ('Answer: positive'), or
    that is an item of a list. An answer that the token limit cut off counts only where it equals a word as it stands,
    and no other class has a word that goes on from there: what was cut off could have changed all else.

    Args:
        text: What the model wrote, without its reasoning.
        words: Of each class, simplified.
        parse: `equals` or `contains`.
        cut: Whether the token limit ended the text.
    """
    if (block := FENCED.search(text)) is not None:
        text = block[1]
    if (value := json_answer(text)) is not None:
        text, cut = value, False
    if parse == "contains" and not cut:
        return class_of(simplified(text), words, "contains")
    for reading in _readings(simplified(text), words):
        found = class_of(reading, words, "equals")
        if found is not None:
            others = [word for i, own in enumerate(words) if i != found for word in own]
            return None if cut and any(word.startswith(reading) for word in others) else found
    return None


def _readings(text: str, words: Sequence[Sequence[str]]) -> Iterator[str]:
    """A simplified text, then the same with one wrapping after the other taken away."""
    numbers = {word for own in words for word in own}
    yield text
    while True:
        if (match := TAGGED.fullmatch(text)) is not None:
            text = simplified(match[2])
        elif (match := LEAD_IN.match(text)) is not None:
            text = simplified(text[match.end() :])
        elif (match := LISTED.match(text)) is not None and match[1] not in numbers:
            text = simplified(text[match.end() :])
        else:
            return
        yield text


def json_answer(text: str) -> str | None:
    """The answer in a JSON object: its value that is named as one, else its only value.

    Returns:
        An empty text where that value is neither a word nor a number; None where the text is no such object.
    """
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    names = [name for name in JSON_NAMES if name in found] or (list(found) if len(found) == 1 else [])
    if not names:
        return None
    value = found[names[0]]
    return str(value) if isinstance(value, str | int | float) else ""


def as_scores(classes: Sequence[int | None], num_classes: int) -> Tensor:
    """Scores `(rows, num_classes)` of answers without probabilities: 0 for the class, -inf for others, NaN for none."""
    scores = torch.full((len(classes), num_classes), -math.inf, dtype=torch.float32)  # whatever the default is
    for row, label in zip(scores, classes, strict=True):
        if label is None:
            row.fill_(math.nan)
        else:
            row[label] = 0.0
    return scores


def format_fields(kind: str, answers: Sequence[str]) -> dict[str, Any]:
    """The fields of a request that ask for one of some answers, or for their log-probabilities."""
    if kind == "logprobs":
        return {"logprobs": True, "top_logprobs": 20}
    if kind == "text":
        return {}
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(answers)}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "label", "strict": True, "schema": schema}}
    }


def log_probs_of(steps: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> np.ndarray | None:
    """Log-probability of each answer, from those of the tokens that the server shows.

    What was written is followed token by token, in bytes, for a sign may be cut into several tokens. At each step the
    shown alternatives are continuations of it; one that begins a single answer (or is it, with a mark behind) counts
    for that answer. One that begins several is followed only where it is what was written.

    Args:
        steps: `choices[0].logprobs.content` of an answer.
        answers: The possible answers, simplified.

    Returns:
        Log-probabilities in nats, not normalised, shape `(answers,)`; an answer that is not shown gets the least that
        is. None where no answer is shown at all, or where the text ends before it is one of the answers.
    """
    wanted = [answer.encode() for answer in answers]
    found: dict[int, list[float]] = defaultdict(list)
    written, so_far, least = b"", 0.0, 0.0
    for step in steps:
        shown = {_bytes(each): each["logprob"] for each in [*(step.get("top_logprobs") or []), step]}
        least = so_far + min(shown.values())
        for piece, log_prob in shown.items():
            if len(fits := _begun((written + piece).lower(), wanted)) == 1:
                found[fits[0]].append(so_far + log_prob)
        written, so_far = written + _bytes(step), so_far + step["logprob"]
        if len(_begun(written.lower(), wanted)) < 2:
            break
    else:  # the text ends where several answers are still possible
        end = simplified(written.decode(errors="replace"))
        if end not in answers:
            return None
        found[answers.index(end)].append(so_far)
    if not found:
        return None
    return np.array([np.logaddexp.reduce(found[i]) if found[i] else least for i in range(len(answers))])


def _bytes(token: Mapping[str, Any]) -> bytes:
    given = token.get("bytes")
    return str(token["token"]).encode() if given is None else bytes(given)


def _begun(text: bytes, answers: Sequence[bytes]) -> list[int]:
    """Which answers a text may still become, or is."""
    text = text.lstrip(BEFORE)
    return [
        i
        for i, answer in enumerate(answers)
        if answer.startswith(text)
        or (text.startswith(answer) and not text[len(answer) :].decode(errors="replace").strip(AROUND))
    ]
