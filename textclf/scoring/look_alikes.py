"""Texts that spell out a special token, such as `[SEP]` or `<|im_end|>`: they are read as text, not as the token.

Without this, the author of a text could end it for the model, or begin another turn of a chat. What a user writes in a
prompt, and what a chat template adds, are tokens as usual.

`split_special_tokens` of transformers makes text of them. Two things remain: some tokenizers (Unigram, whole words)
have the special tokens in the vocabulary of texts, and in a prompt, the text stands beside the template's own tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from textclf.types import PreTrainedTokenizerBase

MARK = "\ufdd0"
"""Stands in a prompt before a special token that is text: a code point that no text may contain."""
NONCHARACTERS = re.compile("[\ufdd0-\ufdef]")
REPLACEMENT = "\ufffd"
NEVER = re.compile("(?!)")


@dataclass(frozen=True)
class LookAlikes:
    """The special tokens of a tokenizer, as texts may spell them out.

    Attributes:
        tokenizer: The tokenizer.
        pattern: Any of its special tokens.
        leaking: Those that it gives for their spelling even if it is to split special tokens.
        prefixed_once: Whether it puts a space before a string, but not behind a special token.
    """

    tokenizer: PreTrainedTokenizerBase
    pattern: re.Pattern[str]
    leaking: re.Pattern[str]
    prefixed_once: bool

    def as_text(self, text: str) -> str:
        """A text for a call with `split_special_tokens`; other than before only where it would not be enough.

        Then a space divides the token's spelling.
        """
        found = self._spelt_out(text, self.leaking)
        return text if found is None else self.leaking.sub(_divided, found)

    def divided(self, text: str) -> str:
        """A text for a call without `split_special_tokens`: a space divides what looks like a special token."""
        found = self._spelt_out(text, self.pattern)
        return text if found is None else self.pattern.sub(_divided, found)

    def marked(self, text: str) -> str:
        """A text to put into a prompt, with `MARK` before what looks like a special token."""
        text = self.as_text(NONCHARACTERS.sub(REPLACEMENT, text))
        found = self._spelt_out(text, self.pattern)
        return text if found is None else self.pattern.sub(rf"{MARK}\g<0>", found)

    def _spelt_out(self, text: str, pattern: re.Pattern[str]) -> str | None:
        """The text if it has a match, else its normalized form if that has one, such as of fullwidth brackets."""
        if pattern is NEVER:
            return None
        if pattern.search(text):
            return text
        normalizer = self.tokenizer.backend_tokenizer.normalizer if self.tokenizer.is_fast else None
        if normalizer is None:
            return None
        normal = str(normalizer.normalize_str(text)).replace("▁", " ")
        return normal if pattern.search(normal) else None

    def prompt_ids(self, prompt: str) -> list[int]:
        """Token ids of a prompt with marks, without those that the tokenizer adds: marked tokens are text."""
        added = {token.content: token for token in self.tokenizer.added_tokens_decoder.values()}
        # Text, special token, text, ..., text
        pieces = re.split(f"(?<!{MARK})({self.pattern.pattern})", prompt)
        for place in range(1, len(pieces), 2):
            token = added.get(pieces[place])
            if token is not None and token.lstrip:
                pieces[place - 1] = pieces[place - 1].rstrip()
            if token is not None and token.rstrip:
                pieces[place + 1] = pieces[place + 1].lstrip()
        ids: list[int] = []
        for place, piece in enumerate(pieces):
            if place % 2:
                token_id = self.tokenizer.convert_tokens_to_ids(piece)
                assert isinstance(token_id, int)  # of one token, not of a list
                ids.append(token_id)
            elif piece:
                ids += self._text_ids(piece.replace(MARK, ""), first=place == 0)
        return ids

    def _text_ids(self, text: str, first: bool) -> list[int]:
        if first or not self.prefixed_once:
            return _plain_ids(self.tokenizer, text)
        # Behind a line break, whose tokens are dropped, there is no space before a string.
        start = _plain_ids(self.tokenizer, "\n")
        ids = _plain_ids(self.tokenizer, f"\n{text}")
        return ids[len(start) :] if ids[: len(start)] == start else _plain_ids(self.tokenizer, text)


def look_alikes(tokenizer: PreTrainedTokenizerBase) -> LookAlikes:
    """The special tokens of a tokenizer, and the other added tokens that its chat template writes."""
    template = str(tokenizer.chat_template or "")
    names = {str(name) for name in tokenizer.all_special_tokens if name}
    for token in tokenizer.added_tokens_decoder.values():
        written = bool(token.content.strip()) and token.content in template
        if token.special or written:
            names.add(token.content)
    return _look_alikes(tokenizer, tuple(sorted(names)))


@lru_cache(maxsize=8)
def _look_alikes(tokenizer: PreTrainedTokenizerBase, names: tuple[str, ...]) -> LookAlikes:
    leaking = [name for name in names if tokenizer.convert_tokens_to_ids(name) in _plain_ids(tokenizer, name)]
    prefixed_once = False
    if names:
        (ids,) = tokenizer([f"{names[0]}a"], add_special_tokens=False)["input_ids"]
        prefixed_once = ids != [tokenizer.convert_tokens_to_ids(names[0]), *_plain_ids(tokenizer, "a")]
    return LookAlikes(tokenizer, _any_of(names), _any_of(leaking), prefixed_once)


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    encoded = tokenizer([text], add_special_tokens=False, split_special_tokens=True, verbose=False)
    return list(encoded["input_ids"][0])


def _any_of(names: Sequence[str]) -> re.Pattern[str]:
    """A pattern of any of the names; of two that begin alike, the longer one."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if names else NEVER


def _divided(match: re.Match[str]) -> str:
    name = match[0]
    return f"{name[0]} {name[1:]}" if len(name) > 1 else REPLACEMENT
