"""The boundary between prompt and label, in tokens.

A prompt is tokenised alone, with the special tokens that its tokenizer adds; a label is tokenised alone, without any,
and its tokens are put behind the prompt's. So the prompt's tokens never depend on the label, which is what lets one
pass over the prompt serve all labels. The price is that the pair may be cut otherwise than the joined string would be;
`textclf.scoring.audit` reports where.

A trap: tokenizers of the Llama kind put a space before every string, so that `World` is read as ` World`. A label is
taken as its tokenizer gives it, space included; the audit says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textclf.errors import UserError
from textclf.types import PreTrainedTokenizerBase

Bos = Literal["tokenizer", "always", "never"]
TOGETHER = 256
"""Texts that are tokenised at once: a tokenizer's encodings hold far more of each token than its number."""


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, special: bool) -> list[list[int]]:
    """Tokenises each text whole: padding and truncation that were saved with the tokenizer are switched off."""
    if isinstance(texts, str):
        raise UserError(f"a list of texts is wanted, not the string {texts[:40]!r}: write [text]")
    rows: list[list[int]] = []
    for start in range(0, len(texts), TOGETHER):
        encoded = tokenizer(
            list(texts[start : start + TOGETHER]),
            add_special_tokens=special,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        rows += encoded["input_ids"]
    return rows


def prompt_token_ids(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], bos: Bos = "tokenizer"
) -> list[list[int]]:
    """Tokens of each prompt: one BOS at most, and no EOS that the tokenizer appends.

    A prompt that spells out its BOS, as chat templates do, would get a second one: it is dropped. An EOS that is
    written in the prompt stays.

    Args:
        tokenizer: The model's tokenizer.
        prompts: Prompts.
        bos: Whether a prompt starts with BOS: as the `tokenizer` has it, `always`, or `never`.

    Raises:
        UserError: BOS is wanted, and the tokenizer knows none.
    """
    if bos == "always" and tokenizer.bos_token_id is None:
        raise UserError("bos is 'always', but the tokenizer has no BOS token: choose tokenizer or never")
    rows = []
    for ids in whole_token_ids(tokenizer, prompts):
        written = leading_bos(tokenizer, ids)
        wanted = {"tokenizer": min(written, 1), "always": 1, "never": 0}[bos]
        rows.append([*[tokenizer.bos_token_id] * wanted, *ids[written:]])
    return rows


def whole_token_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Tokens of each prompt with every BOS that the tokenizer writes or reads, but not what it appends."""
    tail = _appended(tokenizer)
    rows = token_ids(tokenizer, prompts, special=True)
    return [ids[: -len(tail)] if tail and ids[-len(tail) :] == tail else ids for ids in rows]


def leading_bos(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> int:
    """Number of BOS tokens that some tokens start with."""
    return next((i for i, token in enumerate(ids) if token != tokenizer.bos_token_id), len(ids))


def label_token_ids(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[list[int]]:
    """Tokens of each label, exactly as written: no special tokens, and no space but the caller's own."""
    return token_ids(tokenizer, labels, special=False)


def _appended(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special tokens that the tokenizer puts behind a text."""
    (full,) = token_ids(tokenizer, ["a"], special=True)
    (bare,) = token_ids(tokenizer, ["a"], special=False)
    ends = (end for end in range(len(full), len(bare) - 1, -1) if full[end - len(bare) : end] == bare)
    tail = full[next(ends, len(full)) :]
    return tail if bare and set(tail) <= set(tokenizer.all_special_ids) else []
