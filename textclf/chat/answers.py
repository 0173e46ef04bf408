"""Parsing of generated answers: from the text that a model wrote to a class."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from textclf.normalization import normalize_unicode
from textclf.parsing import parse_json

Parse = Literal["contains", "equals"]
MARKS = " \t\r\n.,!?:;\"'`*_~()[]{}<>“”„‘’‚«»‹›。、！？…·•「」『』【】〈〉《》〔〕\u200b\u2060\ufeff"
"""Characters around an answer that are not part of it. (A minus sign is part of it.)"""
FENCED = re.compile(r"```\w*\s*\n(.*?)(?:```|\Z)", re.DOTALL)
"""A block of code in Markdown, which a token limit may have left open."""
JSON_NAMES = ("answer", "label", "category", "class", "classification", "sentiment", "prediction", "topic")
"""Names of the value that is the answer in a JSON object of several values, the most reliable name first."""
TAGGED = re.compile(r"<?(\w+)>(.*)</\1>?", re.DOTALL)
"""An answer in XML tags; `normalize_answer` may have removed the outermost brackets as marks."""
LISTED = re.compile(r"(?:([0-9]{1,2}|[a-z])[.):]|[-–—]|#{1,6})\s+(?!\d)")
"""The beginning of an item of a list, or of a heading."""
LEAD_IN = re.compile(
    r"(?:the |my )?(?:final |correct |predicted )?(?:answer|label|category|class|classification|sentiment|prediction|"
    r"topic|output|result|response|정답|답변|답|분류|라벨|레이블|감정|카테고리)[\s*_\"'`]*(?:[:=]|is\b|은\b|는\b)"
)
"""Words that introduce an answer, such as 'The final answer is'."""


def class_of(answer: str, words: Sequence[Sequence[str]], parse: Parse) -> int | None:
    """The class whose word an answer equals or contains; None if there is none, or more than one.

    Args:
        answer: The text as the model wrote it; whitespace around it is ignored.
        words: The words of each class, compared literally.
        parse: `equals` or `contains`.
    """
    answer = answer.strip()
    found = []
    for index, class_words in enumerate(words):
        if parse == "equals":
            fits = answer in class_words
        else:
            fits = any(word in answer for word in class_words)
        if fits:
            found.append(index)
    return found[0] if len(found) == 1 else None


def normalize_answer(answer: str) -> str:
    """Removes differences of case, of character width, and the marks around an answer."""
    composed = normalize_unicode("NFKC", answer).strip()
    without_marks = composed.strip(MARKS)
    return (without_marks or composed).casefold()  # an answer may consist of marks alone


def class_of_chat(text: str, words: Sequence[Sequence[str]], parse: Parse, cut: bool = False) -> int | None:
    """The class that a chat model's answer means; None if there is none, or more than one.

    The value in a JSON object is the answer. `equals` also takes an answer with a lead-in ('Answer: positive'), and
    one that is an item of a list. An answer that the token limit cut off counts only if it equals a word and no other
    class has a word that continues it: in any other answer, the missing end could have changed the meaning.

    Args:
        text: What the model wrote, without its reasoning.
        words: The words of each class, normalized.
        parse: `equals` or `contains`.
        cut: Whether the token limit ended the text.
    """
    if (block := FENCED.search(text)) is not None:
        text = block[1]
    if (value := json_answer(text)) is not None:
        text = value
        cut = False  # the object is complete
    if parse == "contains" and not cut:
        return class_of(normalize_answer(text), words, "contains")
    for reading in _readings(normalize_answer(text), words):
        found = class_of(reading, words, "equals")
        if found is not None:
            could_continue = cut and _begins_other_word(reading, words, found)
            return None if could_continue else found
    return None


def _begins_other_word(text: str, words: Sequence[Sequence[str]], found: int) -> bool:
    """Whether a word of another class than the one found begins with a text."""
    for index, class_words in enumerate(words):
        if index != found and any(word.startswith(text) for word in class_words):
            return True
    return False


def _readings(text: str, words: Sequence[Sequence[str]]) -> Iterator[str]:
    """A normalized text, then the same text with one wrapping after the other removed."""
    all_words = {word for class_words in words for word in class_words}
    yield text
    while True:
        if (match := TAGGED.fullmatch(text)) is not None:
            text = normalize_answer(match[2])
        elif (match := LEAD_IN.match(text)) is not None:
            text = normalize_answer(text[match.end() :])
        elif (match := LISTED.match(text)) is not None and match[1] not in all_words:  # '1' may be an answer itself
            text = normalize_answer(text[match.end() :])
        else:
            return
        yield text


def json_answer(text: str) -> str | None:
    """The answer in a JSON object: the value under a name such as `answer`, otherwise its only value.

    Returns:
        An empty text if that value is neither a string nor a number; None if the text is not such an object.
    """
    try:
        parsed = parse_json(text)
    except ValueError:
        return None
    if not isinstance(parsed, dict):
        return None
    names = [name for name in JSON_NAMES if name in parsed]
    if not names and len(parsed) == 1:
        names = list(parsed)
    if not names:
        return None
    value = parsed[names[0]]
    return str(value) if isinstance(value, str | int | float) else ""


def as_scores(classes: Sequence[int | None], num_classes: int) -> Tensor:
    """Scores of answers without probabilities: 0 for the class, -inf for the others, NaN for an invalid answer.

    Args:
        classes: The class of each answer; None if it is invalid.
        num_classes: Number of classes.

    Returns:
        float32, shape `(rows, num_classes)`.
    """
    # The data type is explicit: the user may have changed torch's default.
    scores = torch.full((len(classes), num_classes), -math.inf, dtype=torch.float32)
    for row, label in zip(scores, classes, strict=True):
        if label is None:
            row.fill_(math.nan)
        else:
            row[label] = 0.0
    return scores
