"""From what a model has written to a class."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Parse = Literal["contains", "equals"]
AROUND = " \t\r\n.,!?:;\"'`*()[]{}<>“”‘’«»。、！？"
"""What may stand around an answer without being part of it. (A minus is part of it.)"""
BEFORE = "".join(sign for sign in AROUND if sign.isascii()).encode()


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
    return unicodedata.normalize("NFKC", answer).strip(AROUND).casefold()


def as_scores(classes: Sequence[int | None], num_classes: int) -> Tensor:
    """Scores `(rows, num_classes)` of answers without probabilities: 0 for the class, -inf for others, NaN for none."""
    scores = torch.full((len(classes), num_classes), -math.inf, dtype=torch.float32)  # whatever the default is
    for row, label in zip(scores, classes, strict=True):
        if label is None:
            row.fill_(math.nan)
        else:
            row[label] = 0.0
    return scores


def content_of(answer: Mapping[str, Any]) -> str:
    """What a server's answer says; nothing where it refused."""
    return "" if "error" in answer else answer["choices"][0]["message"].get("content") or ""


def json_answer(content: str) -> str:
    """The `answer` in a JSON object, where it is a word or a number; the text itself where there is no object."""
    try:
        value = json.loads(content)["answer"]
    except (ValueError, KeyError, TypeError):
        return content
    return str(value) if isinstance(value, str | int | float) else ""


def steps_of(answer: Mapping[str, Any]) -> list[Any] | None:
    """The log-probabilities that a server shows with an answer, token by token; None where it shows none."""
    shown = answer["choices"][0].get("logprobs")
    steps = shown.get("content") if isinstance(shown, Mapping) else None
    return steps if isinstance(steps, list) else None


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
        is. None where no answer is shown at all.
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
    else:  # the end came where more was possible
        if (end := written.decode(errors="replace")) and simplified(end) in answers:
            found[answers.index(simplified(end))].append(so_far)
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
