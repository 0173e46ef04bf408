"""Whether a tokenizer knows the language of some texts."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from typing import Any

from textclf.console import say
from textclf.types import PreTrainedTokenizerBase

FOREIGN = 0.75
"""Share of single letters from which on a tokenizer does not know a language; Korean ones stay below it in Korean."""

WORDS = 0.1
"""Share of a vocabulary that is longer than a letter, at least, where a tokenizer has words."""
SAMPLE = 200
"""Texts that tell whether a tokenizer knows their language."""


def say_if_foreign(tokenizer: PreTrainedTokenizerBase, reference: str, texts: Sequence[str]) -> None:
    """Says so where a tokenizer takes most of some texts to pieces; one whose pieces are letters does so with all."""
    if (share := foreign_share(tokenizer, texts)) >= FOREIGN and has_words(tokenizer):
        say(
            f"the tokenizer of {reference!r} turns {share:.0%} of these texts into unknown pieces or single letters: "
            "is it a model for their language?"
        )


def a_sample(texts: Any) -> list[str]:
    """Some of a split's texts, the same ones each time: they may be sorted, and the first ones tell little.

    Args:
        texts: Anything with a length that takes a place: a list, or a column.
    """
    places = random.Random(0).sample(range(len(texts)), min(len(texts), SAMPLE))
    return [str(texts[i]) for i in sorted(places)]


def has_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a share of a vocabulary is longer than a letter: not where the pieces are bytes or single letters."""
    pieces = set(random.Random(0).sample(range(len(tokenizer)), min(len(tokenizer), 1000)))
    texts = [str(tokenizer.decode([i])).strip().removeprefix("##") for i in pieces - set(tokenizer.all_special_ids)]
    return sum(len(text) > 1 and text.isalpha() for text in texts) > WORDS * len(texts)


def foreign_share(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Share of unknown pieces and of single letters, or parts of one, among the pieces that stand for letters.

    (Chinese and Japanese signs are words of their own, and do not count.)
    """
    rows = tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=256)["input_ids"]
    strange: dict[int, bool | None] = {i: _is_strange(tokenizer, i) for row in rows for i in row}
    found = [answer for row in rows for i in row if (answer := strange[i]) is not None]
    return sum(found) / max(1, len(found))


def _is_strange(tokenizer: PreTrainedTokenizerBase, piece: int) -> bool | None:
    """Whether a piece is unknown or less than two letters; None where it stands for no letters."""
    text = str(tokenizer.decode([piece])).strip().removeprefix("##")
    if piece == tokenizer.unk_token_id or "\ufffd" in text:
        return True
    if not any(sign.isalpha() for sign in text):
        return None
    return len(text) == 1 and not unicodedata.name(text, "").startswith(("CJK", "HIRAGANA", "KATAKANA"))
