"""Whether a tokenizer was trained on the language of some texts."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from typing import Any

from textclf.console import say
from textclf.types import PreTrainedTokenizerBase

FOREIGN_SHARE = 0.75
"""Share of unknown tokens and single letters from which on a language is unknown to a tokenizer.

Korean tokenizers stay below it on Korean texts."""
WORD_SHARE = 0.1
"""Smallest share of a vocabulary that is longer than a letter, for tokenizers of words or subwords."""
SAMPLE_SIZE = 200
"""Number of texts that are looked at."""
VOCABULARY_SAMPLE_SIZE = 1000
"""Number of tokens that are looked at to see whether a tokenizer has words."""


def report_unknown_language(tokenizer: PreTrainedTokenizerBase, reference: str, texts: Sequence[str]) -> None:
    """Reports it if a tokenizer splits most of some texts into single letters; one of bytes or letters always does.

    Args:
        tokenizer: A model's tokenizer.
        reference: The model, for the message.
        texts: A sample of the texts.
    """
    share = foreign_share(tokenizer, texts)
    if share >= FOREIGN_SHARE and has_words(tokenizer):
        say(
            f"the tokenizer of {reference!r} turns {share:.0%} of these texts into unknown pieces or single letters: "
            "is it a model for their language?"
        )


def sample_texts(texts: Any) -> list[str]:
    """A random sample of a split's texts, the same one each time: texts may be sorted, so the first are not enough.

    Args:
        texts: A sequence of texts, such as a list or a column of a data set.
    """
    indices = random.Random(0).sample(range(len(texts)), min(len(texts), SAMPLE_SIZE))
    return [str(texts[i]) for i in sorted(indices)]


def has_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer has tokens longer than a letter; one of bytes or single letters has none."""
    size = len(tokenizer)
    sample = set(random.Random(0).sample(range(size), min(size, VOCABULARY_SAMPLE_SIZE)))
    texts = [_text_of(tokenizer, token_id) for token_id in sample - set(tokenizer.all_special_ids)]
    words = sum(len(text) > 1 and text.isalpha() for text in texts)
    return words > WORD_SHARE * len(texts)


def foreign_share(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Share of unknown tokens, single letters and parts of letters among the tokens that contain letters.

    Chinese and Japanese characters are words of their own, and do not count as single letters.
    """
    options = {"add_special_tokens": False, "split_special_tokens": True, "truncation": True, "max_length": 256}
    rows = tokenizer(list(texts), **options)["input_ids"]
    foreign_by_id: dict[int, bool | None] = {}
    foreign = total = 0
    for row in rows:
        for token_id in row:
            if token_id not in foreign_by_id:  # decoding is slow, and most tokens come again
                foreign_by_id[token_id] = _is_foreign(tokenizer, token_id)
            if foreign_by_id[token_id] is not None:
                total += 1
                foreign += bool(foreign_by_id[token_id])
    return foreign / max(1, total)


def _is_foreign(tokenizer: PreTrainedTokenizerBase, token_id: int) -> bool | None:
    """Whether a token is unknown or shorter than two letters; None if it contains no letters."""
    text = _text_of(tokenizer, token_id)
    if token_id == tokenizer.unk_token_id or "\ufffd" in text:
        return True
    if not any(character.isalpha() for character in text):
        return None
    return len(text) == 1 and not unicodedata.name(text, "").startswith(("CJK", "HIRAGANA", "KATAKANA"))


def _text_of(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """The text of a token, without the marks of word boundaries."""
    return str(tokenizer.decode([token_id])).strip().removeprefix("##")
