"""How a method turns texts into tokens, for the exploration of a data set."""

from __future__ import annotations

from collections.abc import Sequence

from textclf.errors import UserError
from textclf.findings.lengths import Tokenization
from textclf.types import PreTrainedTokenizerBase


def tokenization_with(
    name: str, tokenizer: PreTrainedTokenizerBase, limit: int | None, *, around: int = 0, special: bool = True
) -> Tokenization:
    """Describes the tokens of a method by its tokenizer.

    Args:
        name: The model that the tokenizer belongs to.
        tokenizer: The tokenizer.
        limit: Maximum number of tokens; None for no limit.
        around: How many of them the method adds to a text.
        special: Whether the special tokens that the tokenizer adds count.

    Raises:
        UserError: There is no room for a text.
    """
    if limit is not None and around >= limit:
        raise UserError(f"the prompt leaves no room for the text: it has {around} tokens without one, and {limit} fit")

    def token_ids(texts: list[str], pairs: list[str] | None) -> Sequence[Sequence[int]]:
        encoded = tokenizer(
            texts,
            pairs,
            add_special_tokens=special,
            split_special_tokens=True,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: Sequence[Sequence[int]] = encoded["input_ids"]
        return ids

    def unknown_words(text: str) -> list[str]:
        encoded = tokenizer(
            text, split_special_tokens=True, truncation=False, return_offsets_mapping=True, verbose=False
        )
        pieces = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [text[start:stop] for token, (start, stop) in pieces if token == tokenizer.unk_token_id and stop > start]

    return Tokenization(
        name,
        None if limit is None else limit - around,
        token_ids,
        tokenizer.unk_token_id,
        unknown_words if tokenizer.is_fast else None,
        around,
    )
