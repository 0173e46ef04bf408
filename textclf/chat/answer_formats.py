"""The three formats of an answer that can be requested, and the log-probabilities of answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textclf.chat.answers import MARKS, normalize_answer

ASCII_MARKS = "".join(mark for mark in MARKS if mark.isascii()).encode()


def format_fields(kind: str, answers: Sequence[str]) -> dict[str, Any]:
    """The fields of a request that determine the form of the answer.

    Args:
        kind: `text`, `json_schema` or `logprobs`.
        answers: The possible answers.
    """
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

    The written text is followed token by token, as bytes, since a character may be divided among tokens. At each step
    the shown alternatives continue it: one that begins a single answer, or is that answer with a mark after it, counts
    for that answer. One that begins several answers is followed only if it is the token that was written.

    For example, the answers are 'positive' and 'negative'. The first token was 'Pos' (0.6), its alternatives were
    'neg' (0.3) and 'Neg' (0.1): each of the three begins one answer, which gives 0.6 and 0.4.

    Args:
        steps: `choices[0].logprobs.content` of a response.
        answers: The possible answers, normalized.

    Returns:
        Log-probabilities in nats, not normalized, shape `(answers,)`; an answer that is not shown gets the smallest one
        that is. None if no answer is shown at all, or if the text ends before it is one of the answers.
    """
    encoded = [answer.encode() for answer in answers]
    found: dict[int, list[float]] = defaultdict(list)
    written = b""
    log_prob_written = 0.0
    smallest = 0.0
    for step in steps:
        alternatives = [*(step.get("top_logprobs") or []), step]
        shown = {_bytes(token): token["logprob"] for token in alternatives}
        smallest = log_prob_written + min(shown.values())
        for token_bytes, log_prob in shown.items():
            fits = _begun_answers((written + token_bytes).lower(), encoded)
            if len(fits) == 1:
                found[fits[0]].append(log_prob_written + log_prob)
        written += _bytes(step)
        log_prob_written += step["logprob"]
        if len(_begun_answers(written.lower(), encoded)) < 2:
            break
    else:  # the text ends while several answers are still possible
        text = normalize_answer(written.decode(errors="replace"))
        if text not in answers:
            return None
        found[answers.index(text)].append(log_prob_written)
    if not found:
        return None
    log_probs = np.full(len(answers), smallest)
    for index, parts in found.items():
        log_probs[index] = np.logaddexp.reduce(parts)
    return log_probs


def _bytes(token: Mapping[str, Any]) -> bytes:
    """The bytes of a token; servers that do not show them show its text."""
    shown = token.get("bytes")
    if shown is None:
        return str(token["token"]).encode()
    if not isinstance(shown, list):  # of a number, `bytes` would make as many zeros
        raise TypeError(f"the bytes of a token are a list of numbers, not {shown!r}")
    return bytes(shown)


def _begun_answers(text: bytes, answers: Sequence[bytes]) -> list[int]:
    """Indices of the answers that a text begins, or that it is with marks after it."""
    text = text.lstrip(ASCII_MARKS)
    begun = []
    for index, answer in enumerate(answers):
        after_answer = text[len(answer) :].decode(errors="replace")
        is_answer = text.startswith(answer) and not after_answer.strip(MARKS)
        if answer.startswith(text) or is_answer:
            begun.append(index)
    return begun
